//! What a process has used, as `/proc` tells.

use std::fs;
use std::io;
use std::time::Duration;

/// The kernel counts CPU time in hundredths of a second for every reader of `/proc`, whatever its own clock is.
const TICKS_A_SECOND: u64 = 100;

/// What a process has used up to now, and what it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time, in user space and in the kernel.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// The most it ever was.
    pub peak: u64,
    /// How often a thread of it went to sleep: what it was woken for.
    pub sleeps: u64,
}

impl Usage {
    /// Of a process.
    pub fn of(process: u32) -> io::Result<Self> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let mut sleeps = 0;
        for thread in fs::read_dir(format!("{folder}/task"))? {
            // A thread may end while we look.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            sleeps += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(Self {
            cpu: cpu(&fs::read_to_string(format!("{folder}/stat"))?)?,
            resident: field(&status, "VmRSS:").unwrap_or(0) << 10,
            peak: field(&status, "VmHWM:").unwrap_or(0) << 10,
            sleeps,
        })
    }

    /// Of this process.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// What was used since `before`; memory is as it is now.
    pub fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), sleeps: self.sleeps.saturating_sub(before.sleeps), ..self }
    }
}

/// The first number after `name`, at the start of a line.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time in the line of `/proc/PID/stat`; the name before them may hold anything.
fn cpu(stat: &str) -> io::Result<Duration> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<u64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|number| number.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(Duration::from_millis((user + system) * 1_000 / TICKS_A_SECOND)),
        _ => Err(io::Error::other(format!("/proc gives {stat:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(3));
        assert!(cpu("nonsense").is_err());
    }

    #[test]
    fn a_process_has_memory() {
        let own = Usage::own().unwrap();
        assert!(own.resident > 0 && own.peak >= own.resident / 2);
    }
}
