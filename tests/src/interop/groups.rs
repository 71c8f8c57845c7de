//! Consumer groups: members that share a topic, come, go, are killed, and go on where the group was.
//!
//! A member writes down what it reads and then commits it, so what all of them wrote down must be everything, and what
//! comes after them finds nothing left.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::bench::{Bench, Manner, Member, Writing};
use super::client::{Client, Stop};
use crate::broker::Broker;
use crate::records::Record;

/// A case that needs the broker's process.
pub type Case = (&'static str, fn(&Bench, &Client, &mut Broker) -> Result<(), Stop>);

/// All cases in the order of the table.
pub const CASES: &[Case] = &[
    ("group-share", |bench, client, _| share(bench, [(client, Manner::CLASSIC); 2])),
    ("group-restart", |bench, client, broker| restart(bench, client, broker, Manner::CLASSIC)),
    ("consumer-share", |bench, client, _| {
        has_both(client).and_then(|()| share(bench, [(client, Manner::CONSUMER); 2]))
    }),
    ("consumer-restart", |bench, client, broker| {
        has_both(client).and_then(|()| restart(bench, client, broker, Manner::CONSUMER))
    }),
    ("group-upgrade", |bench, client, _| {
        has_both(client).and_then(|()| share(bench, [(client, Manner::CLASSIC), (client, Manner::CONSUMER)]))
    }),
    ("group-downgrade", |bench, client, _| {
        has_both(client).and_then(|()| share(bench, [(client, Manner::CONSUMER), (client, Manner::CLASSIC)]))
    }),
    // Whoever comes first leads a classic group: it shares out by what the other says of itself.
    ("ottla-follows", |bench, client, _| {
        let [theirs, ours] = together(client)?;
        share(bench, [(client, theirs), (bench.ours()?, ours)])
    }),
    ("ottla-leads", |bench, client, _| {
        let [theirs, ours] = together(client)?;
        share(bench, [(bench.ours()?, ours), (client, theirs)])
    }),
    ("ottla-sticky", |bench, client, _| by_strategy(bench, client, &["java"], &["sticky"])),
    ("ottla-cooperative", |bench, client, _| {
        by_strategy(bench, client, &["java", "confluent"], &["cooperative-sticky"])
    }),
    ("ottla-consumer", |bench, client, _| {
        differs(client).and_then(|()| has_both(client))?;
        share(bench, [(client, Manner::CONSUMER), (bench.ours()?, Manner::CONSUMER)])
    }),
];

/// The clients whose members can speak the protocol of KIP-848.
const NEXT_GENERATION: &[&str] = &["java", "confluent", "ottla"];

/// Longer than a member's session (6 s), its heartbeats and a rebalance: its partitions are somebody else's by then.
const IDLE: Duration = Duration::from_secs(15);
/// For one who is to find nothing: joining a group whose last member left in good order takes no longer.
const SHORT: Duration = Duration::from_secs(7);
/// How long members may take to have partitions each.
const SHARING: Duration = Duration::from_secs(60);

/// A topic that is written to bit by bit.
struct Written {
    topic: String,
    partitions: i32,
    each: i64,
}

impl Written {
    fn new(bench: &Bench, purpose: &str, partitions: i32) -> Result<Self, Stop> {
        Ok(Self { topic: bench.topic(purpose, partitions, &[])?, partitions, each: 0 })
    }

    /// `count` more records for each partition.
    fn write(&mut self, bench: &Bench, count: i64) -> Result<(), Stop> {
        let record = |partition| Record::new(partition, Some(b"key"), Some(b"value"));
        let records = (0..count).flat_map(|_| (0..self.partitions).map(record));
        bench.write(bench.reference(), &self.topic, &records.collect::<Vec<_>>(), Writing::default())?;
        self.each += count;
        Ok(())
    }

    /// Everything was read, and nothing that was not written.
    fn expect_all(&self, read: &BTreeSet<(i32, i64)>) -> Result<(), Stop> {
        let all = (0..self.partitions).flat_map(|partition| (0..self.each).map(move |offset| (partition, offset)));
        let all: BTreeSet<_> = all.collect();
        if *read == all {
            return Ok(());
        }
        let missing: Vec<_> = all.difference(read).take(10).collect();
        let surplus: Vec<_> = read.difference(&all).take(10).collect();
        let (wanted, got) = (all.len(), read.len());
        Err(Stop::Failed(format!(
            "{got} of {wanted} records were read; missing {missing:?} …, never written {surplus:?} …"
        )))
    }
}

fn has_both(client: &Client) -> Result<(), Stop> {
    if NEXT_GENERATION.contains(&client.name) {
        return Ok(());
    }
    Err(Stop::Unsupported("its members speak the classic protocol alone".to_owned()))
}

fn differs(client: &Client) -> Result<(), Stop> {
    if client.name == "ottla" { Err(Stop::Unsupported("it is the other one".to_owned())) } else { Ok(()) }
}

/// How a client's members and ours are in one group, each as its users have it by default, as far as that goes
/// together.
fn together(client: &Client) -> Result<[Manner; 2], Stop> {
    differs(client)?;
    let ours = |strategies| Manner { strategies, ..Manner::CLASSIC };
    match client.name {
        "franz-go" => Ok([Manner::CLASSIC, ours(&["cooperative-sticky"])]),
        "kafkajs" => Err(Stop::Unsupported("its assigner has a name of its own".to_owned())),
        _ => Ok([Manner::CLASSIC, ours(&["range", "roundrobin"])]),
    }
}

/// A client's members and ours, by strategies that tell the leader what each had: whoever leads.
fn by_strategy(bench: &Bench, client: &Client, able: &[&str], strategies: &'static [&'static str]) -> Result<(), Stop> {
    differs(client)?;
    if !able.contains(&client.name) {
        return Err(Stop::Unsupported(format!("its script cannot be told to use {strategies:?}")));
    }
    let manner = Manner { strategies, ..Manner::CLASSIC };
    share(bench, [(client, manner), (bench.ours()?, manner)])?;
    share(bench, [(bench.ours()?, manner), (client, manner)])
}

/// Two members share four partitions, each in its manner; the second is killed, and the first reads on for it.
fn share(bench: &Bench, members: [(&Client, Manner); 2]) -> Result<(), Stop> {
    let mut written = Written::new(bench, "group-share", 4)?;
    written.write(bench, 100)?;
    let group = bench.fresh_name("group");
    let sit = |(client, manner)| bench.member(client, manner, (&written.topic, &group), 0, IDLE);
    let mut one = sit(members[0])?;
    let began = Instant::now();
    if members[0].0.name != members[1].0.name || members[0].1 != members[1].1 {
        // Who comes first makes the group what it is, or leads it, until the other comes.
        while one.read()?.is_empty() && began.elapsed() < SHARING {
            thread::sleep(Duration::from_millis(50));
        }
    }
    let mut other = sit(members[1])?;
    // The first who comes reads all that is there: the other has its share of what comes later.
    while one.read()?.is_empty() || other.read()?.is_empty() {
        if one.has_ended()? {
            return Err(early(one));
        }
        if other.has_ended()? {
            return Err(early(other));
        }
        if began.elapsed() > SHARING {
            return Err(Stop::Failed(format!("one of two members has read nothing within {SHARING:?}")));
        }
        written.write(bench, 10)?;
    }
    let mut read: BTreeSet<_> = other.kill()?.into_iter().collect();
    for _ in 0..5 {
        written.write(bench, 10)?;
    }
    read.extend(one.finish()?);
    written.expect_all(&read)?;
    expect_nothing_left(bench, members[0], (&written.topic, &group))
}

/// Why a member ended before it was told to.
fn early(member: Member) -> Stop {
    member.finish().err().unwrap_or_else(|| Stop::Failed("a member has ended before its time".to_owned()))
}

/// A member leaves, another goes on where it was, over a `kill -9` of the broker.
fn restart(bench: &Bench, client: &Client, broker: &mut Broker, manner: Manner) -> Result<(), Stop> {
    let mut written = Written::new(bench, "group-restart", 3)?;
    written.write(bench, 50)?;
    let group = bench.fresh_name("group");
    let first = bench.member(client, manner, (&written.topic, &group), 1, IDLE)?.finish()?;
    written.write(bench, 50)?;
    let killed = Instant::now();
    broker.kill()?;
    *broker = broker.plan.start().map_err(Stop::Failed)?;
    // It sits through another restart, and Apache Kafka takes longer for that than a member is idle otherwise.
    let idle = IDLE + 2 * killed.elapsed();
    let second = bench.member(client, manner, (&written.topic, &group), 0, idle)?;
    let began = Instant::now();
    while second.read()?.is_empty() {
        if began.elapsed() > SHARING {
            return Err(Stop::Failed(format!("after the restart nothing was read within {SHARING:?}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    broker.kill()?;
    *broker = broker.plan.start().map_err(Stop::Failed)?;
    written.write(bench, 50)?;
    let first: BTreeSet<_> = first.into_iter().collect();
    let second: BTreeSet<_> = second.finish()?.into_iter().collect();
    if let Some(twice) = first.intersection(&second).next() {
        return Err(Stop::Failed(format!("partition and offset {twice:?} were committed, and read again")));
    }
    written.expect_all(&first.union(&second).copied().collect())?;
    expect_nothing_left(bench, (client, manner), (&written.topic, &group))
}

/// Whoever comes now finds that the group has read everything.
fn expect_nothing_left(bench: &Bench, (client, manner): (&Client, Manner), of: (&str, &str)) -> Result<(), Stop> {
    let read = bench.member(client, manner, of, 0, SHORT)?.finish()?;
    match read.first() {
        None => Ok(()),
        Some(again) => Err(Stop::Failed(format!("{} records were read again, the first {again:?}", read.len()))),
    }
}
