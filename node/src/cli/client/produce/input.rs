//! The input: blocks, read by a thread of their own, and the lines in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use tokio::sync::mpsc;

use crate::cli::Failure;

/// What is read at once.
const BLOCK: usize = 256 << 10;
/// Blocks that wait.
const BLOCKS: usize = 4;

/// The blocks of an input as they come: what a pipe has now is not kept waiting for what it may have later.
pub(super) struct Blocks(mpsc::Receiver<io::Result<Bytes>>);

impl Blocks {
    /// A file, or standard input. The thread ends with its input or when nobody wants more, or with the process.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let source: Box<dyn Read + Send> = match file {
            Some(path) => {
                let explain = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
                Box::new(File::open(path).map_err(explain)?)
            }
            None => Box::new(io::stdin()),
        };
        let (sender, blocks) = mpsc::channel(BLOCKS);
        thread::Builder::new().name("input".to_owned()).spawn(move || read(source, &sender))?;
        Ok(Self(blocks))
    }

    /// The next block; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let block = self.0.recv().await.transpose();
        block.map_err(|error| Failure::new(format!("cannot read the input: {error}")))
    }
}

fn read(mut source: Box<dyn Read + Send>, blocks: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; BLOCK];
    loop {
        let block = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = block.is_err();
        if blocks.blocking_send(block).is_err() || failed {
            return;
        }
    }
}

/// Cuts blocks into lines.
pub(super) struct Splitter {
    delimiter: Bytes,
    finder: Finder<'static>,
    /// A line that is longer and has no end yet will be no record.
    longest: usize,
    /// The beginning of a line whose end is in a block to come.
    rest: BytesMut,
}

impl Splitter {
    pub(super) fn new(delimiter: Bytes, longest: usize) -> Self {
        let finder = Finder::new(&delimiter).into_owned();
        Self { delimiter, finder, longest, rest: BytesMut::new() }
    }

    /// Calls `line` with each line that is whole by now; `None` ends the input, and the last line with it.
    pub(super) fn split(
        &mut self,
        block: Option<Bytes>,
        line: &mut dyn FnMut(Bytes) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let Some(block) = block else {
            let last = std::mem::take(&mut self.rest).freeze();
            return if last.is_empty() { Ok(()) } else { line(last).map_err(Failure::new) };
        };
        let Some(text) = self.join(block) else { return self.check_rest() };
        let mut start = 0;
        let ends: Box<dyn Iterator<Item = usize> + '_> = match self.delimiter[..] {
            [byte] => Box::new(memchr::memchr_iter(byte, &text)),
            _ => Box::new(self.finder.find_iter(&text)),
        };
        for end in ends {
            line(text.slice(start..end)).map_err(Failure::new)?;
            start = end + self.delimiter.len();
        }
        self.rest.extend_from_slice(&text[start..]);
        self.check_rest()
    }

    /// The rest and the block in one, if a line ends there. As long as none does, only what is new is searched and
    /// copied, so that a long line costs no more than many short ones.
    fn join(&mut self, block: Bytes) -> Option<Bytes> {
        if self.rest.is_empty() {
            return Some(block);
        }
        // A delimiter may have begun in what is not new.
        let searched = self.rest.len().saturating_sub(self.delimiter.len() - 1);
        self.rest.extend_from_slice(&block);
        self.finder.find(&self.rest[searched..])?;
        Some(std::mem::take(&mut self.rest).freeze())
    }

    fn check_rest(&self) -> Result<(), Failure> {
        if self.rest.len() <= self.longest {
            return Ok(());
        }
        let remedy = "is the delimiter right (-D)? -X max.request.size=BYTES allows more";
        Err(Failure::new(format!("a line is longer than any record may be ({} bytes); {remedy}", self.longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of a text that comes in blocks of any size.
    fn lines(text: &str, delimiter: &'static str, block: usize) -> Vec<String> {
        let mut splitter = Splitter::new(delimiter.into(), 100);
        let mut lines = Vec::new();
        let mut take = |line: Bytes| {
            lines.push(String::from_utf8_lossy(&line).into_owned());
            Ok(())
        };
        for block in text.as_bytes().chunks(block) {
            splitter.split(Some(Bytes::copy_from_slice(block)), &mut take).expect("lines are short");
        }
        splitter.split(None, &mut take).expect("lines are short");
        lines
    }

    #[test]
    fn lines_are_the_same_in_blocks_of_any_size() {
        for block in 1..12 {
            assert_eq!(lines("one\n\nthree\nlast", "\n", block), ["one", "", "three", "last"]);
            assert_eq!(lines("one\n", "\n", block), ["one"]);
            assert_eq!(lines("a--b-c---d", "--", block), ["a", "b-c", "-d"], "{block}");
            assert_eq!(lines("a-=-=-b--=-c", "-=-", block), ["a", "=-b-", "c"], "{block}");
            assert!(lines("", "\n", block).is_empty());
        }
    }

    #[test]
    fn a_line_that_is_longer_than_any_record_is_not_waited_for() {
        for block in 1..12 {
            let mut splitter = Splitter::new(";".into(), 20);
            let mut taken = Vec::new();
            let mut blocks = std::iter::once(&b"one;"[..]).chain(b"twenty bytes and more".chunks(block));
            let failed = blocks.try_for_each(|block| {
                splitter.split(Some(Bytes::copy_from_slice(block)), &mut |line| {
                    taken.push(line);
                    Ok(())
                })
            });
            let why = failed.expect_err("too long").message;
            assert!(why.contains("(20 bytes)") && why.contains("max.request.size"), "{why}");
            assert_eq!(taken, ["one"]);
        }
    }

    #[test]
    fn a_long_line_is_neither_copied_nor_searched_again_with_each_block() {
        // Of these a search of all that is there would look at 2^35 bytes.
        let (blocks, block) = (1 << 13, Bytes::from(vec![b'x'; 1 << 10]));
        let mut splitter = Splitter::new("--".into(), 1 << 30);
        for _ in 0..blocks {
            splitter.split(Some(block.clone()), &mut |_| Err("no line ends".to_owned())).expect("none");
        }
        let mut lengths = Vec::new();
        let mut take = |line: Bytes| {
            lengths.push(line.len());
            Ok(())
        };
        splitter.split(Some(Bytes::from_static(b"--y")), &mut take).expect("lines are short");
        splitter.split(None, &mut take).expect("lines are short");
        assert_eq!(lengths, [blocks << 10, 1]);
    }
}
