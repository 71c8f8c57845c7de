//! What `ottla config print` says of a setting is true: marked `Used`, something obeys it; else nothing does.
//!
//! The structs of `core/src/config` name a key beside each field (a test there holds them to the table). Here the
//! fields are looked for in the code that should obey them.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_core::config::{Effect, Scope, find};

/// Fields that are read through a method of their struct.
const THROUGH_METHODS: &[(&str, &str)] = &[
    ("flush_max_delay", "flush_max_delay_ms("),
    ("dir", "log_dirs("),
    ("dirs", "log_dirs("),
    ("max_bytes_internal", "bytes("),
];

/// Names that other structs have too: finding one proves nothing, so they are not held to be ignored.
const COMMON: &[&str] = &[
    "assignors",
    "auto_join",
    "backoff_ms",
    "delete_retention_ms",
    "dir",
    "election_timeout_ms",
    "enabled",
    "fetch_max_bytes",
    "fetch_timeout_ms",
    "heartbeat_interval_ms",
    "id",
    "id_expiration_ms",
    "jitter_ms",
    "listen_backlog",
    "log_max_producers",
    "max_bytes",
    "max_groups",
    "max_lag_ms",
    "max_ms",
    "max_session_timeout_ms",
    "max_size",
    "max_timeout_ms",
    "metadata_max_bytes",
    "min_insync_replicas",
    "min_lag_ms",
    "min_session_timeout_ms",
    "num_partitions",
    "protocols",
    "replication_factor",
    "request_timeout_ms",
    "retention_check_interval_ms",
    "segment_bytes",
    "segment_ms",
    "session_timeout_ms",
    "unclean_leader_election",
    "window_num",
];

#[test]
fn used_means_obeyed_and_ignored_means_not() {
    let code = code();
    let mut faults = Vec::new();
    for (field, key) in fields() {
        let Some(row) = [Scope::Broker, Scope::Topic].into_iter().find_map(|scope| find(scope, &key)) else { continue };
        let method = THROUGH_METHODS.iter().find(|(through, _)| *through == field);
        let name = method.map_or(field.as_str(), |(_, method)| method);
        match (row.effect, is_read(&code, name)) {
            (Effect::Used, false) => faults.push(format!("{key} is marked Used, but nothing reads `.{name}`")),
            (Effect::Ignored, true) if !COMMON.contains(&name) => {
                faults.push(format!("{key} is marked Ignored, but `.{name}` is read: mark it Used"));
            }
            (Effect::Used | Effect::Ignored | Effect::Refused, _) => {}
        }
    }
    assert!(faults.is_empty(), "core/src/config/{{broker,topic}}_keys.rs:\n{}", faults.join("\n"));
}

/// Whether `.name` is in the code as a whole word.
fn is_read(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |at: usize| name.ends_with('(') || !code[at + 1 + name.len()..].starts_with(is_word);
    code.match_indices(&format!(".{name}")).any(|(at, _)| whole(at))
}

/// Each field of a configuration struct with its key.
fn fields() -> Vec<(String, String)> {
    let declared = ["core/src/config/broker.rs", "core/src/config/topic.rs"].map(|file| read(&root().join(file)));
    let field = |line: &str| {
        let (declaration, key) = line.trim().strip_suffix("\",")?.split_once(" = \"")?;
        let (name, _) = declaration.split_once(": ")?;
        Some((name.to_owned(), key.to_owned()))
    };
    declared.iter().flat_map(|text| text.lines()).filter_map(field).collect()
}

/// The code that could obey a setting: core and the node, without tests, the configuration itself, and the
/// client, whose settings are its own.
fn code() -> String {
    let folders = ["core/src", "node/src"].map(|folder| root().join(folder));
    let mut files: Vec<_> = folders.iter().flat_map(|folder| walk(folder)).collect();
    let others = ["core/src/config", "core/src/client", "core/src/rpc", "node/src/client", "node/src/cli/client"];
    let others = others.map(|folder| root().join(folder));
    files.retain(|file| !others.iter().any(|folder| file.starts_with(folder)) && !file.ends_with("tests.rs"));
    files.iter().map(|file| read(file)).collect()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a file of the repository")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_path_buf()
}
