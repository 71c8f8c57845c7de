//! A quorum of one, step by step; quorums of several in a bad world; each planted bug showing itself.

mod network;

use self::network::{Network, Plan};
use super::*;
use crate::clock::WallTime;
use crate::log::leader_epoch_cache::EpochEnd;
use crate::machine::ConnId;
#[cfg(feature = "planted-bugs")]
use crate::planted::Plant;
use crate::record::RecordBatch;
use crate::types::BrokerId;
use ottla_wire::{ErrorCode, Uuid};

const NOW: Now = Now { monotonic: Instant(1_000), wall: WallTime(5000) };
const NODE: VoterKey = VoterKey { id: BrokerId(1), directory_id: Uuid(0xd1) };

fn alone() -> VoterSet {
    let endpoints = vec![VoterEndpoint { name: "CONTROLLER".into(), host: "127.0.0.1".into(), port: 9093 }];
    VoterSet::single(NODE, Voter { endpoints, max_kraft_version: KRAFT_VERSION })
}

fn birth() -> Start {
    Start {
        node: NODE,
        saved: None,
        voters: VoterHistory::default(),
        born: Some(alone()),
        end_offset: Offset::ZERO,
        last_epoch: None,
        snapshots: BTreeMap::new(),
        seed: 1,
    }
}

fn config() -> RaftConfig {
    RaftConfig {
        election_timeout: Duration::from_secs(1),
        fetch_timeout: Duration::from_secs(2),
        retry_backoff: Duration::from_millis(20),
        fetch_wait: Duration::from_millis(500),
        voter: Voter::default(),
        joins: false,
    }
}

fn raft(start: Start) -> Raft {
    Raft::new(start, config(), Planted::default()).unwrap()
}

fn log(end: i64, durable: i64) -> LogState {
    LogState {
        start: Offset::ZERO,
        end: Offset(end),
        written: Offset(end),
        durable: Offset(durable),
        last_epoch: Some(LeaderEpoch(1)),
    }
}

fn ticket(frame: u64) -> Ticket {
    Ticket { conn: ConnId(7), frame }
}

fn records(batch: &[u8]) -> Vec<ControlRecord> {
    let batch = RecordBatch::first_of(batch).unwrap();
    batch.check_crc().unwrap();
    control_records(&batch).unwrap()
}

#[test]
fn a_lone_voter_leads_once_its_vote_is_durable() {
    let mut raft = raft(birth());
    let outcome = raft.on_start(NOW);
    let save = outcome.save.clone().unwrap();
    assert_eq!(outcome, Outcome { save: Some(save.clone()), ..Outcome::default() });
    assert_eq!((raft.role().to_string().as_str(), raft.epoch()), ("Candidate", LeaderEpoch(1)));
    let saved = SavedElection::parse(&save.bytes).unwrap();
    assert_eq!(saved, SavedElection { epoch: LeaderEpoch(1), leader: None, voted: Some(NODE) });
    // Somebody else's save changes nothing.
    assert_eq!(raft.on_saved(SaveId(99), NOW), Outcome::default());

    let lead = raft.on_saved(save.id, NOW).lead.unwrap();
    assert_eq!((lead.epoch, raft.is_leader()), (LeaderEpoch(1), true));
    assert_eq!(RecordBatch::first_of(&lead.batch).unwrap().header().max_timestamp, NOW.wall.0);
    let expected = [
        ControlRecord::LeaderChange { leader: BrokerId(1) },
        ControlRecord::KRaftVersion(1),
        ControlRecord::Voters(alone()),
    ];
    assert_eq!(records(&lead.batch), expected);

    // Appended is not committed; durable is.
    assert_eq!(raft.on_log(NOW, log(3, 0)).high_watermark, None);
    let _: Outcome = raft.on_voters(NOW, Offset::ZERO, alone());
    assert_eq!(raft.on_log(NOW, log(5, 3)).high_watermark, Some(Offset(3)));
    assert_eq!(raft.on_log(NOW, log(5, 3)).high_watermark, None);
    assert_eq!(raft.on_log(NOW, log(5, 5)).high_watermark, Some(Offset(5)));
    // It waits for nobody.
    assert_eq!(raft.next_deadline(), None);
}

#[test]
fn a_restart_takes_a_new_epoch_above_the_file_and_the_log() {
    for (saved, last_epoch, expected) in [(Some(4), 3, 5), (Some(4), 6, 7), (None, 6, 7), (Some(4), 4, 5)] {
        let saved = saved.map(|epoch| SavedElection { epoch: LeaderEpoch(epoch), leader: None, voted: Some(NODE) });
        let mut voters = VoterHistory::default();
        voters.add(Offset::ZERO, alone());
        let (end_offset, last_epoch) = (Offset(10), Some(LeaderEpoch(last_epoch)));
        let mut raft = raft(Start { saved, voters, born: None, end_offset, last_epoch, ..birth() });
        let save = raft.on_start(NOW).save.unwrap();
        let lead = raft.on_saved(save.id, NOW).lead.unwrap();
        assert_eq!(lead.epoch, LeaderEpoch(expected));
        // The log names the voters already.
        assert_eq!(records(&lead.batch), [ControlRecord::LeaderChange { leader: BrokerId(1) }]);
        // What earlier epochs left is committed together with the first batch of this one, not before.
        assert_eq!(raft.on_log(NOW, log(11, 10)).high_watermark, None);
        assert_eq!(raft.on_log(NOW, log(11, 11)).high_watermark, Some(Offset(11)));
    }
}

#[test]
fn who_is_no_voter_only_looks_for_a_leader() {
    let replaced = VoterKey { directory_id: Uuid(0xd2), ..NODE };
    for start in [Start { node: replaced, ..birth() }, Start { born: None, ..birth() }] {
        let mut raft = raft(start);
        let outcome = raft.on_start(NOW);
        assert!(outcome.save.is_none() && outcome.lead.is_none());
        let [Call { to: Destination::Anyone(1), request: Request::Fetch(_), .. }] = &outcome.calls[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!((raft.role().to_string().as_str(), raft.epoch()), ("Unattached", LeaderEpoch(0)));
    }
}

/// Whoever is asked may lead, and have made it a voter that its own log does not know of yet.
#[test]
fn who_looks_for_a_leader_says_what_is_durable() {
    let mut raft = raft(Start { born: None, ..birth() });
    let asked = raft.on_start(NOW).calls[0].id;
    assert_eq!(raft.on_log(NOW, log(5, 3)), Outcome::default());
    assert_eq!(raft.on_response(NOW, asked, None, &Epochs::new()), Outcome::default());
    let later = Now { monotonic: raft.next_deadline().unwrap(), ..NOW };
    assert_eq!((raft.on_timeout(later), raft.next_deadline()), (Outcome::default(), None));
    let calls = raft.on_log(later, log(5, 5)).calls;
    let [Call { request: Request::Fetch(fetch), .. }] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(fetch.offset, Offset(5));
}

#[test]
fn there_is_no_epoch_after_the_last() {
    let last = Start { last_epoch: Some(LeaderEpoch(i32::MAX)), ..birth() };
    assert_eq!(Raft::new(last, config(), Planted::default()).unwrap_err(), StartError::EpochsExhausted);
}

#[test]
fn who_resigned_commits_nothing_and_is_not_elected() {
    let mut raft = raft(birth());
    let save = raft.on_start(NOW).save.unwrap();
    let _: Outcome = raft.become_resigned(NOW);
    assert_eq!(raft.on_saved(save.id, NOW), Outcome::default());
    assert_eq!(raft.on_log(NOW, log(3, 3)), Outcome::default());
    assert_eq!((raft.on_start(NOW), raft.next_deadline()), (Outcome::default(), None));
    let request = Request::Begin(BeginRequest { voter: None, leader: BrokerId(2), epoch: LeaderEpoch(9) });
    let ticket = Ticket { conn: ConnId(1), frame: 0 };
    let _: Outcome = raft.on_request(NOW, ticket, request, &Epochs::new());
    assert_eq!(raft.leader(), None);
}

#[test]
fn votes_of_others_count_only_in_a_majority_of_the_voters() {
    let keys = [1, 2, 3].map(|id| VoterKey { id: BrokerId(id), ..NODE });
    let voters = VoterSet::new(keys.into_iter().map(|key| (key, Voter::default())).collect()).unwrap();
    let mut tally = Tally::default();
    tally.note(keys[0], true);
    tally.note(VoterKey { directory_id: Uuid(9), ..keys[1] }, true);
    tally.note(keys[2], false);
    tally.note(keys[2], true);
    assert!(!tally.is_won(&voters));
    tally.note(keys[1], true);
    assert!(tally.is_won(&voters));
    assert_eq!(tally.granting(&voters).collect::<Vec<_>>(), keys[..2]);
    let twice =
        VoterSet::new([NODE, VoterKey { directory_id: Uuid(1), ..NODE }].map(|key| (key, Voter::default())).into());
    assert_eq!(twice, None);
}

fn plan(voters: i32, joining: i32) -> Plan {
    Plan { voters, joining, loss: 0, trouble_ms: 0, save_ms: 30, planted: Planted::default() }
}

fn bad(voters: i32, joining: i32) -> Plan {
    Plan { loss: 50, trouble_ms: 400, ..plan(voters, joining) }
}

/// Half a minute of trouble, and whether the quorum recovers from it.
fn troubled(plan: Plan, seed: u64) -> Network {
    let mut network = Network::new(plan, seed);
    network.run(30_000);
    network.heal();
    network.run(20_000);
    let (elections, committed) = (network.elections(), network.committed());
    network.run(5_000);
    let grew = network.committed() > committed;
    network.quieten();
    network.run(5_000);
    if network.violation.is_none() && !(grew && network.is_settled() && network.elections() == elections) {
        network.violation = Some(format!("at the end: L it does not settle: {}", network.describe()));
    }
    network
}

#[test]
fn three_elect_one_and_nobody_disturbs_it() {
    for seed in 0..20 {
        let mut network = Network::new(plan(3, 0), seed);
        network.run(20_000);
        assert_eq!(network.violation, None, "{seed}");
        let (_, epoch) = network.leader().unwrap();
        assert!(epoch.0 <= 3 && network.elections() <= 3 && network.committed() > 100, "{seed}");
    }
}

#[test]
fn a_node_that_was_cut_off_does_not_unseat_the_leader() {
    for seed in 0..10 {
        let mut network = Network::new(plan(3, 0), seed);
        network.run(10_000);
        let (leader, epoch) = network.leader().unwrap();
        network.isolate((leader + 1) % 3);
        network.run(30_000);
        network.heal();
        network.run(10_000);
        assert_eq!((network.leader(), network.violation), (Some((leader, epoch)), None), "{seed}");
    }
}

#[test]
fn a_leader_that_is_cut_off_resigns_and_another_is_elected() {
    for seed in 0..10 {
        let mut network = Network::new(plan(3, 0), seed);
        network.run(10_000);
        let (leader, epoch) = network.leader().unwrap();
        network.isolate(leader);
        network.run(10_000);
        let (next, later) = network.leader().unwrap_or_else(|| panic!("{seed}: {}", network.describe()));
        assert!(next != leader && later > epoch, "{seed}");
        network.heal();
        network.run(10_000);
        assert_eq!((network.leader(), network.violation), (Some((next, later)), None), "{seed}");
    }
}

#[test]
fn observers_become_voters_one_after_another() {
    for seed in 0..10 {
        let mut network = Network::new(plan(1, 4), seed);
        network.run(40_000);
        network.quieten();
        network.run(5_000);
        assert_eq!((network.violation.as_deref(), network.elections()), (None, 1), "{seed}");
        assert!(network.is_settled(), "{seed}: {}", network.describe());
    }
}

#[test]
fn whatever_happens_the_quorum_keeps_what_it_promised() {
    for seed in 0..30 {
        for (voters, joining) in [(1, 0), (2, 0), (3, 0), (5, 0), (1, 2), (3, 2)] {
            let network = troubled(bad(voters, joining), seed);
            assert_eq!(network.violation, None, "seed {seed} of {voters} and {joining}");
        }
    }
}

#[test]
fn a_voter_with_another_disk_votes_no_more() {
    for seed in 0..20 {
        let mut network = Network::new(bad(3, 0), seed);
        network.run(10_000);
        network.wipe(usize::try_from(seed % 3).unwrap());
        network.run(50_000);
        assert_eq!(network.violation, None, "{seed}");
    }
}

/// Each switch breaks an invariant that the same worlds keep without it.
#[cfg(feature = "planted-bugs")]
mod planted {
    use super::*;

    /// The first seed that shows it must show it as `code`.
    fn shows(plan: &Plan, plant: Plant, code: &str) {
        let planted = Planted::default().with(plant);
        let shown = (0..400).find_map(|seed| {
            let mut network = Network::new(Plan { planted, ..plan.clone() }, seed);
            network.run(10_000);
            if plant == Plant::Raft39 {
                network.wipe(usize::try_from(seed % 3).unwrap());
            }
            network.run(50_000);
            network.violation
        });
        let shown = shown.unwrap_or_else(|| panic!("{plant} is not seen"));
        assert!(code.split(' ').any(|code| shown.contains(&format!(": {code} "))), "{plant}: {shown}");
    }

    #[test]
    fn raft_01_votes_are_not_durable() {
        shows(&Plan { save_ms: 400, trouble_ms: 100, ..bad(3, 0) }, Plant::Raft01, "M2 M1");
    }

    #[test]
    fn raft_02_the_vote_is_forgotten() {
        shows(&bad(3, 0), Plant::Raft02, "M2 M1");
    }

    #[test]
    fn raft_04_followers_say_more_than_is_durable() {
        shows(&bad(3, 0), Plant::Raft04, "M6 M5");
    }

    #[test]
    fn raft_09_voters_are_changed_before_the_epoch_is_committed() {
        shows(&Plan { loss: 300, ..bad(2, 3) }, Plant::Raft09, "M10");
    }

    #[test]
    fn raft_10_voters_are_changed_twice_at_once() {
        shows(&bad(1, 4), Plant::Raft10, "M10");
    }

    #[test]
    fn raft_13_old_answers_elect() {
        shows(&bad(3, 0), Plant::Raft13, "M1 M5 M9");
    }

    #[test]
    fn raft_15_votes_for_short_logs() {
        shows(&bad(3, 0), Plant::Raft15, "M5 M9");
    }

    #[test]
    fn raft_16_the_leader_counts_what_is_not_durable() {
        shows(&bad(3, 0), Plant::Raft16, "M6 M5");
    }

    #[test]
    fn raft_17_the_middle_is_not_the_middle() {
        shows(&bad(5, 0), Plant::Raft17, "M6 M5");
    }

    #[test]
    fn raft_39_a_new_disk_votes_for_the_old_one() {
        shows(&bad(3, 0), Plant::Raft39, "M2 M5 M9");
    }
}

#[test]
fn a_change_of_the_voters_that_the_log_does_not_keep_is_refused() {
    let mut raft = raft(birth());
    let save = raft.on_start(NOW).save.unwrap();
    let _: Outcome = raft.on_saved(save.id, NOW);
    let _: Outcome = raft.on_voters(NOW, Offset::ZERO, alone());
    let _: Outcome = raft.on_log(NOW, log(5, 5));
    let key = VoterKey { id: BrokerId(2), directory_id: Uuid(0xd2) };
    let fetch = Request::Fetch(FetchRequest {
        replica: Some(key),
        epoch: LeaderEpoch(1),
        offset: Offset(5),
        last_epoch: Some(LeaderEpoch(1)),
        high_watermark: None,
        max_wait: Duration::ZERO,
    });
    let mut epochs = Epochs::new();
    epochs.assign(LeaderEpoch(1), Offset::ZERO);
    let _: Outcome = raft.on_request(NOW, ticket(1), fetch, &epochs);
    let (_, voter) = alone().iter().next().map(|(key, voter)| (key, voter.clone())).unwrap();
    let asked = |raft: &mut Raft, number| {
        let add = AddVoterRequest { key, voter: voter.clone(), when_committed: true };
        let outcome = raft.on_request(NOW, ticket(number), Request::AddVoter(add), &epochs);
        assert!(outcome.change.is_some() && outcome.replies.is_empty(), "it waits");
    };
    let refused = |outcome: Outcome| -> Vec<_> {
        outcome.replies.into_iter().map(|(ticket, reply)| (ticket, reply.error)).collect()
    };
    // There is no room for it.
    asked(&mut raft, 2);
    assert_eq!(refused(raft.on_log(NOW, log(5, 5))), [(ticket(2), ErrorCode::KAFKA_STORAGE_ERROR)]);
    // There was, and then it was cut.
    asked(&mut raft, 3);
    assert_eq!(refused(raft.on_log(NOW, log(6, 5))), []);
    assert_eq!(refused(raft.on_log(NOW, log(5, 5))), [(ticket(3), ErrorCode::KAFKA_STORAGE_ERROR)]);
    // What comes in its place says nothing of it.
    assert_eq!(refused(raft.on_log(NOW, log(7, 7))), []);
}

/// This log begins at 11, behind a record of epoch 2; what it has there is of epoch 4.
#[test]
fn who_has_less_than_the_log_reads_a_snapshot_and_who_has_what_it_never_had_cuts_that_first() {
    let id = |end, epoch| SnapshotId { end: Offset(end), epoch: LeaderEpoch(epoch) };
    let mut raft = raft(birth());
    (raft.log.start, raft.log.end) = (Offset(11), Offset(20));
    let mut epochs = Epochs::new();
    epochs.assign(LeaderEpoch(4), Offset(11));
    let told = |raft: &Raft, offset, last_epoch: Option<i32>| {
        let fetch = FetchRequest {
            replica: None,
            epoch: LeaderEpoch(5),
            offset: Offset(offset),
            last_epoch: last_epoch.map(LeaderEpoch),
            high_watermark: None,
            max_wait: Duration::ZERO,
        };
        raft.parts_from(&fetch, &epochs)
    };
    let cut = |epoch, end| Some(Found::Diverging(EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end) }));
    raft.on_snapshots(BTreeMap::from([(id(11, 2), 9)]));
    let newest = Some(Found::Snapshot(id(11, 2)));
    assert_eq!((told(&raft, 0, None), told(&raft, 8, Some(1)), told(&raft, 9, Some(2))), (newest, newest, newest));
    assert_eq!((told(&raft, 11, Some(2)), told(&raft, 15, Some(4))), (None, None));
    // A leader of epoch 3 wrote these, and none of them was committed: this snapshot says less than their epoch.
    assert_eq!((told(&raft, 9, Some(3)), told(&raft, 11, Some(3)), told(&raft, 14, Some(3))), {
        (cut(2, 11), cut(2, 11), cut(2, 11))
    });
    raft.on_snapshots(BTreeMap::from([(id(11, 2), 9), (id(15, 4), 9)]));
    assert_eq!(told(&raft, 9, Some(3)), Some(Found::Snapshot(id(15, 4))));
}

/// A full disk takes back what was not written, and a truncation that its last leader had ordered ends late.
#[test]
fn who_loses_what_it_was_to_be_elected_for_does_not_lead() {
    let with_ten = || {
        let mut voters = VoterHistory::default();
        voters.add(Offset::ZERO, alone());
        raft(Start { voters, born: None, end_offset: Offset(10), last_epoch: Some(LeaderEpoch(1)), ..birth() })
    };
    let mut candidate = with_ten();
    let save = candidate.on_start(NOW).save.unwrap();
    let _: Outcome = candidate.on_log(NOW, log(9, 9));
    assert_eq!(candidate.role().to_string(), "Unattached");
    assert_eq!(candidate.on_saved(save.id, NOW).lead, None);

    let mut leader = with_ten();
    let save = leader.on_start(NOW).save.unwrap();
    assert!(leader.on_saved(save.id, NOW).lead.is_some());
    // What it wrote itself may go.
    let _: Outcome = leader.on_log(NOW, log(11, 10));
    let _: Outcome = leader.on_log(NOW, log(10, 10));
    assert!(leader.is_leader());
    let _: Outcome = leader.on_log(NOW, log(9, 9));
    assert_eq!(leader.role().to_string(), "Resigned");
}

#[test]
fn a_cut_that_is_not_done_yet_outlives_the_leader_that_ordered_it() {
    let mut raft = raft(birth());
    raft.log = log(100, 100);
    let mut epochs = Epochs::new();
    epochs.assign(LeaderEpoch(1), Offset(0));
    let mut out = Outcome::default();
    raft.become_follower(NOW.monotonic, LeaderEpoch(6), BrokerId(2), &mut out);
    raft.on_diverging(EpochEnd { epoch: LeaderEpoch(1), end_offset: Offset(90) }, &epochs, &mut out);
    assert_eq!(out.truncate, Some(Offset(90)));
    // Nobody is asked for a vote by what is to go.
    raft.become_prospective(NOW, &mut out);
    assert_eq!(raft.role().to_string(), "Unattached");
    let is_cutting =
        |raft: &Raft| matches!(&raft.role, QuorumState::Follower(it) if matches!(it.fetching, Fetching::Cutting(_)));
    raft.become_follower(NOW.monotonic, LeaderEpoch(7), BrokerId(3), &mut out);
    assert!(is_cutting(&raft), "nor is the next leader");
    let _: Outcome = raft.on_log(NOW, log(90, 90));
    assert!(!is_cutting(&raft) && raft.cutting.is_none());
}
