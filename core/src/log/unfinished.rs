//! A swap of the cleaner's that a crash has left, and its end at a start.
//!
//! Syncing -> for each `.log.swap`: Opening, Walking -> Retiring -> Indexes -> Naming -> the directory is listed anew.
//!
//! A `.log.swap` is complete: its name was given after its sync, and its indexes were saved before. So it replaces
//! every segment from its base up to its last offset, which is where those ended ([`super::cleaning`]). What is left of
//! them goes; then it takes its name, after its indexes. Each step is durable before the next, and each can be taken
//! again: another crash leaves the same to do. A `.swap` of an index alone was not complete, and goes.
//!
//! An index that has its own name, and whose `.swap` is not there, has taken that name already.

use super::api::{Damage, LogConfig};
use super::leader_epoch_cache::LeaderEpochCache;
use super::names::{self, FileName, SegmentFile};
use super::partition::{Io, JobFor};
use super::producer_state::{MAX_PRODUCERS, ProducerState};
use super::recovery::{Recovered, Recovery};
use super::scan::{Derived, Purpose, Rebuild, Scan};
use super::segment::Segment;
use super::walk::Walk;
use crate::job::Job;
use crate::machine::{DiskError, DiskResult, Entry, FileAction, FileId, Level, OpenMode};
use crate::storage::Owner;
use crate::types::{LeaderEpoch, Offset};

/// What a start finds of swaps.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    /// The log files that take the place of others, with their bytes.
    logs: Vec<(Offset, u32)>,
    /// The index files that do.
    indexes: Vec<(Offset, SegmentFile)>,
    /// What has its name.
    named: Vec<(Offset, SegmentFile)>,
    /// Up to where each of `logs` reaches, as far as they were looked at.
    ends: Vec<Offset>,
    step: Step,
    left: usize,
    file: Option<FileId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Syncing,
    Opening,
    Walking,
    Retiring,
    RetireSync,
    Indexes,
    IndexSync,
    Naming,
    NameSync,
}

impl Unfinished {
    /// What is to be ended, if there is something.
    pub(crate) fn of(entries: &[Entry]) -> Option<Self> {
        let (mut logs, mut indexes, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match FileName::parse(&entry.name) {
                FileName::Swap { base_offset, file: SegmentFile::Log } => {
                    logs.push((base_offset, u32::try_from(entry.len).unwrap_or(u32::MAX)));
                }
                FileName::Swap { base_offset, file } => indexes.push((base_offset, file)),
                FileName::Segment { base_offset, file } if file != SegmentFile::Snapshot => {
                    named.push((base_offset, file));
                }
                FileName::Segment { .. } | FileName::Leftover | FileName::Other => {}
            }
        }
        let (ends, step, left, file) = (Vec::new(), Step::Syncing, 0, None);
        (!logs.is_empty()).then_some(Self { logs, indexes, named, ends, step, left, file })
    }

    /// The files that are replaced.
    fn replaced(&self) -> Vec<String> {
        let is_replaced = |&(base, kind): &(Offset, SegmentFile)| {
            let is_other = |swap: Offset, end: Offset| base > swap && base < end;
            let is_old =
                |swap: Offset| base == swap && (kind == SegmentFile::Log || self.indexes.contains(&(base, kind)));
            self.logs.iter().zip(&self.ends).any(|((swap, _), end)| is_other(*swap, *end) || is_old(*swap))
        };
        let replaced = self.named.iter().filter(|named| is_replaced(named));
        replaced.map(|(base, kind)| kind.name(*base)).collect()
    }
}

impl Recovery {
    /// What the last process renamed may be seen and not be durable: it is, before anything rests on it.
    pub(super) fn end_swaps(&mut self, unfinished: Unfinished, io: &mut Io<'_>) -> Recovered {
        io.out.note(Level::Info, format!("{}: compaction goes on where the last process left it", self.partition));
        self.files.unfinished = Some(unfinished);
        self.swap_step(Step::Syncing, vec![FileAction::SyncDir { path: self.path.clone() }], io)
    }

    fn swap_step(&mut self, step: Step, actions: Vec<FileAction>, io: &mut Io<'_>) -> Recovered {
        let Some(unfinished) = &mut self.files.unfinished else {
            return Recovered::Working;
        };
        (unfinished.step, unfinished.left) = (step, actions.len());
        if actions.is_empty() {
            return self.next_swap_step(step, io);
        }
        for action in actions {
            self.act(action, io);
        }
        Recovered::Working
    }

    pub(super) fn on_swap_disk(&mut self, result: &DiskResult, io: &mut Io<'_>) -> Recovered {
        let Some(unfinished) = &mut self.files.unfinished else {
            return Recovered::Working;
        };
        let step = unfinished.step;
        if let DiskResult::Failed(error) = result {
            return match step {
                Step::Opening => self.swap_is_bad(0, &error.to_string(), true, io),
                Step::Syncing
                | Step::Walking
                | Step::Retiring
                | Step::RetireSync
                | Step::Indexes
                | Step::IndexSync
                | Step::Naming
                | Step::NameSync => self.give_swaps_up(*error, io),
            };
        }
        unfinished.left -= 1;
        if unfinished.left > 0 { Recovered::Working } else { self.next_swap_step(step, io) }
    }

    /// A step is done.
    fn next_swap_step(&mut self, step: Step, io: &mut Io<'_>) -> Recovered {
        let sync = || vec![FileAction::SyncDir { path: self.path.clone() }];
        let Some(unfinished) = &self.files.unfinished else {
            return Recovered::Working;
        };
        match step {
            Step::Syncing => self.open_swap(io),
            Step::Opening => self.walk_swap(io),
            Step::Walking => Recovered::Working,
            Step::Retiring => self.swap_step(Step::RetireSync, sync(), io),
            Step::RetireSync => {
                let is_of_log = |index: &&(Offset, SegmentFile)| unfinished.logs.iter().any(|log| log.0 == index.0);
                let indexes = unfinished.indexes.iter().filter(is_of_log);
                let renames = indexes.map(|&(base, kind)| self.named_so(base, kind)).collect();
                self.swap_step(Step::Indexes, renames, io)
            }
            Step::Indexes => self.swap_step(Step::IndexSync, sync(), io),
            Step::IndexSync => {
                let renames = unfinished.logs.iter().map(|log| self.named_so(log.0, SegmentFile::Log)).collect();
                self.swap_step(Step::Naming, renames, io)
            }
            Step::Naming => self.swap_step(Step::NameSync, sync(), io),
            Step::NameSync => {
                self.files.unfinished = None;
                self.act(FileAction::List { path: self.path.clone() }, io);
                Recovered::Working
            }
        }
    }

    fn named_so(&self, base: Offset, kind: SegmentFile) -> FileAction {
        FileAction::Rename { from: self.path.join(&names::swap(base, kind)), to: self.path.join(&kind.name(base)) }
    }

    /// The next one that it is not known of how far it reaches.
    fn open_swap(&mut self, io: &mut Io<'_>) -> Recovered {
        let Some(unfinished) = &mut self.files.unfinished else {
            return Recovered::Working;
        };
        let Some(&(base, _)) = unfinished.logs.get(unfinished.ends.len()) else {
            let retire = |name: String| FileAction::Rename {
                from: self.path.join(&name),
                to: self.path.join(&format!("{name}.deleted")),
            };
            let renames = unfinished.replaced().into_iter().map(retire).collect();
            return self.swap_step(Step::Retiring, renames, io);
        };
        let file = io.storage.new_file();
        unfinished.file = Some(file);
        let path = self.path.join(&names::swap(base, SegmentFile::Log));
        self.swap_step(Step::Opening, vec![FileAction::Open { file, path, mode: OpenMode::Existing }], io)
    }

    fn walk_swap(&mut self, io: &mut Io<'_>) -> Recovered {
        let Some(unfinished) = &mut self.files.unfinished else {
            return Recovered::Working;
        };
        let (Some(file), Some(&(base, len))) = (unfinished.file, unfinished.logs.get(unfinished.ends.len())) else {
            return Recovered::Working;
        };
        unfinished.step = Step::Walking;
        let config = LogConfig::default();
        let producers = ProducerState::new(MAX_PRODUCERS, io.storage.planted);
        let rebuild = Rebuild {
            segment: Segment::new(base, file, &config, io.now.wall),
            began: 0,
            derived: Derived { epochs: LeaderEpochCache::new(), producers },
            config,
            from: Offset(i64::MAX),
            next: base,
            epoch: LeaderEpoch(-1),
            claimed: Offset(i64::MAX),
            claim: None,
            claim_met: false,
            last: None,
        };
        let scan = Scan::new(file, Walk::new(0, len, true), Purpose::Rebuild(Box::new(rebuild)));
        io.jobs.run(Job::Scan(Some(Box::new(scan))), JobFor::Recovery(self.number), io.out);
        Recovered::Working
    }

    pub(super) fn on_swap_walked(&mut self, scan: Scan, io: &mut Io<'_>) -> Recovered {
        let (Some(unfinished), Purpose::Rebuild(rebuild)) = (&mut self.files.unfinished, scan.purpose) else {
            return Recovered::Working;
        };
        if let Some(file) = unfinished.file.take() {
            io.storage.act(self.path.dir, Owner::Nobody, FileAction::CloseFile { file }, io.out);
        }
        if let Some((pos, why)) = scan.bad {
            return self.swap_is_bad(pos, &why, false, io);
        }
        if let Some(error) = scan.failed {
            return self.swap_is_bad(0, &error.to_string(), true, io);
        }
        unfinished.ends.push(rebuild.next);
        self.open_swap(io)
    }

    /// How far it reaches cannot be told, nor so what of the others is still the log's. So the log is damaged, and
    /// nothing in its directory is changed; but whose it is can be told, and the logs beside it are none the worse.
    fn swap_is_bad(&mut self, pos: u32, why: &str, unreadable: bool, io: &mut Io<'_>) -> Recovered {
        let Some(Unfinished { logs, ends, .. }) = self.files.unfinished.take() else {
            return Recovered::Working;
        };
        let segment = logs.get(ends.len()).map_or(Offset::ZERO, |log| log.0);
        let why = format!("{}: {why}", names::swap(segment, SegmentFile::Log));
        self.walked.damage.get_or_insert(Damage { segment, pos, why, unreadable });
        self.load_name(io);
        Recovered::Working
    }

    /// A directory that cannot be changed is out of use: what of a change is durable nobody knows.
    fn give_swaps_up(&mut self, error: DiskError, io: &mut Io<'_>) -> Recovered {
        let text = format!("{}: a segment that compaction wrote cannot be put in place: {error}", self.partition);
        io.out.note(Level::Error, text);
        io.storage.take_offline(self.path.dir, error);
        Recovered::Working
    }
}
