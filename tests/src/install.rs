//! Installs third-party clients and brokers into `out/interop/`, from the ordinary package registries, at the
//! versions of `tests/interop/versions.txt`. Each set is installed once and again when its versions or sources
//! change.
//!
//! Nothing is installed into the system, but for the Debian package `kcat` where it is missing and apt-get may.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;

/// How long one installer may take: a first download over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// Where things are, and which versions are pinned.
#[derive(Debug)]
pub struct Workshop {
    /// The repository.
    pub root: PathBuf,
    /// `out/interop` in it: all that is installed or left behind by a run.
    pub out: PathBuf,
    /// Per ecosystem (`maven`, `pip`, `npm`, `go`): packages and versions.
    versions: BTreeMap<String, Vec<(String, String)>>,
}

impl Workshop {
    /// Finds the repository from where this package was compiled, and reads the pinned versions.
    pub fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf();
        let out = root.join("out/interop");
        fs::create_dir_all(&out)?;
        let text = fs::read_to_string(root.join("tests/interop/versions.txt"))?;
        Ok(Self { root, out, versions: parse_versions(&text)? })
    }

    /// The directory of the client scripts of one language.
    pub fn scripts(&self, language: &str) -> PathBuf {
        self.root.join("tests/interop/clients").join(language)
    }

    /// Kafka's broker, tools and Java client: gives the class path, our own client's classes included.
    pub fn java(&self) -> Result<String, String> {
        let dir = self.out.join("java");
        let sources = self.scripts("java");
        self.once("maven", &dir, &sources, || {
            fs::write(dir.join("pom.xml"), self.pom())?;
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]);
            let mut javac = Command::new("javac");
            javac.args(["-cp", "libs/*", "-d", "classes"]).arg(sources.join("Client.java"));
            run_all(&dir, [maven, javac])
        })?;
        Ok(format!("{}:{}/*", dir.join("classes").display(), dir.join("libs").display()))
    }

    /// The Python clients: gives the interpreter of their virtual environment.
    pub fn python(&self) -> Result<PathBuf, String> {
        let dir = self.out.join("python");
        self.once("pip", &dir, Path::new(""), || {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv", "venv"]);
            let mut pip = Command::new("venv/bin/pip");
            pip.args(["install", "--quiet", "--disable-pip-version-check"]);
            pip.args(self.pinned("pip").map(|(name, version)| format!("{name}=={version}")));
            run_all(&dir, [venv, pip])
        })?;
        Ok(dir.join("venv/bin/python"))
    }

    /// The Node clients: gives the directory that holds the scripts beside `node_modules`.
    pub fn node(&self) -> Result<PathBuf, String> {
        let dir = self.out.join("node");
        let sources = self.scripts("node");
        self.once("npm", &dir, &sources, || {
            copy_files(&sources, &dir)?;
            fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]);
            npm.args(self.pinned("npm").map(|(name, version)| format!("{name}@{version}")));
            run_all(&dir, [npm])
        })?;
        Ok(dir)
    }

    /// The Go clients: gives the one program that holds them.
    pub fn go(&self) -> Result<PathBuf, String> {
        let dir = self.out.join("go");
        let sources = self.scripts("go");
        self.once("go", &dir, &sources, || {
            copy_files(&sources, &dir)?;
            let required = self.pinned("go").map(|(name, version)| format!("require {name} {version}\n"));
            fs::write(
                dir.join("go.mod"),
                format!("module ottla-interop\n\ngo 1.24\n\n{}", required.collect::<String>()),
            )?;
            let mut tidy = Command::new("go");
            tidy.args(["mod", "tidy"]);
            let mut build = Command::new("go");
            build.args(["build", "-buildvcs=false", "-o", "client", "."]);
            run_all(&dir, [tidy, build])
        })?;
        Ok(dir.join("client"))
    }

    /// A program of the system that a Debian package of the same name brings.
    pub fn debian(&self, package: &str) -> Result<(), String> {
        let found = || Command::new(package).arg("-V").output().is_ok_and(|output| output.status.success());
        if found() {
            return Ok(());
        }
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", package]);
        let tried = run_all(&self.out, [install]);
        if found() {
            return Ok(());
        }
        let why = tried.err().map_or_else(String::new, |error| format!(" ({})", error.to_string().trim()));
        Err(format!("install the Debian package `{package}` first{why}"))
    }

    fn pinned(&self, ecosystem: &str) -> impl Iterator<Item = &(String, String)> {
        self.versions.get(ecosystem).into_iter().flatten()
    }

    fn pom(&self) -> String {
        let mut dependencies = String::new();
        for (name, version) in self.pinned("maven") {
            let (group, artifact) = name.split_once(':').unwrap_or((name, name));
            dependencies += &format!("<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>");
            dependencies += &format!("<version>{version}</version></dependency>\n");
        }
        format!(
            "<project>\n<modelVersion>4.0.0</modelVersion>\n\
             <groupId>ottla</groupId>\n<artifactId>interop</artifactId>\n<version>1</version>\n\
             <dependencies>\n{dependencies}</dependencies>\n</project>\n"
        )
    }

    /// Runs `install` in `dir`, unless it ran before with these versions and sources.
    fn once(
        &self,
        ecosystem: &str,
        dir: &Path,
        sources: &Path,
        install: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), String> {
        let explain = |error: io::Error| format!("cannot install the {ecosystem} packages: {error}");
        let stamp = self.stamp(ecosystem, sources).map_err(explain)?;
        let stamp_file = dir.join("stamp");
        if fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
            return Ok(());
        }
        fs::create_dir_all(dir).map_err(explain)?;
        install().map_err(explain)?;
        fs::write(stamp_file, stamp).map_err(explain)
    }

    fn stamp(&self, ecosystem: &str, sources: &Path) -> io::Result<String> {
        let mut hasher = DefaultHasher::new();
        self.versions.get(ecosystem).hash(&mut hasher);
        for file in files_of(sources)? {
            fs::read(file)?.hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

fn parse_versions(text: &str) -> io::Result<BTreeMap<String, Vec<(String, String)>>> {
    let mut versions: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(ecosystem), Some(name), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(io::Error::other(format!("versions.txt: {line:?} is not `ecosystem package version`")));
        };
        versions.entry(ecosystem).or_default().push((name, version));
    }
    Ok(versions)
}

fn run_all(dir: &Path, commands: impl IntoIterator<Item = Command>) -> io::Result<()> {
    for mut command in commands {
        let finished = process::run(command.current_dir(dir), dir, INSTALL_LIMIT)?;
        if !finished.succeeded() {
            return Err(io::Error::other(format!("{command:?} failed:\n{}", finished.transcript())));
        }
    }
    Ok(())
}

fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if dir.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let mut files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    files.retain(|path| path.is_file());
    Ok(files)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for file in files_of(from)? {
        fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}
