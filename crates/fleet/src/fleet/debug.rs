//! Snapshots of the state for debug pages and gauges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{EndpointSnapshot, Health, SchedulerSnapshot, Time};
use pointsman_telemetry::{EndpointSample, PoolSample};
use serde_json::{Value, json};

use super::{Fleet, Shared};
use crate::endpoint::PoolEndpoint;
use crate::generation::{Generation, PoolHandle};

/// Registers the gauges, which are read at each scrape of the process's own metrics.
pub(super) fn register(shared: &Arc<Shared>) {
    // The metrics outlive the fleet and must not keep it alive.
    let fleet = Arc::downgrade(shared);
    let collect = move || fleet.upgrade().map(|shared| samples(&shared.current.load())).unwrap_or_default();
    shared.metrics.register_collector(Box::new(collect));
}

impl Fleet {
    /// All pools and endpoints with every fact that the core holds about them, and its age.
    #[must_use]
    pub fn debug_pools(&self) -> Value {
        let generation = self.shared.current.load();
        let states = states(&generation);
        let describe = |pool: &Arc<PoolHandle>| {
            let (now, state) = states.get(&pool.scheduler.number)?;
            Some(describe_pool(pool, state, *now))
        };
        let pools: Vec<_> = generation.pools.iter().filter_map(describe).collect();
        json!({ "generation": generation.number, "problems": generation.problems, "pools": pools })
    }

    /// The latest placement decisions, with the candidates of each, their costs and the terms of the costs; of one request
    /// only, by its number or its client's ID, where `request` names it. `None` where none are kept
    /// ([`FleetOptions::decisions`](crate::FleetOptions::decisions)).
    #[must_use]
    pub fn debug_decisions(&self, request: Option<&str>) -> Option<Value> {
        let decisions = self.shared.decisions.as_ref()?;
        Some(decisions.to_json(request, self.shared.clock.now()))
    }

    /// The state of all endpoints. An endpoint of several pools is listed once for each.
    #[must_use]
    pub fn endpoint_samples(&self) -> Vec<EndpointSample> {
        samples(&self.shared.current.load()).into_iter().flat_map(|pool| pool.endpoints).collect()
    }
}

/// The state of each scheduler by its number, and the time of that state.
type States = BTreeMap<u32, (Time, SchedulerSnapshot)>;

fn states(generation: &Generation) -> States {
    let mut states = States::new();
    for pool in &generation.pools {
        states.entry(pool.scheduler.number).or_insert_with(|| pool.scheduler.snapshot());
    }
    states
}

/// The pool's endpoints with the core's facts about each.
fn endpoints<'a>(
    pool: &'a PoolHandle,
    state: &'a SchedulerSnapshot,
) -> impl Iterator<Item = (&'a PoolEndpoint, &'a EndpointSnapshot)> {
    pool.endpoints.iter().filter_map(|endpoint| {
        let position = state.endpoints.binary_search_by_key(&endpoint.id, |other| other.endpoint).ok()?;
        Some((&**endpoint, state.endpoints.get(position)?))
    })
}

fn describe_pool(pool: &PoolHandle, state: &SchedulerSnapshot, now: Time) -> Value {
    let policy = state.pools.iter().find(|policy| policy.id == pool.pool_id);
    let endpoints = endpoints(pool, state).map(|(endpoint, core)| describe_endpoint(endpoint, core, now));
    json!({
        "name": pool.name.to_string(),
        "scheduler": pool.scheduler.number,
        "requests": state.requests,
        "policy": policy.map(|policy| &policy.policy),
        "gauges": policy.map(|policy| policy.gauges),
        "fleet": state.fleet,
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// The core's facts, with the fleet's own and the names that the core does not know.
fn describe_endpoint(endpoint: &PoolEndpoint, core: &EndpointSnapshot, now: Time) -> Value {
    let mut facts = serde_json::to_value(core).unwrap_or_default();
    let evidence = &endpoint.activity.evidence;
    let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let models: Vec<_> = endpoint
        .served
        .list()
        .iter()
        .map(|model| json!({ "id": &*model.id, "parent": model.parent.as_deref() }))
        .collect();
    if let Value::Object(facts) = &mut facts {
        facts.insert("address".into(), (&*endpoint.authority).into());
        facts.insert("last_byte_age_ms".into(), milliseconds(now.since(evidence.last_byte())).into());
        facts.insert("p99_gap_ms".into(), evidence.p99_gap().map(milliseconds).into());
        facts.insert("failed_probes".into(), evidence.failed_probes().into());
        facts.insert("models".into(), models.into());
    }
    facts
}

fn samples(generation: &Generation) -> Vec<PoolSample> {
    let states = states(generation);
    let sample = |pool: &Arc<PoolHandle>| Some(sample_pool(pool, &states.get(&pool.scheduler.number)?.1));
    generation.pools.iter().filter_map(sample).collect()
}

fn sample_pool(pool: &PoolHandle, state: &SchedulerSnapshot) -> PoolSample {
    let policy = state.pools.iter().find(|policy| policy.id == pool.pool_id);
    PoolSample {
        pool: pool.series.name().into(),
        saturated: policy.is_some_and(|policy| policy.gauges.saturated),
        endpoints: endpoints(pool, state).map(|(endpoint, core)| sample_endpoint(endpoint, core)).collect(),
    }
}

fn sample_endpoint(endpoint: &PoolEndpoint, core: &EndpointSnapshot) -> EndpointSample {
    let fresh = core.reading.filter(|reading| reading.fresh);
    EndpointSample {
        endpoint: Arc::clone(&endpoint.authority),
        ready: matches!(core.health, Health::Ready),
        in_flight: core.in_flight,
        pending_tokens: core.pending_tokens,
        waiting: fresh.and_then(|reading| reading.waiting),
        running: fresh.and_then(|reading| reading.running),
        kv_use: fresh.and_then(|reading| reading.kv_use),
        metrics_age: core.reading.and_then(|reading| Duration::try_from_secs_f64(reading.age_seconds).ok()),
        metrics_fresh: fresh.is_some(),
    }
}
