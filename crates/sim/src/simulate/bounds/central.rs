//! Central late binding: one queue in front of all engines. A request is dispatched when an engine has a free sequence slot
//! and KV blocks for it.

use std::collections::VecDeque;

use pointsman_core::RequestId;
use pointsman_workload::Job;

use super::SharedCache;
use crate::engine::Engine;
use crate::simulate::Action;
use crate::simulate::active_jobs::ActiveJob;
use crate::simulate::event_queue::EngineIndex;
use crate::simulate::servers::{Server, State};

/// Running sequences per spare block. Sequences grow while they run: without spare blocks, ten Llama-2-7B replicas at
/// twice their capacity preempt one request in four; with one per two sequences they preempt one in a hundred and serve
/// 4 % more. One per sequence serves no more than that.
const SEQUENCES_PER_SPARE_BLOCK: u32 = 2;

/// The FIFO queue.
#[derive(Debug)]
pub(in crate::simulate) struct Central {
    waiting: VecDeque<(RequestId, u32)>,
    /// By engine, whether it may be chosen.
    open: Vec<bool>,
    /// Whether a dispatched request has not reached its engine yet. The next dispatch waits for it, since the engine's state
    /// does not show it before.
    dispatching: bool,
    cache: Option<SharedCache>,
}

impl Central {
    pub(in crate::simulate) fn new(members: usize, cache: Option<SharedCache>) -> Self {
        Self { waiting: VecDeque::new(), open: vec![false; members], dispatching: false, cache }
    }

    pub(in crate::simulate) fn set_open(&mut self, engine: EngineIndex, open: bool) {
        if let Some(place) = self.open.get_mut(engine as usize) {
            *place = open;
        }
    }

    pub(in crate::simulate) fn arrived(
        &mut self,
        job: &ActiveJob,
        servers: &[Server],
        actions: &mut Vec<Action>,
    ) {
        self.waiting.push_back((job.id, job.spec.prompt_tokens));
        self.bind(servers, actions);
    }

    /// The dispatched request is in its engine's queue.
    pub(in crate::simulate) fn delivered(&mut self, servers: &[Server], actions: &mut Vec<Action>) {
        self.dispatching = false;
        self.bind(servers, actions);
    }

    /// Dispatches the first request of the queue, if an engine has room for it.
    pub(in crate::simulate) fn bind(&mut self, servers: &[Server], actions: &mut Vec<Action>) {
        if self.dispatching {
            return;
        }
        let Some((request, prompt)) = self.waiting.front().copied() else { return };
        let with_room = servers
            .iter()
            .zip(&self.open)
            .zip(0..)
            .filter(|((server, open), _)| **open && server.state == State::Up)
            .filter(|((server, _), _)| has_room(&server.engine, prompt));
        let emptiest = with_room.min_by_key(|((server, _), engine)| (server.engine.requests(), *engine));
        if let Some((_, to)) = emptiest {
            self.waiting.pop_front();
            self.dispatching = true;
            actions.push(Action::Send { request, to });
        }
    }

    /// Prompt tokens of a job in the shared cache, where there is one.
    pub(in crate::simulate) fn fetched(&mut self, job: &Job) -> u32 {
        self.cache.as_mut().map_or(0, |cache| cache.fetch(job))
    }

    pub(in crate::simulate) fn answered(&mut self, job: &Job) {
        if let Some(cache) = &mut self.cache {
            cache.add(job);
        }
    }
}

/// Whether a prompt would join the engine's next batch; requests that wait there come first. An idle engine always has
/// room: it rejects a prompt that never fits.
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
