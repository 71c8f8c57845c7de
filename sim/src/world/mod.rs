//! The world: nodes, network, disks, clocks, clients, and what happens to them. Plain data with `step`.
//!
//! One step takes whatever is due next and carries it out; ties are broken by a fixed order. A clone of the
//! world is another world: that is what branching is. Nothing here reads a clock or draws without a label.
//!
//! * [`node`]: what a node is made of; [`drive`]: how its machine is driven; [`wires`]: its connections
//! * [`quorum`]: what is seen of the metadata quorum of several nodes; [`replicas`]: and of replicated partitions
//! * [`agenda`]: what is to happen; [`trouble`]: faults, and what they do
//! * [`inherited`]: logs that another broker wrote
//! * [`ending`]: everything heals, all is read, and the history is judged

pub mod agenda;
mod drive;
mod ending;
mod inherited;
pub mod node;
mod quorum;
mod recovery;
mod replicas;
mod targets;
mod trouble;
mod wires;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::client::ClientConfig;
use ottla_core::config::{BrokerConfig, ConfigError, FlushMode, Overrides};
use ottla_core::planted::Planted;

use crate::client::hosted::Hosted;
use crate::client::user::User;
use crate::client::{Client, Ctx, Target, Want};
use crate::clock::Clock;
use crate::cross::Cross;
use crate::deletions::Deletions;
use crate::disk::Disk;
use crate::dose::Dose;
use crate::draw::{Draw, Draws, Label};
use crate::invariants::Violation;
use crate::judge::Judge;
use crate::network::stream::Outgoing;
use crate::network::{Door, Endpoint, Listening, Network, Side, Wire};
use crate::run::RunOptions;
use crate::scenario::{Action, Scenario};
use crate::time::{MILLISECOND, Nanos, SECOND};
use crate::trace::Trace;
use crate::workload::program::{Manager, Member, Program, Reader, Writer};
use crate::workload::{
    Actor, AdminActor, CoreMembers, Groups, Kind, MemberActor, Members, ProduceActor, RawActor, ReadActor, SetupActor,
    SoloActor,
};
use agenda::{Agenda, Due};
use ending::A_WEEK_MS;
use node::{Node, broker_config, client_address, find_address, rack_of};

/// More steps than this in one simulated millisecond, and the node is in a loop. One that goes on after a pause may
/// find ten thousand operations done at once; a loop has no end.
const MAX_STEPS_A_MS: u64 = 100_000;

/// The world of one run.
#[derive(Clone, Debug)]
pub struct World {
    now: Nanos,
    draws: Draws,
    setting: Arc<Setting>,
    network: Network,
    nodes: Vec<Node>,
    clients: Vec<User>,
    agenda: Agenda,
    /// Who judges.
    pub judge: Judge,
    /// The trace.
    pub trace: Trace,
    /// The dose.
    pub dose: Dose,
    stage: Stage,
    pace: Pace,
    tuples: Vec<u64>,
    /// Who reads every frame a second time.
    cross: Option<Box<Cross>>,
}

/// What does not change in a run.
#[derive(Debug)]
struct Setting {
    scenario: Scenario,
    /// Of each node.
    configs: Vec<BrokerConfig>,
    planted: Planted,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Load and faults.
    Trouble,
    /// No faults any more; what was begun is finished.
    Finishing,
    /// Several nodes have come to rest, in this epoch of their quorum, and should stay there.
    Resting(i32),
    /// Everything is read.
    Reading,
    /// It is over.
    Over,
}

impl Stage {
    const fn number(self) -> u64 {
        match self {
            Self::Trouble => 0,
            Self::Finishing | Self::Resting(_) => 1,
            Self::Reading => 2,
            Self::Over => 3,
        }
    }
}

impl Setting {
    /// Which node has an address, and which door of it.
    fn find(&self, address: &str) -> Option<(usize, Door)> {
        find_address(self.scenario.cluster.nodes, address)
    }
}

/// Steps in the present millisecond.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    millisecond: u64,
    steps: u64,
}

impl World {
    /// A world at its beginning.
    ///
    /// # Errors
    /// The scenario's broker properties are bad.
    pub fn new(scenario: Scenario, options: &RunOptions, trace: Trace) -> Result<Self, ConfigError> {
        let draws = Draws::new(scenario.run_seed);
        let count = scenario.cluster.nodes;
        let racks = scenario.cluster.racks;
        let configs = (0..count).map(|id| broker_config(id, (count, racks), &scenario.config));
        let configs = configs.collect::<Result<Vec<_>, _>>()?;
        // Where loss is expected, it is looked for.
        let looked_for = scenario.lossless || !scenario.expect.is_empty();
        let durable_acks = configs[0].storage.flush == FlushMode::Quorum || looked_for;
        let nodes: Vec<Node> = (0..count).map(|id| new_node(&scenario, draws, id)).collect();
        let mut agenda = Agenda::new(&scenario.events);
        (0..nodes.len()).for_each(|at| agenda.add(0, Due::StartNode(at)));
        agenda.add(scenario.duration, Due::Heal);
        let mut world = Self {
            now: 0,
            draws,
            network: Network::new(draws, scenario.network.path()),
            judge: Judge::new(nodes.len(), durable_acks, options.history_alone),
            nodes,
            clients: Vec::new(),
            agenda,
            trace,
            dose: Dose::new(count > 1),
            stage: Stage::Trouble,
            pace: Pace::default(),
            tuples: Vec::new(),
            cross: Cross::draw(draws).map(Box::new),
            setting: Arc::new(Setting { scenario, configs, planted: options.planted }),
        };
        world.judge.replicated = replicas::replicated(&world.setting.scenario, &world.setting.configs[0]);
        world.judge.deletions = (!expires(&world.setting.configs[0])).then(Deletions::default);
        let offsets = &world.setting.configs[0].coordinators.offsets;
        world.judge.groups.shards = offsets.num_partitions.cast_signed();
        let minutes = world.setting.configs[0].coordinators.offsets.retention_minutes;
        world.judge.groups.clocks.retention = minutes.saturating_mul(60 * SECOND);
        // What one coordinator writes another may expire, by a clock of its own.
        let walls = world.nodes.iter().map(|node| node.clock.now(0).wall.0);
        let apart = walls.clone().max().unwrap_or(0).abs_diff(walls.min().unwrap_or(0));
        world.judge.groups.clocks.stepped = apart.saturating_mul(MILLISECOND);
        let session_ms = world.setting.configs[0].coordinators.consumer_groups.session_timeout_ms;
        world.judge.groups.consumer_session = session_ms.saturating_mul(MILLISECOND);
        for node in &world.nodes {
            world.network.listen(node.endpoint(), Listening::Refused);
        }
        let topics = world.setting.scenario.cluster.topics.clone();
        world.add_client(
            Actor::Setup(SetupActor::new(topics, world.setting.scenario.cluster.replicas)),
            2_000 * MILLISECOND,
        );
        Ok(world)
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Nanos {
        self.now
    }

    /// How far it has come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The first violation.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.judge.violation()
    }

    /// Batches that were acknowledged; where there are several nodes, those of the metadata log among them.
    #[must_use]
    pub fn acked_batches(&self) -> u64 {
        let metadata = if self.dose.several { self.judge.metadata.acked } else { 0 };
        self.judge.history.acked_batches + metadata
    }

    /// The tuples of states that were seen, sorted.
    #[must_use]
    pub fn tuples(&self) -> &[u64] {
        &self.tuples
    }

    /// From here on, draws are those of another seed: a branch of the run.
    pub fn reseed(&mut self, run_seed: u64) {
        self.draws = Draws::new(run_seed);
        self.network.reseed(self.draws);
        self.nodes.iter_mut().for_each(|node| node.disk.reseed(self.draws));
    }

    /// Writes out the steps in `window` from now on.
    pub fn show(&mut self, window: Range<u64>) {
        self.trace.show(window);
    }

    /// When the next step is due; `u64::MAX` if nothing will ever happen.
    #[must_use]
    pub fn next_due(&self) -> Nanos {
        let clients = self.clients.iter().map(User::next_due).min().unwrap_or(u64::MAX);
        let nodes = self.nodes.iter().map(|node| node.disk.next_due().unwrap_or(u64::MAX).min(node.next_due()));
        let due = self.network.next_due().unwrap_or(u64::MAX).min(clients);
        nodes.min().unwrap_or(u64::MAX).min(due).min(self.agenda.next_due())
    }

    /// Carries out whatever is due next, which is at `due`; false when the run is over.
    pub fn step(&mut self, due: Nanos) -> bool {
        if due == u64::MAX || self.stage == Stage::Over || self.violation().is_some() {
            return false;
        }
        self.now = self.now.max(due);
        self.keep_pace();
        if self.agenda.next_due() <= self.now {
            self.on_agenda();
        } else if self.network.next_due().is_some_and(|due| due <= self.now) {
            self.on_network();
        } else if let Some(at) = self.first(|node, now| node.disk.next_due().is_some_and(|due| due <= now)) {
            self.on_disk(at);
        } else if let Some(at) = self.first(|node, now| node.next_due() <= now) {
            self.round(at);
        } else {
            self.on_clients();
        }
        true
    }

    /// The first node of which something is true.
    fn first(&self, is: impl Fn(&Node, Nanos) -> bool) -> Option<usize> {
        self.nodes.iter().position(|node| is(node, self.now))
    }

    fn on_agenda(&mut self) {
        match self.agenda.take(self.now) {
            Some(Due::Start(event, at)) => self.start_event(event, at),
            Some(Due::Strike(event, at)) => self.strike(event, at, u64::MAX),
            Some(Due::Arm(event)) => {
                if let Some(trigger) = self.setting.scenario.events[event].when.on {
                    self.agenda.arm(event, trigger);
                }
            }
            Some(Due::End(event, at)) => self.end_event(event, at),
            Some(Due::StartNode(at)) => self.start_node(at),
            Some(Due::GraceOver(at, boot)) => self.grace_over(at, boot),
            Some(Due::Replace(at, boot)) => self.replace(at, boot),
            Some(Due::Rested) => self.rested(),
            Some(Due::Heal) => self.heal(),
            Some(Due::GiveUp(read)) => self.give_up(read),
            None => (),
        }
    }

    fn on_clients(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].next_due() <= self.now {
                self.with_client(index, |client, ctx, out| client.on_time(ctx, out));
            }
        }
    }

    fn with_client(&mut self, index: usize, act: impl FnOnce(&mut User, &mut Ctx<'_>, &mut Vec<Want>)) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let mut steps = *client.steps_mut();
        let mut ctx = Ctx {
            id: client.id(),
            now: self.now,
            wall_ms: Clock::new(1_000_000, 0).now(self.now).wall.0,
            judge: &mut self.judge,
            draws: self.draws,
            steps: &mut steps,
            load: self.stage == Stage::Trouble,
        };
        let mut wants = Vec::new();
        act(client, &mut ctx, &mut wants);
        *client.steps_mut() = steps;
        for want in wants {
            self.fulfil(index, want);
        }
        if self.stage != Stage::Trouble {
            self.advance_stage();
        }
    }

    fn fulfil(&mut self, index: usize, want: Want) {
        let me = Endpoint::Client(self.clients[index].id());
        let mut nothing = |_: Endpoint, _, _, _| Bytes::new();
        match want {
            Want::Dial(target) => {
                let Some((at, door)) = self.target(index, &target) else { return };
                let wire = self.network.dial(self.now, me, self.nodes[at].endpoint(), door);
                self.clients[index].dialling(self.now, wire);
            }
            Want::Send(wire, bytes) => {
                self.read_along(|cross| cross.on_request(wire, &bytes));
                self.network.send(self.now, wire, Side::Dialler, Outgoing::Bytes(bytes), &mut nothing);
            }
            Want::SendBad(wire, bytes) => {
                self.stop_reading_along(wire);
                self.network.send(self.now, wire, Side::Dialler, Outgoing::Bytes(bytes), &mut nothing);
            }
            Want::Close(wire) => {
                self.stop_reading_along(wire);
                self.network.close(self.now, wire, Side::Dialler, &mut nothing);
            }
        }
    }

    /// The node that a client dials, and the door; `None` if nobody can be there.
    fn target(&mut self, client: usize, target: &Target) -> Option<(usize, Door)> {
        match target {
            Target::Bootstrap(which) => {
                let nodes = self.nodes.len() as u64;
                Some((usize::try_from(which % nodes).unwrap_or(0), Door(0)))
            }
            Target::Address(address) => {
                let found = self.setting.find(address);
                if found.is_none() {
                    self.judge.report("W1", format!("client {client} is sent to {address}, where nobody is"));
                }
                found
            }
        }
    }

    /// Shows the second reader something, if this run has one.
    fn read_along(&mut self, look: impl FnOnce(&mut Cross) -> Result<(), String>) {
        if let Some(Err(what)) = self.cross.as_deref_mut().map(look) {
            self.judge.report("W1", what);
        }
    }

    fn stop_reading_along(&mut self, wire: Wire) {
        if let Some(cross) = &mut self.cross {
            cross.forget(wire);
        }
    }

    fn add_client(&mut self, actor: Actor, timeout: Nanos) {
        let client = Client::new(self.next_client(), actor, timeout);
        self.clients.push(User::Frames(Box::new(client)));
    }

    /// Adds core's client, for a program that is made with a draw of its own.
    fn add_program(&mut self, program: impl FnOnce(u16, Draw) -> (Program, ClientConfig)) {
        let id = self.next_client();
        let own = |what| self.draws.at(Label::ClientSeed, u64::from(id), what);
        let (program, mut config) = program(id, own(0));
        config.reader.client_rack = self.client_rack(id).into();
        let servers = (0..self.setting.scenario.cluster.nodes).map(|id| client_address(id).into());
        let config = ClientConfig { bootstrap_servers: servers.collect(), planted: self.setting.planted, ..config };
        let clock = drifting_clock(&self.setting.scenario, self.draws, &format!("clock/client-{id}"));
        let hosted = Hosted::new(id, program, &config, own(1).bits(), clock, self.now);
        self.clients.push(User::Core(Box::new(hosted)));
    }

    /// A client is in one of the racks, or in none. In the end everything is read from whoever leads it.
    fn client_rack(&self, id: u16) -> String {
        let racks = if self.stage == Stage::Trouble { self.setting.scenario.cluster.racks } else { 0 };
        let drawn = self.draws.named(Label::ClientSeed, "rack", u64::from(id)).below(u64::from(racks) + 1);
        if drawn < u64::from(racks) { rack_of(drawn, racks) } else { String::new() }
    }

    fn next_client(&self) -> u16 {
        u16::try_from(self.clients.len()).unwrap_or(u16::MAX)
    }

    /// The clients of a workload.
    fn add_clients(&mut self, action: &Action, until: Nanos) {
        let setting = Arc::clone(&self.setting);
        let partitions = |topic: &str| setting.scenario.cluster.topics.get(topic).copied().unwrap_or(1);
        let now = self.now;
        match action {
            Action::Produce(params) => {
                let partitions = partitions(&params.topic);
                for _ in 0..params.clients {
                    match params.client {
                        Kind::Frames => {
                            let which = self.clients.len() as u64;
                            let actor = ProduceActor::new(params.clone(), partitions, now, until, which);
                            self.add_client(Actor::Produce(Box::new(actor)), params.timeout.0);
                        }
                        Kind::Core => self.add_program(|_, draw| {
                            let (writer, config) = Writer::new(params, partitions, now, until, draw);
                            (Program::Write(Box::new(writer)), config)
                        }),
                    }
                }
            }
            Action::Read(params) => {
                let partitions = partitions(&params.topic);
                for _ in 0..params.clients {
                    match params.client {
                        Kind::Frames => {
                            let which = self.clients.len() as u64;
                            let actor = ReadActor::new(params.clone(), partitions, now, until, which);
                            self.add_client(Actor::Read(Box::new(actor)), params.max_wait.0 + 2_000 * MILLISECOND);
                        }
                        Kind::Core => self.add_program(|id, draw| {
                            let (reader, config) = Reader::new(params, partitions, now, until, id, draw);
                            (Program::Read(Box::new(reader)), config)
                        }),
                    }
                }
            }
            Action::Admin(params) => {
                let partitions = partitions(&params.topic);
                match params.client {
                    Kind::Frames => {
                        let actor = AdminActor::new(params.clone(), partitions, now, until);
                        self.add_client(Actor::Admin(actor), 2_000 * MILLISECOND);
                    }
                    Kind::Core => self.add_program(|_, draw| {
                        let (manager, config) = Manager::new(params, partitions, now, until, draw);
                        (Program::Admin(Box::new(manager)), config)
                    }),
                }
            }
            Action::Groups(params) => self.add_groups(params, partitions(&params.topic), until),
            Action::Raw(params) => {
                self.add_client(Actor::Raw(RawActor::new(params.clone(), now, until)), 2_000 * MILLISECOND);
            }
            Action::Kill(_)
            | Action::PowerLoss(_)
            | Action::Restart(_)
            | Action::Pause(_)
            | Action::SlowDisk(_)
            | Action::FullDisk(_)
            | Action::DiskError(_)
            | Action::Rot(_)
            | Action::Clock(_)
            | Action::Cut(_)
            | Action::Connection(_)
            | Action::Wipe(_)
            | Action::Compacted(_) => (),
        }
    }

    /// The members of groups, and those beside them.
    fn add_groups(&mut self, params: &Groups, partitions: i32, until: Nanos) {
        let times = (self.now, until);
        for group in 0..params.groups {
            let group = params.name(group);
            for which in 0..params.members {
                if let Members::Core(core) = &params.client {
                    self.add_core_member(params, core, (&group, which), until);
                    continue;
                }
                let draw = self.draws.at(Label::ClientSeed, u64::from(self.next_client()), 0);
                let actor = MemberActor::new(params, &group, which, partitions, times, draw);
                self.add_client(Actor::Member(Box::new(actor)), 2_000 * MILLISECOND);
            }
        }
        for _ in 0..params.others {
            let id = self.next_client();
            let draw = self.draws.at(Label::ClientSeed, u64::from(id), 0);
            let actor = SoloActor::new(params, id, partitions, times, draw).among(self.nodes.len());
            self.add_client(Actor::Solo(Box::new(actor)), 2_000 * MILLISECOND);
        }
    }

    /// A member of a group that is core's client.
    fn add_core_member(&mut self, params: &Groups, core: &CoreMembers, member: (&str, u16), until: Nanos) {
        let names = [&params.topic, &core.also].into_iter().filter(|topic| !topic.is_empty());
        let known = &self.setting.scenario.cluster.topics;
        let topics = names.map(|topic| (topic.as_str().into(), known.get(topic).copied().unwrap_or(1)));
        let topics: Vec<(Arc<str>, i32)> = topics.collect();
        let (now, of_group) = (self.now, self.draws.named(Label::Scenario, member.0, 0));
        self.add_program(|_, draw| {
            let (member, config) = Member::new((params, core), member, topics, (now, until), (of_group, draw));
            (Program::Member(Box::new(member)), config)
        });
    }

    fn keep_pace(&mut self) {
        let millisecond = self.now / MILLISECOND;
        if self.pace.millisecond != millisecond {
            self.pace = Pace { millisecond, steps: 0 };
        }
        self.pace.steps += 1;
        if self.pace.steps > MAX_STEPS_A_MS {
            self.judge.report("loop", format!("more than {MAX_STEPS_A_MS} steps in one millisecond"));
        }
    }
}

/// A disk with nothing on it: a node's first, or one that takes the place of another.
fn new_disk(scenario: &Scenario, draws: Draws, id: u16, wipes: u64) -> Disk {
    let identity = u64::from(id) | wipes << 16;
    Disk::new(draws, identity, directories(scenario), scenario.disk.preset, scenario.disk.speeds())
}

/// As many log directories as the properties name.
fn directories(scenario: &Scenario) -> u16 {
    let named = scenario.config.iter().find(|(key, _)| key == "log.dirs");
    named.map_or(1, |(_, dirs)| u16::try_from(dirs.split(',').count()).unwrap_or(u16::MAX))
}

fn new_node(scenario: &Scenario, draws: Draws, id: u16) -> Node {
    let disk = new_disk(scenario, draws, id, 0);
    let clock = if id == 0 { "clock/node".to_owned() } else { format!("clock/node-{id}") };
    Node::new(id, disk, drifting_clock(scenario, draws, &clock))
}

/// A clock whose rate and wall time are off by at most what the scenario says.
fn drifting_clock(scenario: &Scenario, draws: Draws, whose: &str) -> Clock {
    let draw = draws.named(Label::Scenario, whose, 0);
    let drift = u64::from(scenario.clock.drift_ppm);
    let rate = 1_000_000 - drift + draw.below(2 * drift + 1);
    let most = scenario.clock.offset.0 / MILLISECOND;
    let offset = draw.and(1).below(2 * most + 1);
    let offset = i64::try_from(offset).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
    Clock::new(rate, offset)
}

/// Whether records may expire by themselves within a run, whose clocks step by a day or so.
fn expires(config: &BrokerConfig) -> bool {
    let retention = config.topic(&Overrides::default()).retention;
    retention.retention_bytes.is_some() || retention.retention_ms.is_some_and(|ms| ms < A_WEEK_MS)
}
