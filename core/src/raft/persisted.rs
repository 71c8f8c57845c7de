//! `quorum-state`: the epoch and the vote that a node must never forget. Kafka's JSON, version 1.
//!
//! It is replaced as a whole and durably before anything that rests on it is done (invariant M2, RAFT-01). A file
//! that cannot be read is not taken as absent: a forgotten vote can elect two leaders in one epoch.

use ottla_wire::Uuid;
use serde_json::Value;

use super::voter_set::VoterKey;
use crate::log::Corrupt;
use crate::types::{BrokerId, LeaderEpoch};

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedElection {
    /// The greatest epoch that the node took part in.
    pub epoch: LeaderEpoch,
    /// Who led it, if that was known.
    pub leader: Option<BrokerId>,
    /// For whom it voted in it.
    pub voted: Option<VoterKey>,
}

const NOBODY: i32 = -1;

impl SavedElection {
    /// The file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let leader = self.leader.map_or(NOBODY, |leader| leader.0);
        let voted = self.voted.unwrap_or(VoterKey { id: BrokerId(NOBODY), directory_id: Uuid::ZERO });
        let (epoch, id, directory_id) = (self.epoch, voted.id.0, voted.directory_id);
        let elected = format!(r#""leaderId":{leader},"leaderEpoch":{epoch}"#);
        let voted = format!(r#""votedId":{id},"votedDirectoryId":"{directory_id}""#);
        format!("{{{elected},{voted},\"data_version\":1}}").into_bytes()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is torn, or not of version 1. The node must then not take part in elections.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| Corrupt::new(error.to_string()))?;
        let number = |key: &str| {
            let number = value[key].as_i64().and_then(|number| i32::try_from(number).ok());
            number.ok_or_else(|| Corrupt::new(format!("it has no {key}")))
        };
        if number("data_version")? != 1 {
            return Err(Corrupt::new("its version is not 1"));
        }
        let epoch = LeaderEpoch(number("leaderEpoch")?);
        if epoch.0 < 0 {
            return Err(Corrupt::new("its epoch is negative"));
        }
        let directory_id = value["votedDirectoryId"].as_str().map(str::parse);
        let Some(Ok(directory_id)) = directory_id else {
            return Err(Corrupt::new("it has no votedDirectoryId"));
        };
        let somebody = |id: i32| (id >= 0).then_some(BrokerId(id));
        let voted = somebody(number("votedId")?).map(|id| VoterKey { id, directory_id });
        Ok(Self { epoch, leader: somebody(number("leaderId")?), voted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = r#""data_version":1}"#;

    #[test]
    fn the_format_is_kafkas() {
        let voted = Some(VoterKey { id: BrokerId(1), directory_id: Uuid(1) });
        let candidate = SavedElection { epoch: LeaderEpoch(7), leader: None, voted };
        let file = r#"{"leaderId":-1,"leaderEpoch":7,"votedId":1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAQ","#;
        assert_eq!(candidate.encode(), [file, VERSION].concat().into_bytes());
        let leader = SavedElection { epoch: LeaderEpoch(7), leader: Some(BrokerId(1)), voted: None };
        let file = r#"{"leaderId":1,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","#;
        assert_eq!(leader.encode(), [file, VERSION].concat().into_bytes());
        for election in [candidate, leader] {
            assert_eq!(SavedElection::parse(&election.encode()), Ok(election));
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = SavedElection { epoch: LeaderEpoch(7), leader: Some(BrokerId(1)), voted: None }.encode();
        for end in 0..whole.len() {
            assert!(SavedElection::parse(&whole[..end]).is_err(), "{end}");
        }
    }
}
