//! Ctrl-C, while a broker stands still, or who reads the output does.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ottla_tests::dev::Broker;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::commands::succeeds;

/// What `ottla produce` reads at once.
const BLOCK: usize = 256 << 10;
/// The bytes of each line of the input, with its end.
const LINE: usize = 100;
const TOPIC: &str = "interrupted";

/// A broker that stands still, and an `ottla produce` that has handed in one block, and waits for room for the second.
struct Stuck {
    broker: Broker,
    produce: Child,
    errors: Lines<BufReader<ChildStderr>>,
    _dir: TempDir,
}

impl Stuck {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::start(env!("CARGO_BIN_EXE_ottla"), &dir.path().join("data"));
        let (address, input) = (broker.address.to_string(), dir.path().join("input"));
        succeeds(&address, &["topic", "create", TOPIC], b"");
        std::fs::write(&input, format!("{:>1$}\n", "it", LINE - 1).repeat(10 * BLOCK / LINE)).expect("it is ours");
        kill_process(broker.pid(), Signal::STOP).expect("it runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["produce", TOPIC, "-b", &address, "-X", "buffer.memory=400000", "-X", "batch.size=100000", "-F"]);
        let mut produce = command.arg(&input).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let errors = BufReader::new(produce.stderr.take().expect("it is piped")).lines();
        let stuck = Self { broker, produce, errors, _dir: dir };
        // One handed in, one that waits for room, four that wait for that, and one that waits for these.
        stuck.wait_until_read(7 * BLOCK);
        stuck
    }

    /// Waits until so much of a file has been read.
    fn wait_until_read(&self, bytes: usize) {
        let position = format!("pos:\t{bytes}\n");
        let begun = Instant::now();
        let is_there = || {
            let open = std::fs::read_dir(format!("/proc/{}/fdinfo", self.produce.id())).expect("it runs");
            let infos = open.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
            infos.into_iter().any(|info| info.starts_with(&position))
        };
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not read {bytes} B");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Interrupts it, and waits until it says that it has heard.
    fn interrupt_and_hear(&mut self) {
        interrupt(&self.produce);
        assert!(says(&mut self.errors, "SIGINT"), "it ended");
    }

    fn wait(&mut self) -> ExitStatus {
        self.produce.wait().expect("it ends")
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.produce.kill();
        let _ = self.produce.wait();
    }
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process id"), Signal::INT).expect("it runs");
}

/// Whether a line with this comes before the end.
fn says(errors: &mut Lines<BufReader<ChildStderr>>, what: &str) -> bool {
    errors.by_ref().map_while(Result::ok).any(|line| line.contains(what))
}

#[test]
fn what_was_handed_in_before_an_interruption_is_written() {
    let mut stuck = Stuck::start();
    stuck.interrupt_and_hear();
    kill_process(stuck.broker.pid(), Signal::CONT).expect("it runs");
    // What was not read is not there: it has not succeeded.
    assert!(says(&mut stuck.errors, &format!("error: interrupted after {} records", 2 * BLOCK / LINE)));
    assert_eq!(stuck.wait().code(), Some(1));
    let written = succeeds(&stuck.broker.address.to_string(), &["consume", TOPIC, "-e"], b"");
    assert_eq!(written.lines().count(), 2 * BLOCK / LINE);
}

#[test]
fn a_second_interruption_ends_at_once() {
    let mut stuck = Stuck::start();
    stuck.interrupt_and_hear();
    // What comes sooner is the same one, sent twice.
    thread::sleep(Duration::from_millis(350));
    interrupt(&stuck.produce);
    assert_eq!(stuck.wait().code(), Some(130));
}

#[test]
fn a_second_interruption_ends_a_reader_whose_output_nobody_takes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(env!("CARGO_BIN_EXE_ottla"), dir.path());
    let address = broker.address.to_string();
    succeeds(&address, &["topic", "create", TOPIC], b"");
    // Far more than a pipe holds.
    succeeds(&address, &["produce", TOPIC], format!("{:>1$}\n", "it", LINE - 1).repeat(20_000).as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let command = command.args(["consume", TOPIC, "-b", &address]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut consume = command.spawn().expect("the binary starts");
    let mut errors = BufReader::new(consume.stderr.take().expect("it is piped")).lines();
    let mut output = BufReader::new(consume.stdout.take().expect("it is piped")).lines();
    assert!(output.next().is_some_and(|line| line.is_ok()), "it reads");
    interrupt(&consume);
    assert!(says(&mut errors, "SIGINT"), "it ended");
    thread::sleep(Duration::from_millis(350));
    interrupt(&consume);
    let begun = Instant::now();
    while consume.try_wait().expect("it is ours").is_none() && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    // It has ended already, or never will.
    let _ = consume.kill();
    assert_eq!(consume.wait().expect("it ends").code(), Some(130));
}
