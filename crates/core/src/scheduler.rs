//! The scheduler: events in, effects out.

mod blame;
mod cache;
mod choice;
mod endpoints;
#[cfg(test)]
mod failures;
mod invariants;
mod place;
mod requests;
mod sample;
mod snapshot;

use serde::{Deserialize, Serialize};

pub use invariants::InvariantBroken;
pub use snapshot::{
    EndpointSnapshot, Estimate, FleetSnapshot, PoolGauges, PoolSnapshot, PrefixCacheSnapshot,
    ReadingSnapshot, SchedulerSnapshot, SnapshotInSteps,
};

use crate::adapters::KnownAdapters;
use crate::endpoints::Endpoints;
use crate::event::{Effect, Event};
use crate::ids::PoolId;
use crate::placement::{Candidate, Rule};
use crate::policy::PoolPolicy;
use crate::rates::Rates;
use crate::requests::Requests;
use crate::retry::Retries;
use crate::time::Time;
use pointsman_random::Rng;

/// How a scheduler starts. With its events this is all that is needed to replay a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchedulerConfig {
    /// The seed of its random numbers.
    pub seed: u64,
    /// Whether each dispatch carries a [`Decision`](crate::Decision).
    pub decisions: bool,
}

/// The state machine of one InferencePool, or of several that share endpoints.
///
/// It never fails and never panics: events about unknown requests or endpoints are ignored.
#[derive(Clone, Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    rng: Rng,
    endpoints: Endpoints,
    requests: Requests,
    /// In ascending order of their ids.
    pools: Vec<PoolState>,
    rates: Rates,
    known_adapters: KnownAdapters,
    prefixes: cache::PrefixCaches,
    /// A buffer that is reused from decision to decision.
    candidates: Vec<Candidate>,
    /// Whether a decision compares all endpoints of a large fleet, too.
    compares_all: bool,
}

/// The state of one InferencePool.
#[derive(Clone, Debug)]
struct PoolState {
    id: PoolId,
    policy: PoolPolicy,
    rule: Rule,
    retries: Retries,
    /// The share of its endpoints that prefill, in the mean over about the last fifty arrivals.
    prefill_busy: f64,
}

impl Scheduler {
    /// A scheduler without endpoints.
    #[must_use]
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            rng: Rng::seeded(config.seed),
            endpoints: Endpoints::default(),
            requests: Requests::default(),
            pools: Vec::new(),
            rates: Rates::default(),
            known_adapters: KnownAdapters::default(),
            prefixes: cache::PrefixCaches::new(config.seed),
            candidates: Vec::new(),
            compares_all: false,
        }
    }

    /// The same scheduler, but it compares all endpoints at each decision, however many there are: to measure what it costs
    /// to compare a sample.
    #[must_use]
    pub const fn comparing_all(mut self) -> Self {
        self.compares_all = true;
        self
    }

    /// Handles an event that happened at `now` and appends the effects to `effects`.
    ///
    /// `now` should not fall from one event to the next; where it does, no time passes.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::EndpointUp { endpoint, spec } => self.endpoint_up(endpoint, spec, effects),
            Event::EndpointDraining { endpoint } => self.endpoint_draining(endpoint, effects),
            Event::EndpointDown { endpoint } => self.endpoint_down(endpoint),
            Event::Load { endpoint, report } => self.load(now, endpoint, report),
            Event::Probed { endpoint, healthy } => self.probed(now, endpoint, healthy, effects),
            Event::Unreachable { endpoint } => self.unreachable(now, endpoint, effects),
            Event::PoolPolicyChanged { pool, policy } => {
                let state = self.pool_mut(pool);
                state.rule.change(&policy.placement);
                state.policy = policy;
            }
            Event::AdaptersDeclared { adapters } => self.known_adapters.extend(&adapters),
            Event::Arrived { request, facts } => self.arrived(now, request, facts, effects),
            Event::FirstToken { request } => self.first_token(now, request, effects),
            Event::Progress { request, output_tokens } => self.progress(now, request, output_tokens, effects),
            Event::AttemptFailed { request, endpoint, cause, retry } => {
                self.attempt_failed(now, request, (endpoint, cause), retry, effects);
            }
            Event::ErrorAnswered { request, cause } => self.error_answered(now, request, cause, effects),
            Event::ServedElsewhere { request, endpoint } => {
                self.served_elsewhere(now, request, endpoint, effects);
            }
            Event::Finished { request, completion, usage } => {
                self.finished(now, request, completion, usage, effects);
            }
            Event::Aborted { request } => self.aborted(now, request, effects),
            Event::Timer => self.timer(now, effects),
        }
        self.capacity_changed(effects);
    }

    /// The end of every event, since nearly every event can free capacity or take it away.
    fn capacity_changed(&mut self, effects: &mut Vec<Effect>) {
        while let Some(index) = self.endpoints.drained() {
            self.endpoints.all[index].cache.forget(&mut self.prefixes.index);
            let endpoint = self.endpoints.remove(index);
            effects.push(Effect::EndpointGone { endpoint });
        }
    }

    /// The state of an InferencePool. A new one has the default policy.
    fn pool_mut(&mut self, id: PoolId) -> &mut PoolState {
        let index = self.pool_index(id);
        &mut self.pools[index]
    }

    /// The index of an InferencePool's state in `pools`.
    fn pool_index(&mut self, id: PoolId) -> usize {
        match self.pools.binary_search_by_key(&id, |state| state.id) {
            Ok(index) => index,
            Err(index) => {
                let (policy, rule, retries) = Default::default();
                self.pools.insert(index, PoolState { id, policy, rule, retries, prefill_busy: 0.0 });
                index
            }
        }
    }
}
