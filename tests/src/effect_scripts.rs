//! The suite of effect scripts: what a driver's disk must do, as text that every driver runs.
//!
//! The machine is proved against the simulated disk and runs on the real one, so the two must answer alike.
//! A script is a file of `tests/effects`; each block is one step of a machine: its effects are issued together,
//! and below `---` stand their completions. Operations that may overtake each other stand in blocks of their own.
//!
//! Absent: crashes and power loss. What survives them is the simulator's to decide, not a promise of a driver.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path as StdPath, PathBuf};

use bytes::Bytes;
use goldenscript::{Argument, ArgumentConsumer, Block, Command, Context};
use ottla_core::machine::{DiskResult, Effect, FileAction, FileId, LogDirId, OpId, OpenMode, Path};
use ottla_core::types::{LeaderEpoch, Offset};

/// A driver's file operations.
pub trait DiskUnderTest {
    /// Begins the effects of one step, in order. All have an [`OpId`].
    fn execute(&mut self, effects: Vec<Effect>);
    /// Waits until `count` operations have completed, and takes their completions in the order they came.
    fn completions(&mut self, count: usize) -> Vec<(OpId, DiskResult)>;
}

/// Runs every script of the suite, each on a new and empty disk with one log directory.
///
/// # Panics
/// A script's outcome differs from what it says, or there is no script.
pub fn run_all<D: DiskUnderTest>(mut new_disk: impl FnMut() -> D) {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "the suite is empty");
    for script in scripts {
        let mut runner = Runner { disk: new_disk(), ops: 0, step: Vec::new() };
        if let Err(error) = goldenscript::run(&mut runner, &script) {
            panic!("{}: {error}", script.display());
        }
    }
}

fn scripts() -> Vec<PathBuf> {
    let dir = StdPath::new(env!("CARGO_MANIFEST_DIR")).join("effects");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut scripts: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    scripts.sort();
    scripts
}

struct Runner<D> {
    disk: D,
    ops: u64,
    step: Vec<Effect>,
}

impl<D: DiskUnderTest> goldenscript::Runner for Runner<D> {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let times: u64 = args.take_key("times").map_or(Ok(1), str::parse)?;
        let rest: Vec<Argument> = args.cloned().collect();
        for turn in 0..times {
            let mut command = command.clone();
            command.args.clone_from(&rest);
            self.ops += 1;
            self.step.push(effect(OpId(self.ops), &command, turn)?);
        }
        Ok(String::new())
    }

    fn end_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        let step = std::mem::take(&mut self.step);
        let count = step.len();
        self.disk.execute(step);
        let mut completions = self.disk.completions(count);
        completions.sort_by_key(|(op, _)| *op);
        let mut lines: Vec<String> =
            completions.iter().map(|(op, result)| format!("{op} {}", describe(result))).collect();
        if lines.len() > 20 {
            lines = summary(&completions);
        }
        Ok(lines.join("\n"))
    }
}

/// One command as an effect. In its `turn`-th repetition a write stands so many lengths further on.
fn effect(op: OpId, command: &Command, turn: u64) -> Result<Effect, Box<dyn Error>> {
    let mut args = command.consume_args();
    let effect = match command.name.as_str() {
        "write" => {
            let file = file(&mut args)?;
            let (pos, bytes) = (key(&mut args, "pos")?, content(&mut args)?);
            let pos = pos + turn * u64::try_from(bytes.len())?;
            Effect::Write { op, file, pos, bytes }
        }
        "append" => Effect::Append {
            op,
            file: file(&mut args)?,
            pos: u32::try_from(key(&mut args, "pos")?)?,
            base_offset: Offset(i64::try_from(key(&mut args, "base")?)?),
            leader_epoch: LeaderEpoch(i32::try_from(key(&mut args, "epoch")?)?),
            rest: content(&mut args)?,
        },
        "sync" => Effect::Sync { op, file: file(&mut args)? },
        name => Effect::File { op, action: Box::new(action(name, &mut args)?) },
    };
    args.reject_next()?;
    Ok(effect)
}

fn action(name: &str, args: &mut ArgumentConsumer<'_>) -> Result<FileAction, Box<dyn Error>> {
    Ok(match name {
        "create" => FileAction::Open { file: file(args)?, path: path(args)?, mode: OpenMode::Create },
        "open" => FileAction::Open { file: file(args)?, path: path(args)?, mode: OpenMode::Existing },
        "close" => FileAction::CloseFile { file: file(args)? },
        "read" => {
            FileAction::Read { file: file(args)?, pos: key(args, "pos")?, len: u32::try_from(key(args, "len")?)? }
        }
        "forget" => FileAction::Forget { file: file(args)?, pos: key(args, "pos")? },
        "set_len" => FileAction::SetLen { file: file(args)?, len: key(args, "len")? },
        "mkdir" => FileAction::MakeDir { path: path(args)? },
        "list" => FileAction::List { path: path(args)? },
        "sync_dir" => FileAction::SyncDir { path: path(args)? },
        "rename" => FileAction::Rename { from: path(args)?, to: path(args)? },
        "remove" => FileAction::Remove { path: path(args)? },
        "free_space" => FileAction::FreeSpace { dir: LogDirId(0) },
        other => return Err(format!("no such effect: {other}").into()),
    })
}

fn file(args: &mut ArgumentConsumer<'_>) -> Result<FileId, Box<dyn Error>> {
    let name = args.next_pos().ok_or("which file?")?;
    let number = name.strip_prefix('f').ok_or_else(|| format!("a file is named f1, not {name}"))?;
    Ok(FileId(number.parse()?))
}

fn path(args: &mut ArgumentConsumer<'_>) -> Result<Path, Box<dyn Error>> {
    let name = args.next_pos().ok_or("which path?")?;
    Ok(Path::new(LogDirId(0), if name == "." { "" } else { name }))
}

fn key(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<u64, Box<dyn Error>> {
    Ok(args.take_key(name).ok_or_else(|| format!("{name}= is missing"))?.parse()?)
}

/// Text as it stands, or `fill=N`: so many bytes of a pattern.
fn content(args: &mut ArgumentConsumer<'_>) -> Result<Bytes, Box<dyn Error>> {
    if let Some(length) = args.take_key("fill") {
        let length: usize = length.parse()?;
        return Ok((0..=u8::MAX).cycle().take(length).collect());
    }
    Ok(Bytes::copy_from_slice(args.next_pos().ok_or("write what?")?.as_bytes()))
}

fn describe(result: &DiskResult) -> String {
    match result {
        DiskResult::Bytes(bytes) if bytes.len() > 64 => {
            format!("read {} B, hash {:016x}", bytes.len(), fnv(bytes))
        }
        DiskResult::Bytes(bytes) => format!("read \"{}\"", bytes.escape_ascii()),
        DiskResult::Entries(entries) => {
            let mut text = String::from("entries");
            for entry in entries {
                let kind = if entry.is_dir { "/" } else { "" };
                write!(text, " {}{kind}:{}", entry.name, entry.len).expect("a string takes all");
            }
            text
        }
        // How much it is depends on the machine that this runs on.
        DiskResult::Space(bytes) => format!("{} free", if *bytes > 0 { "some" } else { "nothing" }),
        DiskResult::Done | DiskResult::Opened { .. } | DiskResult::Failed(_) => result.to_string(),
    }
}

/// Many completions, counted by outcome.
fn summary(completions: &[(OpId, DiskResult)]) -> Vec<String> {
    let mut outcomes = std::collections::BTreeMap::new();
    for (_, result) in completions {
        *outcomes.entry(describe(result)).or_insert(0) += 1;
    }
    outcomes.iter().map(|(outcome, count)| format!("{count} times {outcome}")).collect()
}

/// FNV-1a, so that long contents fit on a line.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
