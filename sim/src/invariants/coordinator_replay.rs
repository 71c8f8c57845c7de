//! S8 LiveEqualsReplay, of the group coordinator: what a shard takes for committed is what the records of its log say,
//! each the last of its key; and who is in a stable group is who its record says. Source: KAFKA-5600, KAFKA-10284; the
//! coordinator pattern's own claim.

use ottla_core::coordinator::{Record, ShardView, StableGroup};
use ottla_wire::Writer;
use ottla_wire::group::{GroupMetadataKey, GroupRecord};

use super::{Fact, Verdict};
use crate::group_log::{Said, name};

/// A shard, and what its log says up to the high watermark.
#[derive(Clone, Copy, Debug)]
pub struct Coordinated<'a> {
    /// What the machine knows.
    pub shard: &'a ShardView,
    /// What the log says.
    pub said: &'a Said,
}

pub(super) fn check(fact: &Fact<'_>) -> Verdict {
    let Fact::Coordinated { log, shard: Coordinated { shard, said } } = fact else { return Ok(()) };
    let judged = committed(&shard.committed, said);
    let judged = judged.and_then(|()| shard.stable.iter().try_for_each(|group| stable(group, said)));
    judged.map_err(|what| format!("{log}: {what}"))
}

/// The same keys, with the same values.
fn committed(records: &[Record], said: &Said) -> Verdict {
    let mut live = Said::new();
    live.extend(records.iter().filter_map(|record| Some((record.key.clone(), record.value.clone()?))));
    for (key, value) in said {
        match live.remove(key) {
            None => return Err(format!("the log says of {} what nobody knows any more", name(key))),
            Some(known) if known != *value => {
                return Err(format!("the log says of {} {value:02x?}, and known is {known:02x?}", name(key)));
            }
            Some(_) => {}
        }
    }
    match live.first_key_value() {
        Some((key, _)) => Err(format!("{} is known, and the log does not say it", name(key))),
        None => Ok(()),
    }
}

/// The generation and the members of its record.
fn stable(group: &StableGroup, said: &Said) -> Verdict {
    let mut key = Writer::new();
    GroupRecord::GroupMetadata(GroupMetadataKey { group: &group.group }, None).encode_key(&mut key);
    let key = key.into_bytes();
    let value = said.get(&key).map(Vec::as_slice);
    let Ok(GroupRecord::GroupMetadata(_, Some(written))) = GroupRecord::decode(&key, value) else {
        return Err(format!("{} is stable, and the log does not know it", group.group));
    };
    let mut members: Vec<&str> = written.members.iter().map(|member| member.member_id).collect();
    members.sort_unstable();
    let known: Vec<&str> = group.members.iter().map(|id| &**id).collect();
    if written.generation == group.generation && members == known {
        return Ok(());
    }
    let (name, generation) = (&group.group, group.generation);
    Err(format!(
        "{name} has {known:?} in generation {generation}, and the log says {members:?} in {}",
        written.generation
    ))
}

#[cfg(test)]
mod tests {
    use ottla_wire::group::{GroupMetadataValue, MemberMetadata};

    use super::super::tests::log;
    use super::*;

    fn record(key: u8, value: Option<u8>) -> Record {
        Record { key: vec![0, 1, key], value: value.map(|value| vec![value]) }
    }

    fn verdict(shard: &ShardView, said: &Said) -> Verdict {
        check(&Fact::Coordinated { log: &log(), shard: Coordinated { shard, said } })
    }

    #[test]
    fn what_is_committed_is_what_the_log_says_last() {
        let said = Said::from([(vec![0, 1, 7], vec![1]), (vec![0, 1, 8], vec![2])]);
        let shard = |records: &[Record]| ShardView { committed: records.to_vec(), stable: Vec::new() };
        assert_eq!(verdict(&shard(&[record(8, Some(2)), record(7, Some(1))]), &said), Ok(()));
        assert!(verdict(&shard(&[record(8, Some(2))]), &said).is_err());
        assert!(verdict(&shard(&[record(8, Some(2)), record(7, Some(3))]), &said).is_err());
        assert!(verdict(&shard(&[record(8, Some(2)), record(7, Some(1)), record(9, Some(1))]), &said).is_err());
    }

    #[test]
    fn who_is_in_a_stable_group_is_who_its_record_says() {
        let member = |member_id| MemberMetadata { member_id, ..MemberMetadata::default() };
        let value = GroupMetadataValue {
            generation: 3,
            members: vec![member("b"), member("a")],
            ..GroupMetadataValue::default()
        };
        let written = GroupRecord::GroupMetadata(GroupMetadataKey { group: "g" }, Some(value));
        let (mut key, mut bytes) = (Writer::new(), Writer::new());
        written.encode_key(&mut key);
        written.encode_value(&mut bytes, 3);
        let (key, bytes) = (key.into_bytes(), bytes.into_bytes());
        let said = Said::from([(key.clone(), bytes.clone())]);
        let shard = |generation, members: &[&str]| ShardView {
            committed: vec![Record { key: key.clone(), value: Some(bytes.clone()) }],
            stable: vec![StableGroup {
                group: "g".into(),
                generation,
                members: members.iter().map(|id| (*id).into()).collect(),
            }],
        };
        assert_eq!(verdict(&shard(3, &["a", "b"]), &said), Ok(()));
        assert!(verdict(&shard(4, &["a", "b"]), &said).is_err());
        assert!(verdict(&shard(3, &["a", "c"]), &said).is_err());
    }
}
