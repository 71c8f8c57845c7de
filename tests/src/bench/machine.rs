//! The machine that the figures are of: what it is, how its disk is today, and what keeps it awake.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};

use super::raw;

/// Syncs in one look at the disk.
const SYNCS: usize = 50;
/// It ends early when the disk is slow.
const SYNCS_LIMIT: Duration = Duration::from_millis(500);

/// What is known of the machine, for the table's head and the JSON file.
pub fn facts(root: &Path) -> Value {
    let of = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let memory = of("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "");
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root).output();
    let commit = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    json!({
        "kernel": of("/proc/sys/kernel/osrelease"),
        "cpus": thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": memory.trim(),
        "congestion_control": of("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load_before": of("/proc/loadavg").split(' ').next().unwrap_or_default(),
        "commit": commit,
    })
}

/// How long syncs take.
#[derive(Debug, Clone, Copy)]
pub struct SyncTimes {
    /// Half of them took at most this.
    pub p50: Duration,
    /// All but one in a hundred.
    pub p99: Duration,
}

impl SyncTimes {
    /// Appends 4 KiB to a file in `dir` and syncs it, again and again.
    pub fn measure(dir: &Path) -> io::Result<Self> {
        let path = dir.join("sync-probe");
        let mut file = File::create(&path)?;
        let mut times = raw::latencies();
        let begun = Instant::now();
        while times.len() < SYNCS as u64 && (begun.elapsed() < SYNCS_LIMIT || times.is_empty()) {
            file.write_all(&[1; 4096])?;
            let before = Instant::now();
            file.sync_data()?;
            times.saturating_record(raw::nanos(before.elapsed()));
        }
        fs::remove_file(path)?;
        let at = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
        Ok(Self { p50: at(0.5), p99: at(0.99) })
    }
}

/// Writes what is dirty below `dir` to the disk, and has the kernel forget its pages.
pub fn evict(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            evict(&path)?;
        } else {
            let file = File::open(&path)?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Writes and removes a file, so that the memory for the page cache is there: on a virtual machine the first touch of a
/// page may take ten times as long as the next.
pub fn touch_memory(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = dir.join("touched");
    let mut file = File::create(&path)?;
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&block)?;
    }
    drop(file);
    fs::remove_file(path)
}

/// A process that keeps every processor awake with work of the lowest class, which gives way to everybody: one that
/// sleeps takes up to milliseconds to come back on a virtual machine.
#[derive(Debug)]
pub struct Spinners(Child);

impl Spinners {
    /// Starts this program again as `--spin`, if `chrt` is at hand.
    pub fn start() -> Option<Self> {
        let this = std::env::current_exe().ok()?;
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(this).arg("--spin");
        command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().ok().map(Self)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

/// What `--spin` does, until the parent is gone.
pub fn spin() {
    for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    wait_for_parent();
}

/// Returns when the process that holds the other end of the standard input has ended.
pub fn wait_for_parent() {
    // An error ends the wait as well.
    drop(io::copy(&mut io::stdin(), &mut io::sink()));
}
