//! Reads what `strace -f -yy -xx -v -o FILE` writes: one call a line, or two where another thread came between.

use std::collections::BTreeMap;

/// The options that make a trace that [`parse`] reads. `-s` must show every answer and every batch header whole;
/// with `-D` the broker is our own child, and the tracer a stranger.
pub const STRACE: &[&str] = &["strace", "-D", "-f", "-yy", "-xx", "-v", "-s", "4096", "-e", "signal=none", "-e"];

/// The calls to trace: all that write, sync, or change a name.
pub const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,syncfs,sync_file_range,sync,\
     sendto,sendmsg,sendmmsg,sendfile,splice,openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,\
     mkdir,mkdirat,link,linkat,ftruncate,truncate,fallocate,io_uring_enter";

/// One finished system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The line of its entry, from 0.
    pub begin: usize,
    /// The line of its exit; equal to `begin` if nothing came between.
    pub end: usize,
    /// As `pwritev`.
    pub name: String,
    /// What it gave back; negative for an error.
    pub result: i64,
    /// The arguments as printed.
    arguments: String,
}

/// A buffer of a call: what is shown of it, and how long it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its beginning, cut at `-s`.
    pub shown: Vec<u8>,
    /// Its whole length.
    pub len: u64,
}

/// The calls in the order of their exits. Lines that are not understood are an error: a proof must not skip.
pub fn parse(text: &str) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').ok_or_else(|| format!("line {number}: {line:?}"))?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            unfinished.remove(thread);
            continue;
        }
        if let Some(entry) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, entry));
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ") {
            None => (number, rest.to_owned()),
            Some(resumed) => {
                let (begin, entry) =
                    unfinished.remove(thread).ok_or_else(|| format!("line {number} resumes nothing: {line:?}"))?;
                let (_, exit) = resumed.split_once("resumed>").unwrap_or(("", resumed));
                (begin, format!("{entry}{exit}"))
            }
        };
        if let Some(call) = call(begin, number, &whole).ok_or_else(|| format!("line {number}: {whole:?}"))? {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// `None` if the text is no call; `Some(None)` for one that never returned.
fn call(begin: usize, end: usize, text: &str) -> Option<Option<Call>> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.trim_start().starts_with('?') {
        return Some(None);
    }
    let number = result.split([' ', '<']).next()?;
    let arguments = arguments.trim_end().strip_suffix(')')?.to_owned();
    Some(Some(Call { begin, end, name: name.to_owned(), result: number.parse().ok()?, arguments }))
}

impl Call {
    /// What the first descriptor is open on: a path, or `TCP:[local->peer]`.
    pub fn target(&self) -> Option<String> {
        annotation(&self.arguments)
    }

    /// Its strings in order: paths of calls that take names, in full.
    pub fn names(&self) -> Vec<String> {
        let directories = self.arguments.split("AT_FDCWD<").count() > 1;
        let base = if directories { annotation(&self.arguments) } else { None };
        let absolute = |name: String| match &base {
            Some(base) if !name.starts_with('/') => format!("{base}/{name}"),
            _ => name,
        };
        self.strings().into_iter().map(|(bytes, _)| absolute(String::from_utf8_lossy(&bytes).into_owned())).collect()
    }

    /// Whether the arguments hold a flag, as `O_CREAT`.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.arguments.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == flag)
    }

    /// What is written, of `write`, `writev`, `sendto`, `sendmsg` and the like.
    pub fn pieces(&self) -> Vec<Piece> {
        let lengths: Vec<u64> = self
            .arguments
            .match_indices("iov_len=")
            .filter_map(|(at, text)| leading(&self.arguments[at + text.len()..]))
            .collect();
        let strings = self.strings();
        if lengths.is_empty() {
            let after = strings.first().map(|(_, end)| &self.arguments[*end..]).unwrap_or_default();
            let len = leading(after.trim_start_matches(['.', ',', ' '])).unwrap_or(0);
            return strings.into_iter().take(1).map(|(shown, _)| Piece { shown, len }).collect();
        }
        strings.into_iter().zip(lengths).map(|((shown, _), len)| Piece { shown, len }).collect()
    }

    /// The position of a `pwrite`, or the length of a truncation; `None` for a call without one.
    pub fn position(&self) -> Option<u64> {
        let mut last = self.arguments.rsplit(", ");
        let word = match self.name.as_str() {
            "pwrite64" | "pwritev" | "ftruncate" | "truncate" => last.next()?,
            // The flags come last.
            "pwritev2" => last.nth(1)?,
            _ => return None,
        };
        leading(word)
    }

    /// The quoted strings, and where each ends in the arguments.
    fn strings(&self) -> Vec<(Vec<u8>, usize)> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(start) = self.arguments[at..].find('"').map(|offset| at + offset + 1) {
            let Some(length) = self.arguments[start..].find('"') else { break };
            found.push((unhex(&self.arguments[start..start + length]), start + length + 1));
            at = start + length + 1;
        }
        found
    }
}

fn leading(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

/// What stands in the first `<…>`; sockets have an arrow in it.
fn annotation(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('<')?;
    let end = if rest.starts_with("TCP") { rest.find("]>")? + 1 } else { rest.find('>')? };
    let text = &rest[..end];
    Some(if text.starts_with("\\x") { String::from_utf8_lossy(&unhex(text)).into_owned() } else { text.to_owned() })
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|byte| u8::from_str_radix(byte.get(..2)?, 16).ok()).collect()
}
