//! The real binary, as an operator meets it: what it prints, and how it fails.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use ottla::disk::DirectoryLock;
use ottla_tests::dev::free_ports;
use rustix::process::{Pid, Signal, kill_process};

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

#[test]
fn a_busy_port_is_named_with_what_to_do() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = utf8(dir.path());
    let parts = ["cannot listen on", &address, "another process has the port", "--listen HOST:PORT"];
    check_failure(&["dev", "--data", data, "--listen", &address], &[], 1, &parts);
    let args = ["dev", "--data", data, "--listen", "127.0.0.1:0", "--http", &address];
    check_failure(&args, &[], 1, &["cannot listen on", &address, "for HTTP", "--http HOST:PORT"]);
}

/// Of a cluster that found a port busy nothing is left that would keep the next one from being born.
#[test]
fn a_cluster_is_born_once_its_ports_are_free() {
    let base = free_ports(2);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listen, data) = (format!("127.0.0.1:{base}"), utf8(dir.path()).to_owned());
    let args = ["dev", "--nodes", "2", "--data", &data, "--listen", &listen];
    for busy in [base, base + 101] {
        let _holder = TcpListener::bind(("127.0.0.1", busy)).expect("it is free");
        check_failure(&args, &[], 1, &[&format!("127.0.0.1:{busy}"), "another process has the port", "--listen"]);
    }
    // An earlier try may have come as far as the directories.
    fs::create_dir_all(dir.path().join("node-1")).expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let mut child = command.args(args).env_clear().stdout(Stdio::piped()).spawn().expect("the binary starts");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let ready = out.lines().map_while(Result::ok).any(|line| line.contains("2 nodes are ready"));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("not zero");
    kill_process(pid, Signal::TERM).expect("it is our child");
    assert!(child.wait().expect("it was started").success() && ready, "{ready}");
}

/// The one that is to found the cluster does not start: the others are not left to wait for it.
#[test]
fn nobody_waits_for_a_founder_that_does_not_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let founder = dir.path().join("node-1");
    fs::create_dir_all(&founder).expect("a directory");
    let _held = DirectoryLock::take(&founder).expect("nobody has it");
    let listen = format!("127.0.0.1:{}", free_ports(2));
    let args = ["dev", "--nodes", "2", "--data", utf8(dir.path()), "--listen", &listen];
    check_failure(&args, &[], 1, &["there is no cluster"]);
}

/// What was said on the command line reaches the nodes; and when this process fails none of them is left.
#[test]
fn a_cluster_that_cannot_be_announced_is_stopped() {
    // Those above the nodes' own are for HTTP.
    let base = free_ports(4);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listen, http) = (format!("127.0.0.1:{base}"), format!("127.0.0.1:{}", base + 2));
    let full = fs::File::options().write(true).open("/dev/full").expect("it opens");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["dev", "--nodes", "2", "--data", utf8(dir.path()), "--listen", &listen, "--http", &http]);
    let status = command.args(["--log-format", "json"]).env_clear().stdout(full).stderr(Stdio::null()).status();
    assert_eq!(status.expect("the binary starts").code(), Some(1));
    for port in [base, base + 1, base + 100, base + 101] {
        TcpListener::bind(("127.0.0.1", port)).expect("its node has ended");
    }
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it is there");
    assert!(read("node-1.properties").contains(&format!("ottla.http.listener={http}\n")));
    assert!(read("node-1.log").starts_with('{'), "{}", read("node-1.log"));
    let args = ["dev", "--nodes", "2", "--http", "127.0.0.1:0", "--data", utf8(dir.path()), "--listen", &listen];
    check_failure(&args, &[], 2, &["--http 127.0.0.1:0", "a port from 1"]);
}

#[test]
fn a_second_process_names_directory_and_holder() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let _held = DirectoryLock::take(dir.path()).expect("nobody has it");
    let (data, pid) = (utf8(dir.path()), format!("process {}", std::process::id()));
    check_failure(&["dev", "--data", data, "--listen", "127.0.0.1:0"], &[], 1, &[data, &pid, "in use"]);
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_what_to_do() {
    let file = PropertiesFile::new("");
    let data = format!("{}/data", file.path());
    let args = ["dev", "--data", &data, "--listen", "127.0.0.1:0"];
    check_failure(&args, &[], 1, &[&data, "Not a directory", "--data DIR"]);
}

#[test]
fn what_does_not_fit_together_is_no_start() {
    let file = PropertiesFile::new("process.roles=broker\nnode.id=1\n");
    check_failure(&["serve", "--config", file.path()], &[], 2, &["controller.quorum.bootstrap.servers"]);
    check_failure(&["serve"], &[], 2, &["process.roles is required"]);
}

/// A node that was started, and its log.
struct Started {
    child: Child,
    log: BufReader<ChildStderr>,
    dir: tempfile::TempDir,
}

impl Started {
    fn dev(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--data", utf8(dir.path())]).args(args).env_clear();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        Self { child, log, dir }
    }

    /// Waits for the line that says ready.
    fn ready(&mut self) -> String {
        let mut line = String::new();
        let out = self.child.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("the line is text");
        assert!(line.contains(" ready: "), "{line}");
        line
    }

    /// Reads the log up to the line that has `part`.
    #[track_caller]
    fn line_with(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            let read = self.log.read_line(&mut seen).expect("the log is text");
            assert_ne!(read, 0, "{part:?} is missing from {seen}");
            if seen[start..].contains(part) {
                return seen[start..].to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("it is our child");
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it was started")
    }
}

impl Drop for Started {
    /// No test leaves a process behind, however it ends.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_shuts_down_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Started::dev(&[]);
        node.line_with("starting");
        // Twice, as `timeout` does.
        node.signal(signal);
        node.signal(signal);
        node.line_with("stopped");
        assert_eq!(node.wait().code(), Some(0));
    }
}

#[test]
fn a_node_that_was_ready_leaves_a_log_that_verifies() {
    let mut node = Started::dev(&[]);
    assert!(node.ready().contains("Kafka clients at 127.0.0.1:"));
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), Some(0));
    let data = utf8(node.dir.path());
    assert!(check_success(&["log", "verify", data], &[]).starts_with("__cluster_metadata-0: ok"));
    let dump = check_success(&["log", "dump", "--records", data], &[]);
    assert!(dump.contains("LeaderChange") && dump.contains("durable up to offset"), "{dump}");
    let segment = node.dir.path().join("__cluster_metadata-0/00000000000000000000.log");
    fs::write(segment, "").expect("emptied");
    check_failure(&["log", "verify", data], &[], 3, &["1 of 1 partitions are damaged"]);
}

#[test]
fn log_lines_are_objects_on_request() {
    let mut node = Started::dev(&["--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&node.line_with("starting")).expect("a line is JSON");
    assert_eq!(line["level"], "INFO");
    assert!(line["message"].as_str().is_some_and(|message| message.contains("Kafka clients at 127.0.0.1:")));
}

#[test]
fn the_http_port_shows_the_node() {
    let mut node = Started::dev(&["--http", "127.0.0.1:0"]);
    let line = node.line_with("starting");
    let address = line.trim().rsplit(' ').next().expect("the line ends with the address").to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    };
    assert!(get("/healthz").contains("200 OK"));
    node.ready();
    assert!(get("/readyz").contains("200 OK"));
    assert!(get("/metrics").contains("ottla_partitions "));
    assert!(get("/debug/state").contains("\"node_id\": 1"));
}
