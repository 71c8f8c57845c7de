//! Text scripts: what clients ask of a shard, what is written, and who is told what.
//!
//! Regenerate with `UPDATE_GOLDENFILES=1 cargo test -p ottla-core --lib coordinator`, then read the diff.

use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_wire::consumer_protocol::{
    AssignedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription, OwnedPartitions,
};
use ottla_wire::{Uuid, Writer};

use super::super::assignor::Partitions;
use super::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The stories, in core/tests/scripts/groups.
const SCRIPTS: [&str; 25] = [
    "a_first_generation",
    "b_sessions",
    "c_coordinator_asleep",
    "d_static_members",
    "e_static_in_a_rebalance",
    "f_protocols",
    "g_bounds",
    "h_delay",
    "i_offsets",
    "j_expiry",
    "k_coordinator_change",
    "l_a_log_that_lags",
    "m_leaving",
    "n_consumers",
    "o_fencing",
    "p_static_consumers",
    "q_patterns",
    "r_topics",
    "s_consumer_timeouts",
    "t_consumer_offsets",
    "u_consumer_bounds",
    "v_consumers_and_the_log",
    "w_upgrade",
    "x_downgrade",
    "y_against_the_policy",
];

/// What member ids end with, but for the number of the request that they were given for.
const ZEROS: &str = "-00000000-0000-0000-0000-0000000000";

struct Script {
    world: World,
    log: String,
}

struct Line(Command);

impl TryFrom<&Command> for Line {
    type Error = Box<dyn Error>;
    fn try_from(command: &Command) -> Outcome<Self> {
        Ok(Self(command.clone()))
    }
}

/// `c-1` is written for the id that `c` got in the first request.
fn id(short: &str) -> String {
    match short.rsplit_once('-') {
        Some((name, number)) => match number.parse::<u64>() {
            Ok(number) => format!("{name}{ZEROS}{number:02x}"),
            Err(_) => short.to_owned(),
        },
        None => short.to_owned(),
    }
}

fn shorten(text: &str) -> String {
    let mut parts = text.split(ZEROS);
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        write!(short, "-{}{rest}", u64::from_str_radix(digits, 16).unwrap()).unwrap();
    }
    short
}

fn number<T: std::str::FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    name: &str,
    default: T,
) -> Outcome<T> {
    Ok(args.take_key(name).map(str::parse).transpose()?.unwrap_or(default))
}

/// `t:1=5` is topic, partition and offset.
fn place(text: &str) -> Outcome<(String, i32, i64)> {
    let (topic, rest) = text.split_once(':').ok_or("topic:partition is expected")?;
    let (partition, offset) = rest.split_once('=').unwrap_or((rest, "-1"));
    Ok((topic.to_owned(), partition.parse()?, offset.parse()?))
}

fn places(args: &mut ArgumentConsumer<'_>) -> Outcome<Vec<(String, i32, i64)>> {
    rest(args).into_iter().map(place).collect()
}

/// All arguments that have no name.
fn rest<'a>(args: &mut ArgumentConsumer<'a>) -> Vec<&'a str> {
    std::iter::from_fn(|| args.next_pos()).collect()
}

fn millis(args: &mut ArgumentConsumer<'_>) -> Outcome<Duration> {
    Ok(Duration::from_millis(args.next_pos().ok_or("how many ms?")?.parse()?))
}

/// What a consumer says that reads these topics, `t+u`, or, if it says what it owns, `t+u/t.0.1`, since which
/// generation, `t/t.0.1@3`.
fn subscription(topics: &str) -> Vec<u8> {
    let (topics, owned) = topics.split_once('/').map_or((topics, None), |(topics, owned)| (topics, Some(owned)));
    let topics = topics.split('+').filter(|topic| !topic.is_empty()).collect();
    let (owned, since) = match owned.and_then(|owned| owned.split_once('@')) {
        Some((owned, since)) => (Some(owned), Some(since.parse().unwrap())),
        None => (owned, None),
    };
    let owned_partitions = owned.filter(|it| !it.is_empty()).map(dotted);
    let owned_partitions = owned_partitions.map(|(topic, partitions)| OwnedPartitions { topic, partitions });
    let subscription = ConsumerProtocolSubscription {
        topics,
        owned_partitions: owned_partitions.into_iter().collect(),
        generation_id: since.unwrap_or(-1),
        ..Default::default()
    };
    let mut out = Writer::new();
    subscription.encode_versioned(&mut out, i16::from(owned.is_some()) + i16::from(since.is_some()));
    out.into_bytes()
}

/// `t.0.1` is a topic and its partitions.
fn dotted(text: &str) -> (&str, Vec<i32>) {
    let mut parts = text.split('.');
    (parts.next().unwrap_or_default(), parts.map(|it| it.parse().unwrap()).collect())
}

/// An assignment: any text, or `=t.0.1` as consumers write it.
fn assignment(text: &str) -> Vec<u8> {
    let Some(places) = text.strip_prefix('=') else { return text.as_bytes().to_vec() };
    let (topic, partitions) = dotted(places);
    let assigned_partitions = vec![AssignedPartitions { topic, partitions }];
    let mut out = Writer::new();
    ConsumerProtocolAssignment { assigned_partitions, user_data: None }.encode_versioned(&mut out, 1);
    out.into_bytes()
}

impl Script {
    fn act(&mut self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "settings" => {
                let all: Vec<(&str, &str)> = std::iter::from_fn(|| args.next_key()).collect();
                self.world = World::new(settings(&all));
            }
            "join" => self.join(&mut args)?,
            "sync" => self.sync(&mut args)?,
            "heartbeat" => self.heartbeat(&mut args)?,
            "leave" => self.leave(&mut args)?,
            "consumer" => self.consumer(&mut args)?,
            "consumers" => {
                let group = args.next_pos().ok_or("which group?")?.to_owned();
                self.ask(&Request::ConsumerDescribe { group: &group });
            }
            "commit" => self.commit(&mut args)?,
            "fetch" => self.fetch(&mut args)?,
            "describe" => {
                let group = args.next_pos().ok_or("which group?")?.to_owned();
                self.ask(&Request::Describe { group: &group });
            }
            "list" => {
                let states = args.take_key("states").into_iter().flat_map(|it| it.split('+')).collect();
                let types = args.take_key("types").into_iter().flat_map(|it| it.split('+')).collect();
                self.ask(&Request::List(ListRequest { states, types }));
            }
            "delete" => {
                self.ask(&Request::Delete { groups: rest(&mut args) });
            }
            "delete_offsets" => self.delete_offsets(&mut args)?,
            other => self.event(other, &mut args)?,
        }
        args.reject_next()?;
        Ok(())
    }

    /// What is not a request.
    fn event(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let world = &mut self.world;
        match name {
            "pass" => {
                let by = millis(args)?;
                world.pass(by);
            }
            "sleep" => {
                let by = millis(args)?;
                world.advance(world.now.monotonic + by);
            }
            "time_out" => world.time_out(),
            "topic" => {
                let name = args.next_pos().ok_or("which topic?")?;
                let partitions = args.next_pos().map(str::parse).transpose()?;
                world.set_topic(name, partitions);
            }
            "wall" => world.now.wall.0 += args.next_pos().ok_or("how many ms?")?.parse::<i64>()?,
            "hold" => world.held = true,
            "release" => {
                world.held = false;
                world.commit(world.log.len());
            }
            "fail" => {
                let name = args.next_pos().ok_or("with which code?")?;
                world.fails = ErrorCode::ALL.iter().copied().find(|code| code.name() == Some(name));
            }
            "reload" => world.reload(),
            "deleted" => {
                let name = args.next_pos().ok_or("which topic?")?;
                world.forget(world.shard.offsets_of(&[name.into()]));
            }
            "deadline" => {
                let at = world.shard.next_deadline().map(|at| at.since(world.now.monotonic).as_millis());
                writeln!(self.log, "in {at:?} ms")?;
            }
            other => return Err(format!("no command {other}").into()),
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request<'_>) {
        let ticket = self.world.ask(request);
        if self.world.open.contains(&ticket) {
            writeln!(self.log, "#{} waits", ticket.frame).unwrap();
        }
    }

    fn join(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let client = args.take_key("client").unwrap_or("c").to_owned();
        let member = args.take_key("member").map(id).unwrap_or_default();
        let instance = args.take_key("instance").map(str::to_owned);
        let kind = args.take_key("type").unwrap_or("consumer").to_owned();
        let protocols = args.take_key("protocols").unwrap_or("range:t").to_owned();
        let protocols: Vec<(String, Vec<u8>)> = protocols
            .split(',')
            .filter(|it| !it.is_empty())
            .map(|it| it.split_once(':').unwrap_or((it, "")))
            .map(|(name, topics)| (name.to_owned(), subscription(topics)))
            .collect();
        let version = number(args, "v", 9)?;
        let request = JoinRequest {
            group: &group,
            member_id: &member,
            instance_id: instance.as_deref(),
            uuid: Uuid(u128::from(self.world.asked + 1)),
            client_id: &client,
            client_host: "/h",
            protocol_type: &kind,
            protocols: protocols.iter().map(|(name, metadata)| Protocol { name, metadata }).collect(),
            session_timeout_ms: number(args, "session", 10_000)?,
            rebalance_timeout_ms: number(args, "rebalance", 60_000)?,
            knows_member_id_required: version >= 4,
            knows_skip_assignment: version >= 9,
            reason: None,
        };
        self.ask(&Request::Join(request));
        Ok(())
    }

    fn sync(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let member = id(args.next_pos().ok_or("which member?")?);
        let generation = number(args, "gen", 1)?;
        let instance = args.take_key("instance").map(str::to_owned);
        let protocol = args.take_key("protocol").map(str::to_owned);
        let assignments = args.take_key("assign").unwrap_or("").to_owned();
        let assignments: Vec<(String, Vec<u8>)> = assignments
            .split(',')
            .filter_map(|it| it.split_once(':'))
            .map(|(member, partitions)| (id(member), assignment(partitions)))
            .collect();
        let request = SyncRequest {
            group: &group,
            generation,
            member_id: &member,
            instance_id: instance.as_deref(),
            protocol_type: None,
            protocol: protocol.as_deref(),
            assignments: assignments.iter().map(|(member, it)| (member.as_str(), &**it)).collect(),
        };
        self.ask(&Request::Sync(request));
        Ok(())
    }

    fn consumer(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let member = args.next_pos().ok_or("which member?")?.to_owned();
        let epoch = number(args, "epoch", 0)?;
        let joins = epoch == 0;
        let [topics, regex, instance, assignor, owned, rack] =
            ["topics", "regex", "instance", "assignor", "owned", "rack"].map(|name| args.take_key(name));
        let topics = topics.or((joins && regex.is_none()).then_some("t"));
        let rebalance: i32 = number(args, "rebalance", if joins { 60_000 } else { -1 })?;
        let owned = owned.or(joins.then_some("")).map(|owned| {
            let mut partitions = Partitions::new();
            for (name, partition, _) in owned.split(',').filter(|it| !it.is_empty()).map(|it| place(it).unwrap()) {
                let id = self.world.topics.get(&name).unwrap().id;
                partitions.entry(id).or_default().insert(partition);
            }
            partitions
        });
        let request = ConsumerHeartbeatRequest {
            group: &group,
            member_id: &member,
            member_epoch: epoch,
            instance_id: instance,
            rack_id: rack,
            rebalance_timeout_ms: (rebalance != -1).then_some(rebalance),
            topics: topics.map(|topics| topics.split('+').filter(|it| !it.is_empty()).collect()),
            regex,
            assignor,
            owned,
            client_id: "c",
            client_host: "/h",
        };
        self.ask(&Request::ConsumerHeartbeat(request));
        Ok(())
    }

    fn heartbeat(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let member = id(args.next_pos().ok_or("which member?")?);
        let generation = number(args, "gen", 1)?;
        let instance = args.take_key("instance").map(str::to_owned);
        let instance_id = instance.as_deref();
        self.ask(&Request::Heartbeat(HeartbeatRequest { group: &group, generation, member_id: &member, instance_id }));
        Ok(())
    }

    fn leave(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let instance = args.take_key("instance").map(str::to_owned);
        let ids: Vec<String> = rest(args).into_iter().map(id).collect();
        let by_id = ids.iter().map(|member_id| LeavingMember { member_id, instance_id: None, reason: None });
        let by_instance = instance.as_deref().map(|instance| LeavingMember {
            member_id: "",
            instance_id: Some(instance),
            reason: None,
        });
        let members = by_id.chain(by_instance).collect();
        self.ask(&Request::Leave(LeaveRequest { group: &group, members }));
        Ok(())
    }

    fn commit(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let member = args.take_key("member").map(id).unwrap_or_default();
        let instance = args.take_key("instance").map(str::to_owned);
        let metadata = args.take_key("note").map(str::to_owned);
        let retention: i64 = number(args, "retention", -1)?;
        let (generation, version, topic_id) = (number(args, "gen", -1)?, number(args, "v", 9)?, number(args, "id", 0)?);
        let places = places(args)?;
        let topics = places.iter().map(|(name, partition, offset)| {
            let metadata = metadata.as_deref();
            let partition = CommitPartition { partition: *partition, offset: *offset, leader_epoch: -1, metadata };
            let id = self.world.topics.get(name).map_or(Uuid(topic_id), |topic| topic.id);
            CommitTopic { name, id, partitions: vec![partition] }
        });
        let request = CommitRequest {
            group: &group,
            generation,
            member_id: &member,
            instance_id: instance.as_deref(),
            knows_member_epochs: version >= 9,
            retention_ms: (retention >= 0).then_some(retention),
            topics: topics.collect(),
        };
        self.ask(&Request::Commit(request));
        Ok(())
    }

    fn fetch(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let (require_stable, topic_id) = (number(args, "stable", false)?, number(args, "id", 0)?);
        let (member, member_epoch) = (args.take_key("member"), number(args, "epoch", -1)?);
        let places = places(args)?;
        let topics = places.iter().map(|(name, partition, _)| FetchTopic {
            name,
            id: Uuid(topic_id),
            partitions: vec![*partition],
        });
        let topics = (!places.is_empty()).then(|| topics.collect());
        let request = FetchOffsetsRequest { group: &group, member_id: member, member_epoch, require_stable, topics };
        self.ask(&Request::FetchOffsets(request));
        Ok(())
    }

    fn delete_offsets(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = args.next_pos().ok_or("which group?")?.to_owned();
        let places = places(args)?;
        let topics = places.iter().map(|(topic, partition, _)| (topic.as_str(), vec![*partition])).collect();
        self.ask(&Request::DeleteOffsets(DeleteOffsetsRequest { group: &group, topics }));
        Ok(())
    }
}

impl Runner for Script {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &Context) -> Outcome<String> {
        self.log.clear();
        self.act(&line.0)?;
        for change in std::mem::take(&mut self.world.appended) {
            writeln!(self.log, "  {change}")?;
        }
        for (ticket, answer) in std::mem::take(&mut self.world.answers) {
            writeln!(self.log, "#{} {answer}", ticket.frame)?;
        }
        let mut log = shorten(&self.log);
        for name in self.world.topics.names() {
            let id = self.world.topics.get(name).map(|it| it.id.to_string()).unwrap_or_default();
            log = log.replace(&id, name);
        }
        Ok(log)
    }
}

#[test]
fn scripts() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/groups");
    for path in SCRIPTS.map(|name| directory.join(name)) {
        let world = World::new(settings(&[("group.initial.rebalance.delay.ms", "0")]));
        let mut script = Script { world, log: String::new() };
        goldenscript::run(&mut script, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
