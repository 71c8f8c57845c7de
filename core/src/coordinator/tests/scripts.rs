//! Text scripts: what clients ask of a shard, what is written, and who is told what.
//!
//! Regenerate with `UPDATE_GOLDENFILES=1 cargo test -p ottla-core --lib coordinator`, then read the diff.

use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use ottla_wire::consumer_protocol::ConsumerProtocolSubscription;
use ottla_wire::{Uuid, Writer};

use super::*;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The stories, in core/tests/scripts/groups.
const SCRIPTS: [&str; 13] = [
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

/// What a consumer says that reads these topics, `t+u`.
fn subscription(topics: &str) -> Vec<u8> {
    let topics = topics.split('+').filter(|topic| !topic.is_empty()).collect();
    let mut out = Writer::new();
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode_versioned(&mut out, 0);
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
                let places = places(args)?;
                let gone =
                    places.into_iter().map(|(topic, partition, _)| crate::types::TopicPartition::new(topic, partition));
                let decision = world.shard.on_partitions_deleted(world.now, &gone.collect::<Vec<_>>());
                world.carry_out(decision);
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
        let assignments: Vec<(String, String)> = assignments
            .split(',')
            .filter_map(|it| it.split_once(':'))
            .map(|(member, partitions)| (id(member), partitions.to_owned()))
            .collect();
        let request = SyncRequest {
            group: &group,
            generation,
            member_id: &member,
            instance_id: instance.as_deref(),
            protocol_type: None,
            protocol: protocol.as_deref(),
            assignments: assignments.iter().map(|(member, it)| (member.as_str(), it.as_bytes())).collect(),
        };
        self.ask(&Request::Sync(request));
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
            CommitTopic { name, id: Uuid(topic_id), partitions: vec![partition] }
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
        let places = places(args)?;
        let topics = places.iter().map(|(name, partition, _)| FetchTopic {
            name,
            id: Uuid(topic_id),
            partitions: vec![*partition],
        });
        let topics = (!places.is_empty()).then(|| topics.collect());
        let request = FetchOffsetsRequest { group: &group, member_id: None, member_epoch: -1, require_stable, topics };
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
        Ok(shorten(&self.log))
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
