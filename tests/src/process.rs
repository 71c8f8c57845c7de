//! Child processes with a deadline: a client or a tool that hangs is a result, never a hung test run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
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
    start(command, input, dir)?.finish(limit)
}

/// A child that runs beside us. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    dir: PathBuf,
}

/// Starts `command`, its output going to files in `dir`.
pub fn start(command: &mut Command, input: Stdio, dir: &Path) -> io::Result<Running> {
    let (out, err) = (File::create(dir.join("stdout"))?, File::create(dir.join("stderr"))?);
    Ok(Running { child: command.stdin(input).stdout(out).stderr(err).spawn()?, dir: dir.to_path_buf() })
}

impl Running {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, and ends it when `limit` has passed.
    pub fn finish(mut self, limit: Duration) -> io::Result<Finished> {
        let status = wait(&mut self.child, limit)?;
        if status.is_none() {
            self.kill()?;
        }
        Ok(Finished { status, stdout: lossy(&self.dir.join("stdout"))?, stderr: lossy(&self.dir.join("stderr"))? })
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.kill());
    }
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
