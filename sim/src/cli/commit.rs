//! Which commit this is: where seeds come from by default, and part of what reproduces a run.

use std::process::Command;

/// The commit's hash as 40 hexadecimal digits, if this is a checkout with git.
pub(super) fn hash() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let hash = text.trim();
    (output.status.success() && hash.len() == 40).then(|| hash.to_owned())
}

/// The seed that a commit stands for: its first 15 digits, so that a failure in CI is that of the commit.
pub(super) fn seed() -> u64 {
    let seed = hash().and_then(|hash| u64::from_str_radix(&hash[..15], 16).ok());
    seed.unwrap_or(1)
}

/// The first twelve digits, for a line to be copied; with a `+` if the tree has changes.
pub(super) fn short() -> String {
    let Some(hash) = hash() else { return "unknown".into() };
    let changed = Command::new("git").args(["diff", "--quiet", "HEAD"]).status();
    let clean = changed.is_ok_and(|status| status.success());
    format!("{}{}", &hash[..12], if clean { "" } else { "+" })
}
