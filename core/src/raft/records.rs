//! The control records of the metadata log: who leads, who votes (KIP-595, KIP-853).

use std::collections::BTreeMap;

use ottla_wire::control::{
    Endpoint, KRaftVersionFeature, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    Voter as WireVoter, VotersRecord, VotersRecordVoter,
};
use ottla_wire::{Message, Reader, Writer};

use super::KRAFT_VERSION;
use super::voter_set::{Voter, VoterEndpoint, VoterKey, VoterSet};
use crate::clock::WallTime;
use crate::log::Corrupt;
use crate::record::{ControlType, RecordBatch, control_batch};
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// Version 1 names the voters' directories, but Kafka 4.3's tools read every LeaderChange as version 0.
const LEADER_CHANGE_VERSION: i16 = 0;

/// What a control record of the metadata log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// A leader began its epoch.
    LeaderChange { leader: BrokerId },
    /// The level of `kraft.version`.
    KRaftVersion(i16),
    /// The voters from here on; they count as soon as they are appended.
    Voters(VoterSet),
    /// A snapshot begins; the timestamp of the last batch of the log that is in it.
    SnapshotHeader { last_timestamp: i64 },
    /// A snapshot is complete.
    SnapshotFooter,
    /// One that says nothing to the quorum.
    Other,
}

/// The first batch of a leader's epoch. `births` is set if the log does not name the voters
/// yet. `now` is the time of the election.
pub(super) fn epoch_start(
    leader: BrokerId,
    epoch: LeaderEpoch,
    voters: &VoterSet,
    granting: impl Iterator<Item = VoterKey>,
    births: bool,
    now: WallTime,
) -> Vec<u8> {
    let message = LeaderChangeMessage {
        version: LEADER_CHANGE_VERSION,
        leader_id: leader.0,
        voters: voters.iter().map(|(key, _)| wire_voter(key)).collect(),
        granting_voters: granting.map(wire_voter).collect(),
    };
    let leader_change = value(&message, LEADER_CHANGE_VERSION);
    let kraft_version = value(&KRaftVersionRecord { version: 0, kraft_version: KRAFT_VERSION }, 0);
    let voters = value(&voters_record(voters), 0);
    let records: [(ControlType, &[u8]); 3] = [
        (ControlType::LeaderChange, &leader_change),
        (ControlType::KRaftVersion, &kraft_version),
        (ControlType::KRaftVoters, &voters),
    ];
    let count = if births { 3 } else { 1 };
    control_batch(Offset::ZERO, epoch, now.0, &records[..count])
}

/// A batch that names other voters, of a leader of `epoch`.
pub(super) fn voters(epoch: LeaderEpoch, voters: &VoterSet, now: WallTime) -> Vec<u8> {
    let voters = value(&voters_record(voters), 0);
    control_batch(Offset::ZERO, epoch, now.0, &[(ControlType::KRaftVoters, &voters)])
}

/// The first batch of a snapshot, of a log whose last batch in it has this epoch and time, as Kafka writes it: the
/// header and, where the log names voters, they (KIP-630, KIP-853).
#[must_use]
pub fn snapshot_header(epoch: LeaderEpoch, last_timestamp: i64, voters: Option<&VoterSet>) -> Vec<u8> {
    let header = value(&SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_timestamp }, 0);
    let kraft_version = value(&KRaftVersionRecord { version: 0, kraft_version: KRAFT_VERSION }, 0);
    let named = voters.map(|voters| value(&voters_record(voters), 0)).unwrap_or_default();
    let records: [(ControlType, &[u8]); 3] = [
        (ControlType::SnapshotHeader, &header),
        (ControlType::KRaftVersion, &kraft_version),
        (ControlType::KRaftVoters, &named),
    ];
    let count = if voters.is_some() { 3 } else { 1 };
    control_batch(Offset::ZERO, epoch, last_timestamp, &records[..count])
}

/// The last batch of a snapshot.
#[must_use]
pub fn snapshot_footer(base_offset: Offset, epoch: LeaderEpoch, last_timestamp: i64) -> Vec<u8> {
    let footer = value(&SnapshotFooterRecord { version: 0 }, 0);
    control_batch(base_offset, epoch, last_timestamp, &[(ControlType::SnapshotFooter, &footer)])
}

/// The control records of a batch; none if it is not a control batch.
///
/// # Errors
/// If one that concerns the quorum cannot be read.
pub fn control_records(batch: &RecordBatch<'_>) -> Result<Vec<ControlRecord>, Corrupt> {
    if !batch.header().attributes.is_control() {
        return Ok(Vec::new());
    }
    let mut scratch = Vec::new();
    // Control batches are never compressed, so nothing is inflated.
    let records = batch.records(&mut scratch, 0).map_err(|problem| Corrupt::new(problem.to_string()))?;
    let mut found = Vec::new();
    for record in records {
        let record = record.map_err(|problem| Corrupt::new(problem.to_string()))?;
        let kind = ControlType::of(&record).ok_or_else(|| Corrupt::new("a control record without a type"))?;
        found.push(control_record(kind, record.value.unwrap_or_default())?);
    }
    Ok(found)
}

fn control_record(kind: ControlType, value: &[u8]) -> Result<ControlRecord, Corrupt> {
    let unreadable = |error: ottla_wire::DecodeError| Corrupt::new(format!("a control record: {error}"));
    // The first field repeats the version. Newer versions only add fields.
    let version = value.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    let mut reader = Reader::of_record(value);
    match kind {
        ControlType::LeaderChange => {
            let newest = *LeaderChangeMessage::VERSIONS.end();
            let message = LeaderChangeMessage::decode(&mut reader, version.min(newest)).map_err(unreadable)?;
            Ok(ControlRecord::LeaderChange { leader: BrokerId(message.leader_id) })
        }
        ControlType::KRaftVersion => {
            let message = KRaftVersionRecord::decode(&mut reader, 0).map_err(unreadable)?;
            Ok(ControlRecord::KRaftVersion(message.kraft_version))
        }
        ControlType::KRaftVoters => {
            let message = VotersRecord::decode(&mut reader, 0).map_err(unreadable)?;
            let voters = VoterSet::new(message.voters.iter().map(voter).collect::<BTreeMap<_, _>>());
            voters.map(ControlRecord::Voters).ok_or_else(|| Corrupt::new("a quorum without voters"))
        }
        ControlType::SnapshotHeader => {
            let message = SnapshotHeaderRecord::decode(&mut reader, 0).map_err(unreadable)?;
            Ok(ControlRecord::SnapshotHeader { last_timestamp: message.last_contained_log_timestamp })
        }
        ControlType::SnapshotFooter => Ok(ControlRecord::SnapshotFooter),
        ControlType::Abort | ControlType::Commit | ControlType::Unknown(_) => Ok(ControlRecord::Other),
    }
}

fn value<'a>(message: &impl Message<'a>, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.into_bytes()
}

const fn wire_voter(key: VoterKey) -> WireVoter {
    WireVoter { voter_id: key.id.0, voter_directory_id: key.directory_id }
}

fn voters_record(voters: &VoterSet) -> VotersRecord<'_> {
    VotersRecord {
        version: 0,
        voters: voters
            .iter()
            .map(|(key, voter)| VotersRecordVoter {
                voter_id: key.id.0,
                voter_directory_id: key.directory_id,
                endpoints: voter.endpoints.iter().map(endpoint).collect(),
                kraft_version_feature: KRaftVersionFeature {
                    min_supported_version: 0,
                    max_supported_version: voter.max_kraft_version,
                },
            })
            .collect(),
    }
}

fn endpoint(endpoint: &VoterEndpoint) -> Endpoint<'_> {
    Endpoint { name: &endpoint.name, host: &endpoint.host, port: endpoint.port }
}

fn voter(voter: &VotersRecordVoter<'_>) -> (VoterKey, Voter) {
    let endpoints = voter.endpoints.iter().map(|endpoint| VoterEndpoint {
        name: endpoint.name.to_owned(),
        host: endpoint.host.to_owned(),
        port: endpoint.port,
    });
    let key = VoterKey { id: BrokerId(voter.voter_id), directory_id: voter.voter_directory_id };
    let max_kraft_version = voter.kraft_version_feature.max_supported_version;
    (key, Voter { endpoints: endpoints.collect(), max_kraft_version })
}
