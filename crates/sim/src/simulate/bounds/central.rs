//! Central late binding: one queue before all engines; a request goes out when an engine has a seat and blocks for it.

use std::collections::VecDeque;

use pointsman_core::RequestId;

use super::SharedCache;
use crate::engine::Engine;
use crate::job::Job;
use crate::simulate::Order;
use crate::simulate::agenda::Member;
use crate::simulate::flights::Flight;
use crate::simulate::servers::{Server, State};

/// Sequences grow while they run: without a block to spare for every second one, ten Llama-2-7B replicas at twice their
/// capacity preempt one request in four; with it one in a hundred, and a twenty-fifth more is served. A block for each
/// serves no more.
const SEQUENCES_PER_SPARE_BLOCK: u32 = 2;

/// The queue, first come, first served.
#[derive(Debug)]
pub(in crate::simulate) struct Central {
    waiting: VecDeque<(RequestId, u32)>,
    /// Engines that may be chosen.
    open: Vec<bool>,
    /// Whether a request is on its way: the next one goes when the engine that it went to shows it.
    under_way: bool,
    cache: Option<SharedCache>,
}

impl Central {
    pub(in crate::simulate) fn new(members: usize, cache: Option<SharedCache>) -> Self {
        Self { waiting: VecDeque::new(), open: vec![false; members], under_way: false, cache }
    }

    pub(in crate::simulate) fn set_open(&mut self, of: Member, open: bool) {
        if let Some(place) = self.open.get_mut(of as usize) {
            *place = open;
        }
    }

    pub(in crate::simulate) fn arrived(
        &mut self,
        flight: &Flight,
        servers: &[Server],
        orders: &mut Vec<Order>,
    ) {
        self.waiting.push_back((flight.id, flight.job.prompt_tokens));
        self.bind(servers, orders);
    }

    /// The request that was on its way is in its engine's queue.
    pub(in crate::simulate) fn delivered(&mut self, servers: &[Server], orders: &mut Vec<Order>) {
        self.under_way = false;
        self.bind(servers, orders);
    }

    /// Sends the first request in the queue, if any engine has room for it.
    pub(in crate::simulate) fn bind(&mut self, servers: &[Server], orders: &mut Vec<Order>) {
        if self.under_way {
            return;
        }
        let Some((request, prompt)) = self.waiting.front().copied() else { return };
        let roomy = servers
            .iter()
            .zip(&self.open)
            .zip(0..)
            .filter(|((server, open), _)| **open && server.state() == State::Up)
            .filter(|((server, _), _)| has_room(&server.engine, prompt));
        let emptiest = roomy.min_by_key(|((server, _), of)| (server.engine.requests(), *of));
        if let Some((_, to)) = emptiest {
            self.waiting.pop_front();
            self.under_way = true;
            orders.push(Order::Send { request, to });
        }
    }

    /// Prompt tokens that the shared cache spares the engine that a job goes to, where there is one.
    pub(in crate::simulate) fn fetched(&mut self, job: &Job) -> u32 {
        self.cache.as_mut().map_or(0, |cache| cache.fetch(job))
    }

    pub(in crate::simulate) fn answered(&mut self, job: &Job) {
        if let Some(cache) = &mut self.cache {
            cache.keep(job);
        }
    }
}

/// Whether a prompt would join the engine's next batch: those that wait there have the first claim. An engine that can
/// never take it has room for it all the same when it is idle, and says so.
fn has_room(engine: &Engine, prompt: u32) -> bool {
    let profile = engine.profile();
    if engine.requests() == 0 {
        return true;
    }
    let blocks = |tokens: u32| tokens.div_ceil(profile.block_size);
    let claimed: u32 = engine.waiting_prefills().map(blocks).sum();
    let growth = engine.requests() / SEQUENCES_PER_SPARE_BLOCK;
    engine.requests() < profile.max_sequences && claimed + growth + blocks(prompt) <= engine.free_blocks()
}
