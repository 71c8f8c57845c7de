//! Text scripts: what is done to the log, and each file operation and event that comes of it.
//!
//! Regenerate with `UPDATE_GOLDENFILES=1 cargo test -p ottla-core --test log scripts`, then read the diff.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_core::log::{AppendOrigin, LogEvent};
use ottla_core::machine::DiskError;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::disk::Crash;
use crate::world::{World, batch, idempotent, small};

struct Script {
    world: World,
    log: String,
}

/// A line of a script, as it is written.
struct Line(Command);

impl TryFrom<&Command> for Line {
    type Error = Box<dyn Error>;
    fn try_from(command: &Command) -> Result<Self, Self::Error> {
        Ok(Self(command.clone()))
    }
}

type Outcome = Result<(), Box<dyn Error>>;

impl Script {
    fn new() -> Self {
        let mut world = World::new(small());
        world.disk.trace = Some(Vec::new());
        world.events.clear();
        Self { world, log: String::new() }
    }

    fn act(&mut self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "create" => {
                self.world.create();
            }
            "append" => self.append(&mut args)?,
            "truncate" => self.world.truncate(offset(&mut args)?),
            "delete_records" => self.world.delete_records(offset(&mut args)?),
            "delete" => self.world.delete(),
            "high_watermark" => self.world.set_high_watermark(offset(&mut args)?),
            "read" => {
                let max = key(&mut args, "max")?.unwrap_or(500);
                let plan = self.world.read(offset(&mut args)?, max);
                writeln!(self.log, "{plan:?}")?;
            }
            "step" => {
                let count = args.next_pos().map(str::parse::<usize>).transpose()?.unwrap_or(1);
                for _ in 0..count {
                    self.world.step();
                }
            }
            "run" => self.world.run(),
            "pass" => self.world.pass(Duration::from_millis(args.next_pos().ok_or("how many ms?")?.parse()?)),
            "fail" => {
                let error = if key(&mut args, "full")?.unwrap_or(false) { DiskError::Full } else { DiskError::Io(5) };
                let after = args.next_pos().ok_or("which operation from here?")?.parse::<u64>()?;
                self.world.disk.fail.insert(self.world.disk.done + after, error);
            }
            "kill" => drop(self.world.restart(Crash::Kill)),
            "power_loss" => {
                let seed = args.next_pos().map(str::parse).transpose()?.unwrap_or(0);
                self.world.restart(Crash::Power(seed));
            }
            "spoil" => {
                let name = args.next_pos().ok_or("which file?")?;
                let at: usize = args.next_pos().ok_or("which byte?")?.parse()?;
                self.world.disk.bytes(name)[at] ^= 1;
            }
            "extend" => {
                let name = args.next_pos().ok_or("which file?")?;
                self.world.disk.bytes(name).extend([7; 30]);
            }
            "shutdown" => self.world.shutdown(),
            "offsets" => {
                let offsets = self.world.offsets();
                writeln!(
                    self.log,
                    "start={} end={} written={} durable={}",
                    offsets.log_start, offsets.log_end, offsets.written, offsets.durable
                )?;
            }
            "files" => self.world.disk.names().iter().try_for_each(|name| writeln!(self.log, "{name}"))?,
            other => return Err(format!("no command {other}").into()),
        }
        args.reject_next()?;
        Ok(())
    }

    fn append(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let count = key(args, "count")?.unwrap_or(1);
        let awaited = key(args, "awaited")?.unwrap_or(false);
        let epoch = LeaderEpoch(key(args, "epoch")?.unwrap_or(1));
        let bytes = match key(args, "sequence")? {
            Some(sequence) => idempotent(key(args, "producer")?.unwrap_or(1), 0, sequence, count),
            None => batch(count, key(args, "time")?.unwrap_or(1000)),
        };
        match self.world.append_as(&bytes, AppendOrigin::Client, epoch, awaited) {
            Ok(appended) => {
                let again = if appended.duplicate { " duplicate" } else { "" };
                writeln!(self.log, "{}..={}{again}", appended.base_offset, appended.last_offset)?;
            }
            Err(error) => writeln!(self.log, "{error:?}")?,
        }
        Ok(())
    }
}

/// An argument with a name.
fn key<T: std::str::FromStr>(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<Option<T>, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

fn offset(args: &mut ArgumentConsumer<'_>) -> Result<Offset, Box<dyn Error>> {
    Ok(Offset(args.next_pos().ok_or("which offset?")?.parse()?))
}

impl Runner for Script {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &Context) -> Result<String, Box<dyn Error>> {
        self.log.clear();
        self.act(&line.0)?;
        for effect in self.world.disk.trace.replace(Vec::new()).unwrap_or_default() {
            writeln!(self.log, "  {effect}")?;
        }
        for event in std::mem::take(&mut self.world.events) {
            if !matches!(event, LogEvent::ReadDone { .. }) {
                writeln!(self.log, "-> {}", brief(&event))?;
            }
        }
        Ok(self.log.clone())
    }
}

fn brief(event: &LogEvent) -> String {
    let text = match event {
        LogEvent::BootDone(boot) => {
            let log = |log: &ottla_core::log::FoundLog| {
                let damage = log.damage.as_ref().map(|damage| format!(" damaged: {damage}"));
                let offsets = log.offsets;
                format!(
                    "{} start={} end={} durable={}{}",
                    log.partition,
                    offsets.log_start,
                    offsets.log_end,
                    offsets.durable,
                    damage.unwrap_or_default()
                )
            };
            let logs: Vec<String> = boot.logs.iter().map(log).collect();
            return format!("boot clean={:?} missing={} {}", boot.clean, boot.missing.len(), logs.join("; "));
        }
        other => format!("{other:?}"),
    };
    text.replace("LogId(0)", "l0").replace("LogId(1)", "l1")
}

#[test]
fn scripts() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/log");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        goldenscript::run(&mut Script::new(), &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
