//! Pointsman's own core as the routers of a run: one pool, or one for each router that shares nothing.

use std::sync::Arc;

use pointsman_core::{
    BlockHash, Completion, Effect, EndpointId, EndpointSpec, Event, FailureCause, Health, InvariantBroken,
    LoadReport, PoolId, PoolPolicy, PoolSet, RequestFacts, Scheduler, SchedulerConfig, Time, Usage,
};

use super::agenda::{Member, News};
use super::flights::Flight;
use super::servers::{Server, adapter_key, draw};
use super::{Broken, Order};
use crate::scenario::{Prefixes, Scenario};

const POOL: PoolId = PoolId(0);
const POOL_SALT: u64 = 0x706f_6f6c;

/// The routers' pools. Nothing is decided here: events go in, effects become orders.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Vec<Scheduler>,
    effects: Vec<Effect>,
    facts: FactsOf,
    /// Adapters that the engines list.
    adapters: Vec<bool>,
    checks: Checks,
}

/// How often the invariants are looked at.
#[derive(Debug)]
struct Checks {
    every: u64,
    events: u64,
}

impl Pools {
    pub(super) fn new(count: u32, policy: &PoolPolicy, scenario: &Scenario, seed: u64, check: u64) -> Self {
        let pool = |router: u32| {
            let seed = draw(seed, POOL_SALT, u64::from(router));
            Scheduler::new(SchedulerConfig { seed, decisions: false })
        };
        let mut pools = Self {
            pools: (0..count).map(pool).collect(),
            effects: Vec::new(),
            facts: FactsOf::new(scenario),
            adapters: Vec::new(),
            checks: Checks { every: check, events: 0 },
        };
        for pool in &mut pools.pools {
            let event = Event::PoolPolicyChanged { pool: POOL, policy: policy.clone() };
            pool.handle(Time::ZERO, event, &mut pools.effects);
        }
        pools
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.pools.len()).unwrap_or(u32::MAX)
    }

    /// Whether any job asked for an adapter so far.
    pub(super) fn has_adapters(&self) -> bool {
        !self.adapters.is_empty()
    }

    fn tell(&mut self, now: Time, router: u32, event: Event, orders: &mut Vec<Order>) -> Result<(), Broken> {
        let Some(pool) = self.pools.get_mut(router as usize) else { return Ok(()) };
        pool.handle(now, event, &mut self.effects);
        for effect in self.effects.drain(..) {
            orders.extend(order(router, &effect));
        }
        self.checks.events += 1;
        if self.checks.every > 0 && self.checks.events.is_multiple_of(self.checks.every) {
            pool.check_invariants().map_err(|broken| self.checks.broken(now, broken))?;
        }
        Ok(())
    }

    pub(super) fn joined(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        for router in 0..self.count() {
            let spec = EndpointSpec { pools: PoolSet::of(POOL) };
            self.tell(now, router, Event::EndpointUp { endpoint: EndpointId(of), spec }, orders)?;
        }
        Ok(())
    }

    /// It takes nothing new.
    pub(super) fn draining(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        for router in 0..self.count() {
            self.tell(now, router, Event::EndpointDraining { endpoint: EndpointId(of) }, orders)?;
        }
        Ok(())
    }

    /// Nothing of this router's is there any more, and it is gone.
    pub(super) fn left(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        self.tell(now, router, Event::EndpointDown { endpoint: EndpointId(of) }, orders)
    }

    pub(super) fn probed(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        healthy: bool,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        self.tell(now, router, Event::Probed { endpoint: EndpointId(of), healthy }, orders)
    }

    pub(super) fn arrived(
        &mut self,
        now: Time,
        flight: &Flight,
        servers: &[Server],
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        if let Some(adapter) = flight.job.adapter {
            self.declare(now, adapter, orders)?;
        }
        let facts = self.facts.of(flight);
        if self.facts.exact && !facts.blocks.is_empty() {
            let event = Event::CachesRead { request: flight.id, cached: caches(flight, servers) };
            self.tell(now, flight.router, event, orders)?;
        }
        self.tell(now, flight.router, Event::Arrived { request: flight.id, facts }, orders)
    }

    /// Engines list their adapters; the routers know of one before the first request for it comes.
    fn declare(&mut self, now: Time, adapter: u32, orders: &mut Vec<Order>) -> Result<(), Broken> {
        let place = adapter as usize;
        if self.adapters.get(place).copied().unwrap_or(false) {
            return Ok(());
        }
        if self.adapters.len() <= place {
            self.adapters.resize(place + 1, false);
        }
        self.adapters[place] = true;
        for router in 0..self.count() {
            let event = Event::AdaptersDeclared { adapters: vec![adapter_key(adapter)] };
            self.tell(now, router, event, orders)?;
        }
        Ok(())
    }

    /// What is seen of a request's answer. `first_token` says whether its first token was seen before.
    pub(super) fn saw(
        &mut self,
        now: Time,
        flight: &Flight,
        news: News,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        let request = flight.id;
        let observed = self.facts.observes(flight);
        let event = match news {
            News::FirstToken if observed => Event::FirstToken { request },
            News::Progress(output_tokens) if observed => Event::Progress { request, output_tokens },
            News::FirstToken | News::Progress(_) => return Ok(()),
            News::Finished { cached } => {
                let usage = self.facts.usage(flight, cached);
                Event::Finished { request, completion: Completion::Complete, usage }
            }
            News::Failed(cause) => Self::failure(flight, cause),
        };
        self.tell(now, flight.router, event, orders)
    }

    /// An attempt is repeated as long as nothing of an answer came.
    fn failure(flight: &Flight, cause: FailureCause) -> Event {
        let request = flight.id;
        match flight.member {
            Some(member) if flight.first_token.is_none() => {
                Event::AttemptFailed { request, endpoint: EndpointId(member), cause, repeat: true }
            }
            Some(_) | None => {
                let broken = if cause == FailureCause::Lost { FailureCause::Truncated } else { cause };
                let completion = Completion::Broken(broken);
                Event::Finished { request, completion, usage: Usage::default() }
            }
        }
    }

    pub(super) fn read(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        report: LoadReport,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        self.tell(now, router, Event::Load { endpoint: EndpointId(of), report }, orders)
    }

    pub(super) fn wake(&mut self, now: Time, router: u32, orders: &mut Vec<Order>) -> Result<(), Broken> {
        self.tell(now, router, Event::Timer, orders)
    }
}

/// What each engine's cache holds of a prompt.
fn caches(flight: &Flight, servers: &[Server]) -> Vec<(EndpointId, u32)> {
    let job = &flight.job;
    let cached = |server: &Server| server.engine.cached_tokens(&job.hashes, job.prompt_tokens);
    let all = servers.iter().map(cached).zip(0..);
    all.filter(|(tokens, _)| *tokens > 0).map(|(tokens, of)| (EndpointId(of), tokens)).collect()
}

impl Checks {
    fn broken(&self, at: Time, broken: InvariantBroken) -> Broken {
        Broken { at, events: self.events, broken }
    }
}

fn order(router: u32, effect: &Effect) -> Option<Order> {
    match *effect {
        Effect::Dispatch { request, endpoint, .. } => Some(Order::Send { request, to: endpoint.0 }),
        Effect::Reject { request, rejection } => Some(Order::Reject { request, rejection }),
        Effect::WakeAt(at) => Some(Order::WakeAt { router, at }),
        Effect::HealthChanged { endpoint, health } => {
            let ejected = match health {
                Health::Ejected(_) => true,
                Health::Ready | Health::Draining | Health::OnTrial => false,
            };
            Some(Order::Probe { router, of: endpoint.0, ejected })
        }
        Effect::Evict { .. } => None,
    }
}

/// How a job looks to a router.
#[derive(Debug)]
struct FactsOf {
    tokens_seen: bool,
    usage_seen: bool,
    hashed: bool,
    /// Whether the true content of the caches is told.
    exact: bool,
    block_tokens: u32,
    /// Tokens in a block of the engines.
    engine_block: u32,
    none: Arc<[BlockHash]>,
}

impl FactsOf {
    fn new(scenario: &Scenario) -> Self {
        let information = &scenario.information;
        Self {
            tokens_seen: information.tokens_seen,
            usage_seen: information.usage_seen,
            exact: information.prefixes == Prefixes::Exact,
            hashed: information.prefixes != Prefixes::Unknown,
            block_tokens: information.block_tokens,
            engine_block: scenario.fleet.first().map_or(0, |member| member.profile.block_size),
            none: Arc::from([]),
        }
    }

    fn observes(&self, flight: &Flight) -> bool {
        self.tokens_seen && flight.job.streamed
    }

    fn of(&self, flight: &Flight) -> RequestFacts {
        let job = &flight.job;
        let blocks = self.blocks(flight);
        RequestFacts {
            pool: POOL,
            target: job.adapter.map(adapter_key),
            priority: job.priority,
            prompt_tokens: job.prompt_tokens,
            block_tokens: if blocks.is_empty() { 0 } else { self.block_tokens },
            blocks,
            max_output_tokens: job.max_output_tokens,
            observes_tokens: self.observes(flight),
            subset: None,
        }
    }

    /// The hashes of the prompt's blocks as the router cuts them: since hashes are chained, the hash of the last of
    /// the engine's blocks in a router's block stands for all of it.
    fn blocks(&self, flight: &Flight) -> Arc<[BlockHash]> {
        let job = &flight.job;
        if !self.hashed || job.hashes.is_empty() || self.engine_block == 0 {
            return Arc::clone(&self.none);
        }
        let stride = (self.block_tokens / self.engine_block).max(1) as usize;
        let blocks = ((job.prompt_tokens / self.engine_block) as usize).min(job.hashes.len());
        if stride == 1 && blocks == job.hashes.len() {
            return Arc::clone(&job.hashes);
        }
        job.hashes[..blocks].iter().skip(stride - 1).step_by(stride).copied().collect()
    }

    /// What the router learns of the tokens used: by the engine's word, else by its own count.
    fn usage(&self, flight: &Flight, cached: u32) -> Usage {
        let job = &flight.job;
        let counted = self.usage_seen || self.observes(flight);
        Usage {
            prompt_tokens: self.usage_seen.then_some(job.prompt_tokens),
            cached_tokens: self.usage_seen.then_some(cached),
            output_tokens: counted.then_some(job.output_tokens),
        }
    }
}
