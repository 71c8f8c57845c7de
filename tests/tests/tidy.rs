//! The rules of the house, checked: layers, the purity of the core, lengths, module docs, debris.
//!
//! A rule is loosened by nobody and tightened when the code allows. What is exempt is listed here, with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FUNCTION_LINES: usize = 70;
const USUAL_FUNCTION_LINES: usize = 30;
const FILE_LINES: usize = 600;
const STRUCT_FIELDS: usize = 15;
const MODULE_DOC_LINES: usize = 30;
const LINE_WIDTH: usize = 120;

/// Flat tables: one row a key, an error code or a setting. Their length is their content.
const FLAT_TABLES: &[&str] = &[
    "core/wire/src/error_code.rs",
    "core/wire/src/api_key.rs",
    "core/wire/src/api.rs",
    "core/src/config/broker_keys.rs",
    "core/src/config/topic_keys.rs",
];

/// The layers of the core, lowest first: a module may name those of its own row and of the rows above it here.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["clock", "rng", "planted", "config", "racks", "pattern"],
    &["record", "rpc"],
    &["client"],
    &["storage"],
    &["log"],
    &["replication", "raft"],
    &["controller", "coordinator"],
    &["broker"],
    &["api"],
    &["machine"],
];

/// Plain data of the boundary (inputs, effects, requests, jobs), which everyone may name.
const BOUNDARY: &[&str] = &["machine", "ingress", "job"];

/// Words that have no place in the core, each with what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "file operations are effects"),
    ("std::net::TcpStream", "sockets belong to the driver"),
    ("std::thread", "the machine has no threads"),
    ("Instant::now", "time comes in as Now"),
    ("SystemTime", "time comes in as Now"),
    ("async fn", "the machine never waits"),
    (".await", "the machine never waits"),
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
    ("println!", "tell the operator with a note"),
    ("thread_rng", "chance comes from the seed"),
];

const DEBRIS: &[&str] = &["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!(", "dbg!("];

const CRATES: &[&str] = &["core", "node", "sim", "tests"];

#[test]
fn functions_files_and_structs_keep_their_size() {
    let mut faults = String::new();
    let (mut functions, mut long) = (0_usize, 0_usize);
    for file in sources(CRATES) {
        let (text, name) = (read(&file), name(&file));
        let lines = text.lines().count() - test_lines(&text);
        if lines > FILE_LINES && !is_test(&name) && !FLAT_TABLES.contains(&&*name) {
            writeln!(faults, "{name}: {lines} lines without tests; at most {FILE_LINES}").unwrap();
        }
        let tree = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut sizes = Sizes::default();
        sizes.visit_file(&tree);
        functions += sizes.functions.len();
        long += sizes.functions.iter().filter(|(_, lines)| *lines >= USUAL_FUNCTION_LINES).count();
        for (what, lines) in sizes.functions.iter().filter(|(_, lines)| *lines > FUNCTION_LINES) {
            writeln!(faults, "{name}: fn {what} has {lines} lines; at most {FUNCTION_LINES}").unwrap();
        }
        for (what, fields) in sizes.structs.iter().filter(|(_, fields)| *fields > STRUCT_FIELDS) {
            writeln!(faults, "{name}: struct {what} has {fields} fields; at most {STRUCT_FIELDS}").unwrap();
        }
    }
    assert!(faults.is_empty(), "split by owned state:\n{faults}");
    assert!(long * 10 <= functions, "{long} of {functions} functions are long; one in ten may be");
}

#[test]
fn modules_say_what_they_are() {
    let mut faults = String::new();
    for file in sources(CRATES) {
        let docs = read(&file).lines().take_while(|line| line.starts_with("//!")).count();
        if docs == 0 {
            writeln!(faults, "{}: opens without `//!`", name(&file)).unwrap();
        } else if docs > MODULE_DOC_LINES {
            writeln!(faults, "{}: a module doc of {docs} lines; at most {MODULE_DOC_LINES}", name(&file)).unwrap();
        }
    }
    assert!(faults.is_empty(), "say what the module is for, what holds, what is absent on purpose:\n{faults}");
}

#[test]
fn the_core_is_pure() {
    let mut faults = String::new();
    for file in sources(&["core/src", "core/wire/src"]) {
        for (number, line) in code(&read(&file)) {
            for (word, instead) in IMPURE.iter().filter(|(word, _)| has_word(line, word)) {
                writeln!(faults, "{}:{number}: `{word}`: {instead}", name(&file)).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "the core is pure:\n{faults}");
}

#[test]
fn dependencies_run_one_way() {
    let ranked = LAYERS.iter().enumerate().flat_map(|(rank, row)| row.iter().map(move |module| (*module, rank)));
    let rank: BTreeMap<&str, usize> = ranked.collect();
    let mut faults = String::new();
    for file in sources(&["core/src"]) {
        let own = module(&file);
        let Some(own_rank) = rank.get(&*own) else { continue };
        for (number, line) in code(&read(&file)) {
            for used in line.split("crate::").skip(1).map(first_word).filter(|used| !BOUNDARY.contains(used)) {
                if rank.get(used).is_some_and(|used_rank| used_rank > own_rank) {
                    writeln!(faults, "{}:{number}: {own} names {used}, which stands above it", name(&file)).unwrap();
                }
            }
        }
    }
    assert!(faults.is_empty(), "wire <- types <- … <- machine:\n{faults}");
}

#[test]
fn nothing_is_left_lying_about() {
    let mut faults = String::new();
    for file in sources(&["core", "node", "sim", "tests", "fuzz"]) {
        if file.ends_with("tests/tidy.rs") {
            continue; // It names what it forbids.
        }
        for (number, line) in read(&file).lines().enumerate() {
            if let Some(word) = DEBRIS.iter().find(|word| line.contains(**word)) {
                writeln!(faults, "{}:{}: {word}", name(&file), number + 1).unwrap();
            }
            if line.chars().count() > LINE_WIDTH && !FLAT_TABLES.contains(&&*name(&file)) {
                writeln!(faults, "{}:{}: wider than {LINE_WIDTH}", name(&file), number + 1).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "finish it, or file it:\n{faults}");
}

/// The lengths of functions (with the closures in them) and the fields of structs, tests left out.
#[derive(Default)]
struct Sizes {
    functions: Vec<(String, usize)>,
    structs: Vec<(String, usize)>,
}

impl Sizes {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let span = block.span();
        self.functions.push((signature.ident.to_string(), span.end().line - span.start().line + 1));
    }
}

impl<'a> Visit<'a> for Sizes {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.structs.push((item.ident.to_string(), item.fields.len()));
    }
}

/// The lines of code with their numbers: no comments, no tests.
fn code(text: &str) -> Vec<(usize, &str)> {
    let end = text.lines().count() - test_lines(text);
    let lines = text.lines().take(end).enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line)).collect()
}

/// How many lines the test module at the end of a file takes.
fn test_lines(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let start = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod tests") && pair[1].ends_with('{')
    });
    start.map_or(0, |start| lines.len() - start)
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("_tests.rs")
}

/// Whether `word` stands in `line` and does not go on.
fn has_word(line: &str, word: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    line.split(word).skip(1).any(|rest| !goes_on(rest))
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The top-level module of the core that a file belongs to.
fn module(file: &Path) -> String {
    let below = file.strip_prefix(root().join("core/src")).expect("a file of the core");
    let first = below.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<_> = folders.iter().flat_map(|folder| walk(&root().join(folder))).collect();
    found.sort();
    found.dedup();
    found
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let below = paths.flat_map(|path| match path.file_name().and_then(|name| name.to_str()) {
        Some("target" | "out" | "node_modules" | "corpus" | "artifacts") => Vec::new(),
        Some(_) if path.is_dir() => walk(&path),
        Some(name) if name.ends_with(".rs") => vec![path],
        _ => Vec::new(),
    });
    below.collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn name(file: &Path) -> String {
    file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies below the root").to_owned()
}
