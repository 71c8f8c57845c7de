//! Which nodes an event is for, and which of the ways between endpoints a cut closes.

use super::World;
use crate::client::user::User;
use crate::draw::Label;
use crate::faults::{Class, Cut, Direction, Off};
use crate::network::Endpoint;
use crate::scenario::{Event, Target};
use crate::time::Nanos;

/// Draws of an event's occurrences: whom it is for, who else is in it, and on which side clients are.
const WHOM: u64 = 1 << 32;
const OTHERS: u64 = WHOM + 1;
const CLIENTS: u64 = WHOM + 2;

/// Whether an event with this target is set off by what happens at a node.
pub(super) fn concerns(target: Target, at: usize, leader: Option<usize>) -> bool {
    match target {
        Target::Node(id) => usize::from(id) == at,
        Target::Leader => leader == Some(at),
        Target::Follower => leader != Some(at),
        Target::Any | Target::Minority | Target::Majority | Target::All => true,
    }
}

impl World {
    /// The nodes that an event is for, whose trigger went off at one of them.
    pub(super) fn targets(&mut self, event: &Event, at: Option<usize>) -> Vec<usize> {
        let nodes = self.nodes.len();
        if nodes == 1 {
            return vec![0];
        }
        let draw = self.draws.named(Label::Event, &event.name, WHOM);
        let one_of =
            |whom: Vec<usize>| whom.get(draw.index(whom.len())).copied().map_or_else(Vec::new, |one| vec![one]);
        let all = || (0..nodes).collect::<Vec<usize>>();
        let targets = match event.target {
            Target::Any => at.map_or_else(|| one_of(all()), |at| vec![at]),
            Target::Node(id) => vec![usize::from(id) % nodes],
            Target::Leader => self.leader().map_or_else(|| one_of(all()), |leader| vec![leader]),
            Target::Follower => match at {
                Some(at) => vec![at],
                None => one_of(all().into_iter().filter(|node| Some(*node) != self.leader()).collect()),
            },
            Target::Minority => self.some(&event.name, 1 + draw.and(1).index((nodes - 1) / 2)),
            Target::Majority => self.some(&event.name, nodes / 2 + 1 + draw.and(1).index(nodes - nodes / 2 - 1)),
            Target::All => all(),
        };
        let mask = targets.iter().fold(0, |mask, at| mask | 1 << at);
        self.trace.event("target", mask);
        targets
    }

    /// So many of the nodes, drawn.
    fn some(&self, name: &str, count: usize) -> Vec<usize> {
        let draw = self.draws.named(Label::Event, name, OTHERS);
        let mut nodes: Vec<usize> = (0..self.nodes.len()).collect();
        nodes.sort_by_key(|at| draw.and(*at as u64).bits());
        nodes.truncate(count.max(1));
        nodes.sort_unstable();
        nodes
    }

    pub(super) fn cut(&mut self, at: usize, cut: &Cut, name: &str, until: Nanos) {
        self.dose.give(Class::Cut);
        let everybody = || self.clients.iter().map(|client| Endpoint::Client(client.id()));
        let clients: Vec<Endpoint> = match cut.client {
            Some(which) => vec![Endpoint::Client(which % u16::try_from(self.clients.len()).unwrap_or(1).max(1))],
            None => everybody().collect(),
        };
        let others: Vec<Endpoint> = self.nodes.iter().map(super::node::Node::endpoint).collect();
        let own = others[at];
        let draw = self.draws.named(Label::Event, name, OTHERS);
        let is_other = |end: &Endpoint| *end != own;
        let (ours, theirs): (Vec<Endpoint>, Vec<Endpoint>) = match cut.off {
            Off::Clients => (vec![own], clients),
            Off::OneNode => {
                let others: Vec<Endpoint> = others.into_iter().filter(is_other).collect();
                (vec![own], others.get(draw.index(others.len())).copied().into_iter().collect())
            }
            Off::Nodes => (vec![own], others.into_iter().filter(is_other).collect()),
            Off::All => (vec![own], others.into_iter().filter(is_other).chain(everybody()).collect()),
            Off::Halves => self.halves(at, name),
        };
        for their in theirs {
            for our in &ours {
                if cut.direction != Direction::FromNode {
                    self.network.cut(their, Some(*our), until);
                }
                if cut.direction != Direction::ToNode {
                    self.network.cut(*our, Some(their), until);
                }
            }
        }
    }

    /// Two parts of the nodes, neither of them empty if there are two nodes, with the clients in one of them.
    fn halves(&self, at: usize, name: &str) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let draw = self.draws.named(Label::Event, name, OTHERS).and(u64::MAX);
        let count = 1 + draw.index(self.nodes.len().saturating_sub(1));
        let mut with = self.some(name, count);
        if !with.contains(&at) {
            with[0] = at;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (at, node) in self.nodes.iter().enumerate() {
            if with.contains(&at) { ours.push(node.endpoint()) } else { theirs.push(node.endpoint()) }
        }
        let with_us = self.draws.named(Label::Event, name, CLIENTS).chance(0.5);
        let side = if with_us { &mut ours } else { &mut theirs };
        side.extend(self.clients.iter().map(User::id).map(Endpoint::Client));
        (ours, theirs)
    }
}
