//! The real binary, as an operator meets it: what it prints, and how it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `ottla` with these arguments and an environment of nothing but the given variables.
fn ottla(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(args).env_clear().envs(variables.iter().copied());
    command.output().expect("the binary starts")
}

/// Runs, and holds exit code and parts of standard error to what is expected.
#[track_caller]
fn check_failure(args: &[&str], variables: &[(&str, &str)], code: i32, parts: &[&str]) {
    let output = ottla(args, variables);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing from {error}");
    }
}

#[track_caller]
fn check_success(args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = ottla(args, variables);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

struct PropertiesFile {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl PropertiesFile {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("server.properties");
        fs::write(&path, text).expect("a file");
        Self { _dir: dir, path }
    }

    fn path(&self) -> &str {
        utf8(&self.path)
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

const COMBINED: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
                        listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n";

#[test]
fn version_names_the_program() {
    assert_eq!(check_success(&["version"], &[]), concat!("ottla ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_are_a_script() {
    assert!(check_success(&["completions", "bash"], &[]).contains("_ottla"));
}

#[test]
fn bad_arguments_are_explained() {
    check_failure(&["frobnicate"], &[], 2, &["unrecognized subcommand 'frobnicate'"]);
    check_failure(&["config", "print", "-c", "num.partitions"], &[], 2, &["KEY=VALUE"]);
    check_failure(&["config", "print", "--log-level", "loud"], &[], 2, &["log filter loud", "LEVEL"]);
}

#[test]
fn a_bad_key_names_line_and_neighbour() {
    let file = PropertiesFile::new(&format!("{COMBINED}num.partitons=3\n"));
    let expected = "line 5: Unknown configuration num.partitons; did you mean num.partitions?";
    check_failure(&["config", "print", "--config", file.path()], &[], 2, &[file.path(), expected]);
}

#[test]
fn a_bad_value_names_key_and_range() {
    let args = ["config", "print", "-c", "num.partitions=0"];
    let expected = "Invalid value 0 for configuration num.partitions: Value must be at least 1";
    check_failure(&args, &[], 2, &["command line: ", expected]);
    let variables = [("KAFKA_NUM_PARTITIONS", "many")];
    check_failure(&["config", "print"], &variables, 2, &["KAFKA_NUM_PARTITIONS: ", "Not a number of type INT"]);
}

#[test]
fn what_would_weaken_security_is_refused() {
    let args = ["config", "print", "-c", "listeners=SSL://:9092,CONTROLLER://:0"];
    check_failure(&args, &[], 2, &["SSL", "not supported yet", "PLAINTEXT"]);
    let args = ["config", "print", "-c", "controller.quorum.voters=1@localhost:9093"];
    check_failure(&args, &[], 2, &["controller.quorum.bootstrap.servers", "--new-cluster"]);
}

#[test]
fn a_missing_file_is_named() {
    check_failure(&["config", "print", "--config", "/no/such/file"], &[], 2, &["cannot read /no/such/file"]);
}

#[test]
fn config_print_names_values_and_sources() {
    let file = PropertiesFile::new(&format!("{COMBINED}log.retention.hours=2\nnum.io.threads=4\n"));
    let variables = [("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_HEAP_OPTS", "-Xmx1G")];
    let args = ["config", "print", "--config", file.path(), "-c", "min.insync.replicas=2"];
    let text = check_success(&args, &variables);
    let fields = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} "))).expect("the key is printed");
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fields("log.retention.hours"), "2 file, line 5");
    assert_eq!(fields("num.io.threads"), "4 file, line 6 (no effect)");
    assert_eq!(fields("num.partitions"), "3 environment");
    assert_eq!(fields("min.insync.replicas"), "2 flag");
    assert!(!text.contains("offsets.topic.num.partitions"), "defaults are printed only with --all");
}

#[test]
fn config_print_is_json_on_request() {
    let args = ["config", "print", "--all", "-o", "json", "-c", "ssl.key.password=hush"];
    let text = check_success(&args, &[]);
    assert!(!text.contains("hush"), "a secret is never printed");
    let rows: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let rows = rows.as_array().expect("a list");
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).expect("every key is there");
    assert_eq!(row("group.initial.rebalance.delay.ms")["value"], "0");
    assert_eq!(row("group.initial.rebalance.delay.ms")["source"], "dev");
    assert_eq!(row("flush")["value"], "quorum");
    assert_eq!(row("flush")["source"], "default");
    assert_eq!(row("ssl.key.password")["value"], serde_json::Value::Null);
}
