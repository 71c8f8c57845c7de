//! Child processes with a deadline: a client or a tool that hangs is a result, never a hung test run.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a finished (or killed) child left.
#[derive(Debug)]
pub struct Finished {
    /// The exit status, or `None` if the deadline passed and the child was killed.
    pub status: Option<ExitStatus>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// True if it ended by itself with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Both streams and how it ended, for the report of a failure.
    pub fn transcript(&self) -> String {
        let end = self.status.map_or_else(|| "killed at the deadline".to_owned(), |status| status.to_string());
        format!("{}\n{}\n[{end}]", self.stdout.trim_end(), self.stderr.trim_end())
    }
}

/// Runs `command` to its end without any input, or kills it when `limit` has passed. Its output goes through files in
/// `dir`, so that no pipe can fill up.
pub fn run(command: &mut Command, dir: &Path, limit: Duration) -> io::Result<Finished> {
    run_with_input(command, Stdio::null(), dir, limit)
}

/// The same with a standard input.
pub fn run_with_input(command: &mut Command, input: Stdio, dir: &Path, limit: Duration) -> io::Result<Finished> {
    let out = dir.join("stdout");
    let err = dir.join("stderr");
    let mut child = command.stdin(input).stdout(File::create(&out)?).stderr(File::create(&err)?).spawn()?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(Finished { status, stdout: lossy(&out)?, stderr: lossy(&err)? })
}

/// Waits until `child` ends, at most `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn lossy(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}
