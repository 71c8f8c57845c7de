//! Administration: the cluster, topics, settings, groups.

use std::time::Duration;

use ottla_core::client::{
    AdminReply, AdminRequest, ClientConfig, ClientError, ClusterDescription, CommittedOffset, ConfigEntry,
    GroupDescription, ListedGroup, LogDescription, QuorumDescription, Resource,
};
use ottla_core::rpc::RpcError;
use ottla_core::types::{BrokerId, Offset, TopicPartition};
use ottla_wire::{ErrorCode, Uuid};
use tokio::sync::oneshot;

use super::driver;
use super::error::Error;
use super::jobs::{Handle, Job};

/// How long is asked why something failed.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Asks and changes things, each within `default.api.timeout.ms` and a moment to see why not. A clone uses the same
/// connections.
#[derive(Clone, Debug)]
pub struct Admin {
    handle: Handle,
}

/// A topic to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Box<str>,
    /// How many partitions; `None`: the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None`: the broker's default.
    pub replication_factor: Option<i16>,
    /// Settings of its own.
    pub configs: Vec<(Box<str>, Box<str>)>,
}

impl Admin {
    /// An administrator in the current runtime. It dials when it has something to ask.
    ///
    /// # Errors
    /// [`Error::Config`]
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        let config = ClientConfig { allow_auto_create_topics: false, ..config.clone() };
        let (handle, _) = driver::start(&config)?;
        Ok(Self { handle })
    }

    /// Asks anything that [`AdminRequest`] can say.
    ///
    /// # Errors
    /// Why it was not done; [`Error::is_definite`] says whether it may have been all the same.
    pub async fn request(&self, request: AdminRequest) -> Result<AdminReply, Error> {
        let (waiter, reply) = oneshot::channel();
        self.handle.submit(Job::Admin { request: Box::new(request), waiter })?;
        reply.await.map_err(|_| Error::Closed)?
    }

    /// The cluster and all its topics.
    ///
    /// # Errors
    /// As [`Admin::request`]; so for all that follow.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        self.describe(None).await
    }

    /// The cluster and these topics; each says itself if it is not there.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<ClusterDescription, Error> {
        self.describe(Some(names.iter().copied().map(Into::into).collect())).await
    }

    /// The metadata quorum.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, Error> {
        let AdminReply::Quorum(quorum) = self.request(AdminRequest::DescribeQuorum).await? else { unexpected() };
        Ok(*quorum)
    }

    /// Takes the vote of a node with this directory away; done when that is committed.
    pub async fn remove_voter(&self, voter: BrokerId, directory_id: Uuid) -> Result<(), Error> {
        self.change(AdminRequest::RemoveVoter { voter, directory_id }).await
    }

    /// Creates a topic. Its id is zero from brokers before Kafka 2.8.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Uuid, Error> {
        let NewTopic { name, partitions, replication_factor, configs } = topic;
        let (partitions, replication_factor) = (partitions.unwrap_or(-1), replication_factor.unwrap_or(-1));
        let AdminReply::TopicCreated { id } =
            self.request(AdminRequest::CreateTopic { name, partitions, replication_factor, configs }).await?
        else {
            unexpected()
        };
        Ok(id)
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.change(AdminRequest::DeleteTopic { name: name.into() }).await
    }

    /// Gives a topic more partitions, so that it has `count` in all.
    pub async fn create_partitions(&self, name: &str, count: i32) -> Result<(), Error> {
        self.change(AdminRequest::CreatePartitions { name: name.into(), count }).await
    }

    /// The settings of a topic or a broker.
    pub async fn describe_configs(&self, resource: Resource, name: &str) -> Result<Vec<ConfigEntry>, Error> {
        let AdminReply::Configs(entries) =
            self.request(AdminRequest::DescribeConfigs { resource, name: name.into() }).await?
        else {
            unexpected()
        };
        Ok(entries)
    }

    /// Sets keys, or, with `None`, sets them no more; all or none.
    pub async fn alter_configs(
        &self,
        resource: Resource,
        name: &str,
        entries: Vec<(Box<str>, Option<Box<str>>)>,
    ) -> Result<(), Error> {
        self.change(AdminRequest::AlterConfigs { resource, name: name.into(), entries }).await
    }

    /// Deletes what lies before an offset, or all. Says where the log starts now.
    pub async fn delete_records(&self, partition: TopicPartition, before: Option<Offset>) -> Result<Offset, Error> {
        let request = AdminRequest::DeleteRecords { partition: partition.clone(), before };
        let AdminReply::LogStart { offset } = self.request_leader(&partition, request).await? else { unexpected() };
        Ok(offset)
    }

    /// Where a partition starts.
    pub async fn start_offset(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        const START: i64 = -2;
        self.offset(partition, START).await.map(Option::unwrap_or_default)
    }

    /// Where a partition ends: the offset of the next record.
    pub async fn end_offset(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        const END: i64 = -1;
        self.offset(partition, END).await.map(Option::unwrap_or_default)
    }

    /// The first record as young as this; `None` if none is.
    pub async fn offset_at(&self, partition: &TopicPartition, ms_since_1970: i64) -> Result<Option<Offset>, Error> {
        self.offset(partition, ms_since_1970.max(0)).await
    }

    /// The groups of the whole cluster, by name.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        let mut groups = Vec::new();
        for broker in self.describe_topics(&[]).await?.brokers {
            let AdminReply::Groups(listed) = self.request(AdminRequest::ListGroups { broker: broker.id }).await? else {
                unexpected()
            };
            groups.extend(listed);
        }
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// A topic's partitions as they lie on a broker.
    pub async fn describe_logs(
        &self,
        broker: BrokerId,
        topic: &str,
        partitions: Vec<i32>,
    ) -> Result<Vec<LogDescription>, Error> {
        let request = AdminRequest::DescribeLogs { broker, topic: topic.into(), partitions };
        let AdminReply::Logs(logs) = self.request(request).await? else { unexpected() };
        Ok(logs)
    }

    /// A group and its members, of either protocol.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        // The coordinator knows which it is; who does not know the newer protocol has only the other.
        let asked = |kip_848| self.request(AdminRequest::DescribeGroup { group: group.into(), kip_848 });
        let reply = match asked(true).await {
            Err(error) if is_other_kind(&error) => asked(false).await?,
            reply => reply?,
        };
        let AdminReply::Group(group) = reply else { unexpected() };
        Ok(*group)
    }

    /// What a group has committed.
    pub async fn committed_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, Error> {
        let AdminReply::Offsets(offsets) = self.request(AdminRequest::FetchOffsets { group: group.into() }).await?
        else {
            unexpected()
        };
        Ok(offsets)
    }

    /// Sets a group's offsets from outside; it has to be without members.
    pub async fn commit_offsets(&self, group: &str, offsets: Vec<(TopicPartition, Offset)>) -> Result<(), Error> {
        self.change(AdminRequest::CommitOffsets { group: group.into(), offsets }).await
    }

    /// Deletes a group that has no members, with its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.change(AdminRequest::DeleteGroup { group: group.into() }).await
    }

    async fn describe(&self, topics: Option<Vec<Box<str>>>) -> Result<ClusterDescription, Error> {
        let AdminReply::Cluster(cluster) = self.request(AdminRequest::Describe { topics }).await? else { unexpected() };
        Ok(*cluster)
    }

    async fn offset(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<Offset>, Error> {
        let request = AdminRequest::ListOffset { partition: partition.clone(), timestamp };
        let AdminReply::Offset { offset, .. } = self.request_leader(partition, request).await? else { unexpected() };
        Ok(Some(offset).filter(|offset| offset.0 >= 0))
    }

    /// Asks the leader of a partition. Who has waited for it in vain is told so if there is none, or no such partition.
    async fn request_leader(&self, partition: &TopicPartition, request: AdminRequest) -> Result<AdminReply, Error> {
        let reply = self.request(request).await;
        // It was never sent.
        let Err(Error::Failed { error: ClientError::Rpc(RpcError::TimedOut), definite: true, .. }) = reply else {
            return reply;
        };
        let described = tokio::time::timeout(A_MOMENT, self.describe_topics(&[&partition.topic])).await;
        let Ok(Ok(cluster)) = described else { return reply };
        let Some(topic) = cluster.topics.first() else { return reply };
        let failed = |error| Err(Error::Failed { error, definite: true, trouble: None });
        match topic.partitions.iter().find(|it| it.index == partition.partition) {
            Some(found) if found.leader.is_some() => reply,
            Some(_) => Err(Error::NoLeader(partition.clone())),
            None => failed(topic.error.map_or(ClientError::NoPartition(partition.partition), ClientError::Broker)),
        }
    }

    async fn change(&self, request: AdminRequest) -> Result<(), Error> {
        self.request(request).await.map(|_| ())
    }
}

/// Whether a group may be one of the classic protocol.
fn is_other_kind(error: &Error) -> bool {
    let Error::Failed { error, .. } = error else { return false };
    matches!(error, ClientError::Rpc(RpcError::UnsupportedVersion(_)))
        || matches!(error.code(), Some(ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION))
}

fn unexpected() -> ! {
    unreachable!("the machine answers each request with its own reply")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_core::client::{PartitionDescription, TopicDescription};
    use ottla_core::types::LeaderEpoch;
    use tokio::sync::mpsc;

    use super::*;

    /// What an administrator is told who waits for the leader of the first partition, of a topic that is like this.
    async fn waited_in_vain(topic: TopicDescription) -> Error {
        let (jobs, mut asked) = mpsc::unbounded_channel();
        let admin = Admin { handle: Handle { jobs, trouble: Arc::default() } };
        tokio::spawn(async move {
            while let Some(Job::Admin { request, waiter }) = asked.recv().await {
                let answer = if matches!(*request, AdminRequest::Describe { .. }) {
                    let (brokers, topics) = (Vec::new(), vec![topic.clone()]);
                    Ok(AdminReply::Cluster(Box::new(ClusterDescription {
                        cluster_id: None,
                        controller: None,
                        brokers,
                        topics,
                    })))
                } else {
                    Err(Error::Failed { error: ClientError::Rpc(RpcError::TimedOut), definite: true, trouble: None })
                };
                waiter.send(answer).expect("it waits");
            }
        });
        admin.end_offset(&TopicPartition::new("t", 0)).await.expect_err("it waited in vain")
    }

    #[tokio::test]
    async fn who_waits_for_a_leader_in_vain_is_told_why() {
        let partition = |leader| PartitionDescription {
            index: 0,
            leader,
            leader_epoch: LeaderEpoch(1),
            replicas: vec![BrokerId(1)],
            in_sync: vec![BrokerId(1)],
            offline: vec![],
        };
        let topic = |error, partitions| TopicDescription {
            name: "t".into(),
            id: Uuid::ZERO,
            internal: false,
            error,
            partitions,
        };
        let told = async |topic| waited_in_vain(topic).await.to_string();
        let leaderless = told(topic(None, vec![partition(None)])).await;
        assert_eq!(leaderless, "t-0 has no leader; a broker that has all of it must come back");
        assert_eq!(told(topic(None, vec![partition(Some(BrokerId(1)))])).await, "no answer came in time");
        assert_eq!(told(topic(None, vec![])).await, "the topic has no partition 0");
        let gone = told(topic(Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), vec![])).await;
        assert!(gone.starts_with("UNKNOWN_TOPIC_OR_PARTITION"), "{gone}");
    }
}
