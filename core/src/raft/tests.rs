//! A quorum of one, step by step; what counts in a quorum of more; each planted bug showing itself.

use super::*;
use crate::clock::WallTime;
#[cfg(feature = "planted-bugs")]
use crate::planted::Plant;
use crate::record::RecordBatch;
use crate::types::BrokerId;
use ottla_wire::Uuid;

const NOW: WallTime = WallTime(5000);
const NODE: VoterKey = VoterKey { id: BrokerId(1), directory_id: Uuid(0xd1) };

fn alone() -> VoterSet {
    let endpoints = vec![VoterEndpoint { name: "CONTROLLER".into(), host: "127.0.0.1".into(), port: 9093 }];
    VoterSet::single(NODE, Voter { endpoints, max_kraft_version: KRAFT_VERSION })
}

fn birth() -> Start {
    Start { node: NODE, saved: None, voters: Some(alone()), end_offset: Offset::ZERO, last_epoch: None }
}

fn raft(start: Start) -> Raft {
    Raft::new(start, Planted::default()).unwrap()
}

fn records(batch: &[u8]) -> Vec<ControlRecord> {
    let batch = RecordBatch::first_of(batch).unwrap();
    batch.check_crc().unwrap();
    control_records(&batch).unwrap()
}

#[test]
fn a_lone_voter_leads_once_its_vote_is_durable() {
    let mut raft = raft(birth());
    let Outcome { save: Some(save), lead: None, high_watermark: None } = raft.on_start(NOW) else {
        panic!("it saves its vote, and nothing else")
    };
    assert_eq!(raft.role().to_string(), "Candidate epoch=1");
    let saved = SavedElection::parse(&save.bytes).unwrap();
    assert_eq!(saved, SavedElection { epoch: LeaderEpoch(1), leader: None, voted: Some(NODE) });
    // Somebody else's save changes nothing.
    assert_eq!(raft.on_saved(SaveId(99), NOW), Outcome::default());

    let lead = raft.on_saved(save.id, NOW).lead.unwrap();
    assert_eq!((lead.epoch, raft.is_leader()), (LeaderEpoch(1), true));
    assert_eq!(RecordBatch::first_of(&lead.batch).unwrap().header().max_timestamp, NOW.0);
    let expected = [
        ControlRecord::LeaderChange { leader: BrokerId(1) },
        ControlRecord::KRaftVersion(1),
        ControlRecord::Voters(alone()),
    ];
    assert_eq!(records(&lead.batch), expected);

    // Appended is not committed; durable is.
    assert_eq!(raft.on_log(Offset(3), Offset(0)).high_watermark, None);
    assert_eq!(raft.on_log(Offset(5), Offset(3)).high_watermark, Some(Offset(3)));
    assert_eq!(raft.on_log(Offset(5), Offset(3)).high_watermark, None);
    assert_eq!(raft.on_log(Offset(5), Offset(5)).high_watermark, Some(Offset(5)));
}

#[test]
fn a_restart_takes_a_new_epoch_above_the_file_and_the_log() {
    for (saved, last_epoch, expected) in [(Some(4), 3, 5), (Some(4), 6, 7), (None, 6, 7), (Some(4), 4, 5)] {
        let saved = saved.map(|epoch| SavedElection { epoch: LeaderEpoch(epoch), leader: None, voted: Some(NODE) });
        let start = Start { saved, end_offset: Offset(10), last_epoch: Some(LeaderEpoch(last_epoch)), ..birth() };
        let mut raft = raft(start);
        let save = raft.on_start(NOW).save.unwrap();
        let lead = raft.on_saved(save.id, NOW).lead.unwrap();
        assert_eq!(lead.epoch, LeaderEpoch(expected));
        // The log names the voters already.
        assert_eq!(records(&lead.batch), [ControlRecord::LeaderChange { leader: BrokerId(1) }]);
        // What earlier epochs left is committed together with the first batch of this one, not before.
        assert_eq!(raft.on_log(Offset(11), Offset(10)).high_watermark, None);
        assert_eq!(raft.on_log(Offset(11), Offset(11)).high_watermark, Some(Offset(11)));
    }
}

#[test]
fn who_is_no_voter_stands_for_nothing() {
    let replaced = VoterKey { directory_id: Uuid(0xd2), ..NODE };
    let mut wiped = raft(Start { node: replaced, ..birth() });
    assert_eq!(wiped.on_start(NOW), Outcome::default());
    let mut unborn = raft(Start { voters: None, ..birth() });
    assert_eq!(unborn.on_start(NOW), Outcome::default());
    assert_eq!(unborn.role().to_string(), "Unattached epoch=0");
}

#[test]
fn a_quorum_of_several_is_refused() {
    let other = VoterKey { id: BrokerId(2), ..NODE };
    let voters = VoterSet::new([NODE, other].into_iter().map(|key| (key, Voter::default())).collect());
    let refused = Raft::new(Start { voters, ..birth() }, Planted::default());
    assert_eq!(refused.unwrap_err(), StartError::SeveralVoters(2));
    let last = Raft::new(Start { last_epoch: Some(LeaderEpoch(i32::MAX)), ..birth() }, Planted::default());
    assert_eq!(last.unwrap_err(), StartError::EpochsExhausted);
}

#[test]
fn who_resigned_commits_nothing_and_is_not_elected() {
    let mut raft = raft(birth());
    let save = raft.on_start(NOW).save.unwrap();
    raft.become_resigned();
    assert_eq!(raft.on_saved(save.id, NOW), Outcome::default());
    assert_eq!(raft.on_log(Offset(3), Offset(3)), Outcome::default());
    assert_eq!(raft.on_start(NOW), Outcome::default());
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

/// Each switch makes the node break what the same steps keep without it.
#[cfg(feature = "planted-bugs")]
mod planted {
    use super::*;

    #[test]
    fn raft_01_it_leads_before_its_vote_is_durable() {
        let mut raft = Raft::new(birth(), Planted::default().with(Plant::Raft01)).unwrap();
        let outcome = raft.on_start(NOW);
        assert!(outcome.save.is_some() && outcome.lead.is_some());
    }
}
