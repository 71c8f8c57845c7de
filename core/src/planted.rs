//! Planted bugs: real bugs of Kafka, Redpanda and Raft systems, one switch each.
//!
//! They exist to measure the simulator: a checker that cannot fail checks nothing. A switch is compiled in
//! only under the feature `planted-bugs`; without it [`Planted::has`] is constant `false` and the code behind
//! it is gone. The node refuses to compile with the feature. `make planted` runs them.

use std::fmt;
use std::str::FromStr;

/// Whether the bugs are compiled into this build of the core.
pub const COMPILED_IN: bool = cfg!(feature = "planted-bugs");

macro_rules! plants {
    ($($(#[doc = $doc:literal])+ $plant:ident = $id:literal,)+) => {
        /// One bug. The name is its id in the catalogue; the doc is the ticket and what the switch removes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Plant {
            $($(#[doc = $doc])+ $plant,)+
        }

        impl Plant {
            /// Every bug that the simulator plants, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$plant),+];

            /// The catalogue's id: `LOG-01`.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$plant => $id,)+
                }
            }
        }
    };
}

plants! {
    /// LOG-01 (KAFKA-3968): a log's directory is not synced when a segment file is made in it, or a file renamed.
    Log01 = "LOG-01",
    /// LOG-02 (KAFKA-16541): the leader-epoch checkpoint is rewritten without a sync, and believed if it is torn.
    Log02 = "LOG-02",
    /// LOG-03 (KAFKA-10471): the clean-shutdown mark outlives the start: a crash then seems to be a clean stop.
    Log03 = "LOG-03",
    /// LOG-04 (KAFKA-9892): producer snapshots are not synced before they get their name, and believed if torn.
    Log04 = "LOG-04",
    /// LOG-05 (KAFKA-10778): after a failed write appends go on and are acknowledged.
    Log05 = "LOG-05",
    /// LOG-08 (KAFKA-6264): a segment is not rolled when an offset is 2^31 above its base.
    Log08 = "LOG-08",
    /// LOG-11 (KAFKA-12520): a start takes what a crash has left of a swap for a pass that was not complete.
    Log11 = "LOG-11",
    /// LOG-14 (Redpanda 5569deafab): a truncation leaves the indexes as they were.
    Log14 = "LOG-14",
    /// LOG-16 (Redpanda 9c70863180): the durable offset rises to where the log is when a sync ends, not when it began;
    /// and progress from before a truncation raises it.
    Log16 = "LOG-16",
    /// LOG-18 (ATC'20, fsync failures): a failed sync is taken for done, as a retry would be.
    Log18 = "LOG-18",
    /// LOG-23 (KAFKA-15046): the recovery point advances before what lies below it is synced.
    Log23 = "LOG-23",
    /// IDEM-04 (KAFKA-7190): a producer is forgotten when its records are deleted.
    Idem04 = "IDEM-04",
    /// IDEM-06 (KAFKA-5494): only the last batch of a producer is remembered instead of five.
    Idem06 = "IDEM-06",
    /// IDEM-07 (KAFKA-7692): the sequence after 2^31 - 1 is taken to be -2^31.
    Idem07 = "IDEM-07",
    /// IDEM-09 (KAFKA-5829): producer snapshots above a truncation stay, and are loaded later.
    Idem09 = "IDEM-09",
    /// IDEM-11 (Redpanda 5356): a duplicate is answered with offset 0.
    Idem11 = "IDEM-11",
    /// IDEM-14 (KAFKA-12153): producer state is not rolled back with a truncation.
    Idem14 = "IDEM-14",
    /// RAFT-01 (robustmq 2039): the vote is not durable before the node leads.
    Raft01 = "RAFT-01",
    /// RAFT-02 (Redpanda 19): the vote is forgotten by who steps down within its epoch.
    Raft02 = "RAFT-02",
    /// RAFT-03 (KAFKA-10527): a node that led its epoch when it died leads on in it.
    Raft03 = "RAFT-03",
    /// RAFT-04 (KAFKA-10533): a follower says that it has what is not durable there.
    Raft04 = "RAFT-04",
    /// RAFT-05 (KAFKA-17332): who is no voter yet says that it has what is not durable there.
    Raft05 = "RAFT-05",
    /// RAFT-09 (KIP-853): voters are changed before the leader has committed a record of its own epoch.
    Raft09 = "RAFT-09",
    /// RAFT-10 (Redpanda 17675): voters are changed while the last change is not committed.
    Raft10 = "RAFT-10",
    /// RAFT-13 (Redpanda 18394): the answers to an earlier poll count in a later one, and those of a pre-vote as votes.
    Raft13 = "RAFT-13",
    /// RAFT-15 (openraft b06cbb37): a vote is given whatever the candidate's log has.
    Raft15 = "RAFT-15",
    /// RAFT-16 (openraft a9f696a9): the leader counts what is not durable with itself.
    Raft16 = "RAFT-16",
    /// RAFT-17 (openraft f076cf6f): the ends of the voters' logs are not sorted before the middle one is taken.
    Raft17 = "RAFT-17",
    /// RAFT-21 (KAFKA-14618): a snapshot is named by the last offset that is in it, not by the one after it.
    Raft21 = "RAFT-21",
    /// RAFT-25 (etcd-raft 8ecce32): a node's high watermark falls with its leader's.
    Raft25 = "RAFT-25",
    /// RAFT-26 (KAFKA-14275): a follower passes over a record that it cannot apply: that a topic goes.
    Raft26 = "RAFT-26",
    /// RAFT-27 (KAFKA-6082): a controller that leads no more goes on deciding, in the epoch that it led.
    Raft27 = "RAFT-27",
    /// RAFT-29 (KAFKA-13173): brokers that are silent at one time are all fenced as of the same metadata.
    Raft29 = "RAFT-29",
    /// RAFT-31 (etcd 14370): a lone voter counts its own records as committed before they are durable.
    Raft31 = "RAFT-31",
    /// RAFT-32 (Redpanda 11840): a follower takes what it appends for committed.
    Raft32 = "RAFT-32",
    /// RAFT-38 (NATS 6888): settings are not in a snapshot of the metadata.
    Raft38 = "RAFT-38",
    /// RAFT-39 (derived, KIP-853): a voter whose directory was replaced votes as before.
    Raft39 = "RAFT-39",
    /// RAFT-41 (derived): a change of the metadata is acknowledged when it is appended.
    Raft41 = "RAFT-41",
    /// RAFT-42 (derived, as Redpanda 3003): what waits to be committed is acknowledged when the controller steps down.
    Raft42 = "RAFT-42",
    /// RAFT-43 (derived, KIP-595): the leader compares where logs end, and not their epochs.
    Raft43 = "RAFT-43",
    /// RAFT-44 (Raft, figure 8): what earlier leaders left counts as committed as soon as a majority has it.
    Raft44 = "RAFT-44",
    /// RAFT-49 (KAFKA-13141 of the quorum): what a node says of its log counts though the log is not the leader's.
    Raft49 = "RAFT-49",
    /// RAFT-50 (derived): a follower takes for committed what it has fetched and not written.
    Raft50 = "RAFT-50",
    /// RAFT-51 (found): who stops in good order still takes new epochs and votes, and saves them when the clean marks
    /// are under way: the next start believes them before they are durable.
    Raft51 = "RAFT-51",
    /// REP-01 (KIP-101): a follower whose log differs from its leader's cuts to its own high watermark, not by epochs.
    Rep01 = "REP-01",
    /// REP-02 (KIP-279): the leader tells where an epoch ends, and not which it found; batches of earlier epochs are
    /// taken.
    Rep02 = "REP-02",
    /// REP-06 (KAFKA-7786): answers of an earlier leader, or of an earlier epoch, are taken for this one's.
    Rep06 = "REP-06",
    /// REP-08 (KAFKA-14704): a follower takes its leader's high watermark before it cuts what differs.
    Rep08 = "REP-08",
    /// REP-09 (KAFKA-15510): a follower does not say which epoch its log ends in: nobody sees that it differs.
    Rep09 = "REP-09",
    /// REP-10 (KAFKA-13141): a follower's fetch counts though its log differs.
    Rep10 = "REP-10",
    /// REP-13 (Redpanda 17895): a batch that a follower has already makes it cut its log to there.
    Rep13 = "REP-13",
    /// REP-14 (Redpanda 3003): what waits to be committed is acknowledged when the leader steps down.
    Rep14 = "REP-14",
    /// REP-17 (KAFKA-9491): who begins anew where its leader's log starts keeps its high watermark.
    Rep17 = "REP-17",
    /// REP-18 (KAFKA-6975): a follower does not take a batch that begins before its leader's log start.
    Rep18 = "REP-18",
    /// REP-22 (derived): a follower's high watermark is its leader's, though its own log does not go so far.
    Rep22 = "REP-22",
    /// REP-24 (derived): the leader's high watermark counts for what a follower has fetched and not written.
    Rep24 = "REP-24",
    /// REP-25 (derived): a damaged replica begins anew while it still counts, with nothing.
    Rep25 = "REP-25",
    /// ISR-01 (Jepsen, Kafka 0.8): `min.insync.replicas` is not looked at.
    Isr01 = "ISR-01",
    /// ISR-02 (KIP-106): where nobody who is in sync can lead, anybody does.
    Isr02 = "ISR-02",
    /// ISR-03 (KAFKA-7128): who has all below the high watermark comes into the ISR, whatever the epoch began with.
    Isr03 = "ISR-03",
    /// ISR-04 (KIP-497): the high watermark counts over the ISR that is proposed, before the controller has said so.
    Isr04 = "ISR-04",
    /// ISR-06 (KIP-903): who comes into the ISR may have been another process when it had what that takes.
    Isr06 = "ISR-06",
    /// ISR-08 (KAFKA-15583): the high watermark moves while fewer are in sync than must be.
    Isr08 = "ISR-08",
    /// ISR-09 (KAFKA-15586): nobody notices that a broker comes back with less than it had.
    Isr09 = "ISR-09",
    /// ISR-18 (KIP-392): a follower serves consumers all that it has written.
    Isr18 = "ISR-18",
    /// ISR-19 (KAFKA-769): a start takes all that it finds for committed.
    Isr19 = "ISR-19",
    /// ISR-22 (derived): who waits to be answered waits on when another leads, and is acknowledged when the leader is
    /// back.
    Isr22 = "ISR-22",
    /// ISR-23 (derived, flush=quorum): what a follower has fetched counts before it is durable there.
    Isr23 = "ISR-23",
    /// ISR-24 (derived, KIP-497): who is proposed for the ISR does not count before the controller has said so.
    Isr24 = "ISR-24",
    /// ISR-25 (derived, flush=quorum): the leader counts what is not durable with itself.
    Isr25 = "ISR-25",
    /// ISR-26 (derived, KIP-966): who is eligible stays so while enough are in sync, and the high watermark moves.
    Isr26 = "ISR-26",
    /// ISR-27 (derived): a leader begins with a high watermark of nothing.
    Isr27 = "ISR-27",
    /// ISR-28 (KAFKA-14405): a broker that is out of service is elected.
    Isr28 = "ISR-28",
    /// ISR-29 (derived, as KAFKA-10527): a broker that comes back leads on in the same epoch.
    Isr29 = "ISR-29",
    /// ISR-30 (derived, KIP-966): whom the leader takes out of the ISR is not eligible, though too few are left.
    Isr30 = "ISR-30",
    /// ISR-31 (found; as in Kafka): a move is over, or taken back, though fewer than must be in sync have what is
    /// committed without who goes.
    Isr31 = "ISR-31",
    /// GRP-01 (KAFKA-16147): what a member is to give up and is to have again is its own, and nobody remembers that.
    Grp01 = "GRP-01",
    /// GRP-02 (crabka 521): a partition is given to its next owner before the last has given it up.
    Grp02 = "GRP-02",
    /// GRP-03 (KAFKA-8500): a static member that comes back while its group rebalances is added beside who it was.
    Grp03 = "GRP-03",
    /// GRP-04 (KAFKA-10284): a static member's new id is not written.
    Grp04 = "GRP-04",
    /// GRP-05 (KAFKA-8715): whose instance is another's now is told that it is unknown, and takes it back.
    Grp05 = "GRP-05",
    /// GRP-08 (KAFKA-7824): a new member need not come back with the id that it is given.
    Grp08 = "GRP-08",
    /// GRP-09 (KAFKA-10614): committed offsets are told while the log is still read.
    Grp09 = "GRP-09",
    /// GRP-12 (KAFKA-2555): the generation of a commit is not looked at.
    Grp12 = "GRP-12",
    /// GRP-17 (derived, KIP-848): the epoch of a consumer group is raised in memory, and not in the log.
    Grp17 = "GRP-17",
    /// GRP-18 (derived, KIP-848): a member whose session is over is in its group no more, and what it has is not free.
    Grp18 = "GRP-18",
    /// GRP-19 (found; as in Kafka): an old request to join that comes late says that the member has nothing.
    Grp19 = "GRP-19",
    /// OFS-02 (KAFKA-13636): offsets expire while their group prepares a generation.
    Ofs02 = "OFS-02",
    /// OFS-03 (KAFKA-8069): the -1 of an offset without an expiry of its own is taken for one when the log is read.
    Ofs03 = "OFS-03",
    /// OFS-04 (KAFKA-5600): of each batch only the first record is replayed when the log is read.
    Ofs04 = "OFS-04",
    /// OFS-05 (Redpanda 4900): a group's tombstone is written as a group without members.
    Ofs05 = "OFS-05",
    /// OFS-08 (derived): a commit is acknowledged before it is committed in the log.
    Ofs08 = "OFS-08",
    /// OFS-09 (KAFKA-14196): a member reads on in what it is about to give up, though it has committed already.
    Ofs09 = "OFS-09",
    /// CMP-03 (KAFKA-8522): `delete.retention.ms` does not count from the first pass that meets a tombstone.
    Cmp03 = "CMP-03",
    /// CMP-04 (KAFKA-13194): what is above the high watermark, and not durable, is cleaned too.
    Cmp04 = "CMP-04",
    /// CMP-10 (KAFKA-5634): retention deletes what is above the high watermark.
    Cmp10 = "CMP-10",
    /// CMP-18 (derived): the new segment gets its name without a sync.
    Cmp18 = "CMP-18",
    /// CMP-19 (derived): the old segments go before the new one's name is durable.
    Cmp19 = "CMP-19",
    /// CMP-20 (derived): the last batch of a producer goes when none of its records stays.
    Cmp20 = "CMP-20",
    /// CMP-21 (derived): keys are taken for the same if ten bits of their hashes are.
    Cmp21 = "CMP-21",
}

/// Which bugs a machine carries. Ordinarily none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bits: u128,
}

impl Planted {
    /// Whether `plant` is switched on.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn has(self, plant: Plant) -> bool {
        self.bits & (1 << plant as u32) != 0
    }

    /// Whether `plant` is switched on: never, in this build.
    #[cfg(not(feature = "planted-bugs"))]
    #[must_use]
    pub const fn has(self, _plant: Plant) -> bool {
        false
    }

    /// The same with `plant` switched on.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn with(self, plant: Plant) -> Self {
        Self { bits: self.bits | 1 << plant as u32 }
    }
}

/// The same in every build if none is switched on: a digest of a machine is one of its debug form.
impl fmt::Debug for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Plant::ALL.iter().filter(|plant| self.has(**plant))).finish()
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Plant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|plant| plant.id() == text);
        found.ok_or_else(|| format!("no planted bug is called {text}"))
    }
}
