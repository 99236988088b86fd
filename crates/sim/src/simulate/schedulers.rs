//! Pointsman's core as the routers of a run: one scheduler, or one for each router without shared state.

use std::sync::Arc;

use pointsman_core::{
    BlockHash, Completion, Effect, EndpointId, Event, FailureCause, Health, PoolId, PoolPolicy, Rejection,
    RequestFacts, Scheduler, SchedulerConfig, Time, Usage,
};
use pointsman_workload::Job;

use super::active_jobs::ActiveJob;
use super::event_queue::ResponseUpdate;
use super::servers::{Server, adapter_key, draw};
use super::{Action, Broken};
use crate::outcome::End;
use crate::scenario::{Information, PrefixKnowledge, Scenario};

pub(super) const POOL: PoolId = PoolId(0);
const POOL_SALT: u64 = 0x706f_6f6c;

/// The routers' schedulers. Nothing is decided here: events go in, and effects become actions.
#[derive(Debug)]
pub(super) struct Schedulers {
    schedulers: Vec<Scheduler>,
    effects: Vec<Effect>,
    visibility: Visibility,
    /// By adapter, whether the schedulers know it.
    adapters: Vec<bool>,
    /// The core's invariants are checked after every so many events; 0 is never.
    check_every: u64,
    events: u64,
}

impl Schedulers {
    pub(super) fn new(
        count: u32,
        policy: &PoolPolicy,
        scenario: &Scenario,
        seed: u64,
        check_every: u64,
    ) -> Self {
        let scheduler = |router: u32| {
            let seed = draw(seed, POOL_SALT, u64::from(router));
            let scheduler = Scheduler::new(SchedulerConfig { seed, decisions: false });
            if scenario.compare_all { scheduler.comparing_all() } else { scheduler }
        };
        let mut schedulers = Self {
            schedulers: (0..count).map(scheduler).collect(),
            effects: Vec::new(),
            visibility: Visibility::new(scenario),
            adapters: Vec::new(),
            check_every,
            events: 0,
        };
        for scheduler in &mut schedulers.schedulers {
            let event = Event::PoolPolicyChanged { pool: POOL, policy: policy.clone() };
            scheduler.handle(Time::ZERO, event, &mut schedulers.effects);
        }
        schedulers
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.schedulers.len()).unwrap_or(u32::MAX)
    }

    /// Whether any job named an adapter so far.
    pub(super) fn has_adapters(&self) -> bool {
        !self.adapters.is_empty()
    }

    /// Passes an event to a router's scheduler.
    pub(super) fn handle(
        &mut self,
        now: Time,
        router: u32,
        event: Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        let Some(scheduler) = self.schedulers.get_mut(router as usize) else { return Ok(()) };
        scheduler.handle(now, event, &mut self.effects);
        for effect in self.effects.drain(..) {
            actions.extend(action(router, &effect));
        }
        self.events += 1;
        if self.check_every > 0 && self.events.is_multiple_of(self.check_every) {
            let events = self.events;
            scheduler.check_invariants().map_err(|broken| Broken { at: now, events, broken })?;
        }
        Ok(())
    }

    /// Passes an event to the scheduler of every router.
    pub(super) fn broadcast(
        &mut self,
        now: Time,
        event: &Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        (0..self.count()).try_for_each(|router| self.handle(now, router, event.clone(), actions))
    }

    pub(super) fn arrived(
        &mut self,
        now: Time,
        job: &ActiveJob,
        servers: &[Server],
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        if let Some(adapter) = job.spec.adapter {
            self.declare(now, adapter, actions)?;
        }
        let mut facts = self.visibility.facts(&job.spec);
        if self.visibility.information.prefixes == PrefixKnowledge::Exact && !facts.blocks.is_empty() {
            facts.exact_cached = Some(cached_tokens(job, servers));
        }
        self.handle(now, job.router, Event::Arrived { request: job.id, facts }, actions)
    }

    /// Declares an adapter before the first request for it: engines list their adapters.
    fn declare(&mut self, now: Time, adapter: u32, actions: &mut Vec<Action>) -> Result<(), Broken> {
        let index = adapter as usize;
        if self.adapters.len() <= index {
            self.adapters.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.adapters[index], true) {
            return Ok(());
        }
        self.broadcast(now, &Event::AdaptersDeclared { adapters: vec![adapter_key(adapter)] }, actions)
    }

    /// A router received a part of a response.
    pub(super) fn response_update(
        &mut self,
        now: Time,
        job: &ActiveJob,
        update: ResponseUpdate,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        let request = job.id;
        let observed = self.visibility.observes_tokens(&job.spec);
        let event = match update {
            ResponseUpdate::FirstToken if observed => Event::FirstToken { request },
            ResponseUpdate::Progress(output_tokens) if observed => Event::Progress { request, output_tokens },
            ResponseUpdate::FirstToken | ResponseUpdate::Progress(_) => return Ok(()),
            ResponseUpdate::Finished { cached } => {
                let usage = self.visibility.usage(&job.spec, cached);
                Event::Finished { request, completion: Completion::Complete, usage }
            }
            ResponseUpdate::Failed(cause) => Self::failure(job, cause),
        };
        self.handle(now, job.router, event, actions)
    }

    /// A failed attempt may be retried as long as no token arrived.
    fn failure(job: &ActiveJob, cause: FailureCause) -> Event {
        let request = job.id;
        match job.engine {
            Some(engine) if job.first_token.is_none() => {
                Event::AttemptFailed { request, endpoint: EndpointId(engine), cause, retry: true }
            }
            Some(_) | None => {
                let broken = if cause == FailureCause::Lost { FailureCause::Truncated } else { cause };
                let completion = Completion::Broken(broken);
                Event::Finished { request, completion, usage: Usage::default() }
            }
        }
    }
}

/// Tokens of a prompt in the prefix cache of each engine that has any.
fn cached_tokens(job: &ActiveJob, servers: &[Server]) -> Arc<[(EndpointId, u32)]> {
    let job = &job.spec;
    let cached = |server: &Server| server.engine.cached_tokens(&job.hashes, job.prompt_tokens);
    let all = servers.iter().map(cached).zip(0..);
    all.filter(|(tokens, _)| *tokens > 0).map(|(tokens, engine)| (EndpointId(engine), tokens)).collect()
}

fn action(router: u32, effect: &Effect) -> Option<Action> {
    match *effect {
        Effect::Dispatch { request, endpoint, .. } => Some(Action::Send { request, to: endpoint.0 }),
        Effect::Reject { request, rejection } => {
            let saturated = matches!(rejection, Rejection::Saturated { .. });
            let end = if saturated { End::Rejected } else { End::Failed };
            Some(Action::End { request, end })
        }
        Effect::WakeAt(at) => Some(Action::WakeAt { router, at }),
        Effect::HealthChanged { endpoint, health } => {
            let ejected = matches!(health, Health::Ejected(_));
            Some(Action::Probe { router, engine: endpoint.0, ejected })
        }
        Effect::EndpointGone { endpoint } => Some(Action::EndpointGone { router, engine: endpoint.0 }),
    }
}

/// How much of a job a router sees.
#[derive(Debug)]
struct Visibility {
    information: Information,
    /// Tokens per KV block of the engines.
    engine_block: u32,
    no_hashes: Arc<[BlockHash]>,
}

impl Visibility {
    fn new(scenario: &Scenario) -> Self {
        Self {
            information: scenario.information.clone(),
            engine_block: scenario.fleet.first().map_or(0, |engine| engine.profile.block_size),
            no_hashes: Arc::from([]),
        }
    }

    fn observes_tokens(&self, job: &Job) -> bool {
        self.information.tokens_seen && job.streamed
    }

    fn facts(&self, job: &Job) -> RequestFacts {
        let blocks = self.blocks(job);
        RequestFacts {
            pool: POOL,
            target: job.adapter.map(adapter_key),
            priority: job.priority,
            prompt_tokens: job.prompt_tokens,
            block_tokens: if blocks.is_empty() { 0 } else { self.information.block_tokens },
            blocks,
            exact_cached: None,
            max_output_tokens: job.max_output_tokens,
            observes_tokens: self.observes_tokens(job),
            subset: None,
        }
    }

    /// Hashes of the prompt's blocks at the router's block size. Hashes are chained, so the hash of the last engine block
    /// in a router's block identifies all of it.
    fn blocks(&self, job: &Job) -> Arc<[BlockHash]> {
        let hashed = self.information.prefixes != PrefixKnowledge::Unknown;
        if !hashed || job.hashes.is_empty() || self.engine_block == 0 {
            return Arc::clone(&self.no_hashes);
        }
        let stride = (self.information.block_tokens / self.engine_block).max(1) as usize;
        let blocks = ((job.prompt_tokens / self.engine_block) as usize).min(job.hashes.len());
        if stride == 1 && blocks == job.hashes.len() {
            return Arc::clone(&job.hashes);
        }
        job.hashes[..blocks].iter().skip(stride - 1).step_by(stride).copied().collect()
    }

    /// Token usage as the router learns it: from the response's `usage`, else from counting streamed tokens.
    fn usage(&self, job: &Job, cached: u32) -> Usage {
        let counted = self.information.usage_seen || self.observes_tokens(job);
        Usage {
            prompt_tokens: self.information.usage_seen.then_some(job.prompt_tokens),
            cached_tokens: self.information.usage_seen.then_some(cached),
            output_tokens: counted.then_some(job.output_tokens),
        }
    }
}
