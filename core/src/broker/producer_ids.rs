//! The ids of idempotent producers (KIP-98): this broker gives them out of a block that the controller gave it
//! (KIP-730).

use std::collections::VecDeque;
use std::ops::Range;

use super::admin::Answered;
use super::{Broker, Outcome};
use crate::clock::Now;
use crate::controller;
use crate::machine::{Effects, Ticket};
use crate::types::{BrokerEpoch, Offset};

/// The present block, and who waits for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct ProducerIds {
    block: Range<i64>,
    /// The end of the batch that allocates the next block, and its first id.
    allocating: Option<(Offset, i64)>,
    waiting: VecDeque<Ticket>,
}

impl Broker {
    /// Gives an idempotent producer its id: at once from the present block, else when the next one is committed.
    pub fn init_producer_id(&mut self, now: Now, ticket: Ticket, out: &mut Effects) {
        if let Some(id) = self.metadata.producer_ids.block.next() {
            return self.release(ticket, Outcome::Admin(Box::new(Answered::ProducerId(id))));
        }
        self.metadata.producer_ids.waiting.push_back(ticket);
        self.allocate_producer_ids(now, out);
    }

    fn allocate_producer_ids(&mut self, now: Now, out: &mut Effects) {
        if self.metadata.producer_ids.allocating.is_some() {
            return;
        }
        let epoch = self.metadata.broker_epoch().unwrap_or(BrokerEpoch(-1));
        if !self.is_controller() {
            return self.ask_for_producer_ids(epoch);
        }
        let decision = controller::allocate(self.metadata.controller.speculative(), self.node(), epoch);
        match self.append_changes(now, decision.changes, out) {
            Some(end) => self.metadata.producer_ids.allocating = Some((end, decision.answer)),
            None => self.refuse_producer_ids(),
        }
    }

    /// The controller has given a block, or not: then those who wait ask again.
    pub(super) fn take_producer_ids(&mut self, block: Option<std::ops::Range<i64>>) {
        let Some(block) = block else { return self.refuse_producer_ids() };
        self.metadata.producer_ids.block = block;
        while !self.metadata.producer_ids.waiting.is_empty() {
            let Some(id) = self.metadata.producer_ids.block.next() else { return self.refuse_producer_ids() };
            let ticket = self.metadata.producer_ids.waiting.pop_front().expect("it is not empty");
            self.release(ticket, Outcome::Admin(Box::new(Answered::ProducerId(id))));
        }
    }

    /// A block is committed: those who wait get their ids of it, and if it does not suffice the next one is asked for.
    pub(super) fn give_producer_ids(&mut self, now: Now, end: Offset, out: &mut Effects) {
        if let Some((_, first)) = self.metadata.producer_ids.allocating.filter(|(until, _)| *until <= end) {
            self.metadata.producer_ids.allocating = None;
            self.metadata.producer_ids.block = first..first.saturating_add(controller::BLOCK_SIZE);
        }
        while !self.metadata.producer_ids.waiting.is_empty() {
            let Some(id) = self.metadata.producer_ids.block.next() else {
                return self.allocate_producer_ids(now, out);
            };
            let ticket = self.metadata.producer_ids.waiting.pop_front().expect("it is not empty");
            self.release(ticket, Outcome::Admin(Box::new(Answered::ProducerId(id))));
        }
    }

    /// Nobody can be told that a block was given: they ask again.
    pub(super) fn refuse_producer_ids(&mut self) {
        self.metadata.producer_ids.allocating = None;
        for ticket in std::mem::take(&mut self.metadata.producer_ids.waiting) {
            self.release(ticket, Outcome::Close);
        }
    }

    /// The metadata log was cut at `end`: a block beyond was not given.
    pub(super) fn on_producer_ids_cut(&mut self, end: Offset) {
        if self.metadata.producer_ids.allocating.is_some_and(|(until, _)| until > end) {
            self.refuse_producer_ids();
        }
    }
}
