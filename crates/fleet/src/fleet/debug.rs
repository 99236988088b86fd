//! Snapshots of the state for debug pages and gauges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// A JSON value with spans in seconds, in fields named so, and moments as timestamps. `wall` is the time of day at `now`.
fn readable(value: Value, now: Time, wall: SystemTime) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| readable(item, now, wall)).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| match (seconds(&value), &value) {
                (Some(seconds), _) if name.ends_with("_seconds") => (name, seconds.into()),
                (Some(seconds), _) => (format!("{name}_seconds"), seconds.into()),
                (None, Value::Number(moment)) if name == "until" => {
                    let moment = Time::from_nanos(moment.as_u64().unwrap_or_default());
                    let time = wall + moment.since(now) - now.since(moment);
                    (name, humantime::format_rfc3339_millis(time).to_string().into())
                }
                (None, _) => (name, readable(value, now, wall)),
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The seconds of a value that serde made of a [`Duration`].
fn seconds(value: &Value) -> Option<f64> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    let part = |name| fields.get(name).and_then(Value::as_u64);
    Some(Duration::new(part("secs")?, u32::try_from(part("nanos")?).ok()?).as_secs_f64())
}

fn describe_pool(pool: &PoolHandle, state: &SchedulerSnapshot, now: Time) -> Value {
    let policy = state.pools.iter().find(|policy| policy.id == pool.pool_id);
    let endpoints = endpoints(pool, state).map(|(endpoint, core)| describe_endpoint(endpoint, core, now));
    let described = json!({
        "name": pool.name.to_string(),
        "scheduler": pool.scheduler.number,
        "requests": state.requests,
        "policy": policy.map(|policy| &policy.policy),
        "gauges": policy.map(|policy| policy.gauges),
        "fleet": state.fleet,
        "endpoints": endpoints.collect::<Vec<_>>(),
    });
    readable(described, now, SystemTime::now())
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
        facts.insert("answers".into(), endpoint.activity.answers().into());
        facts.insert("reached".into(), endpoint.activity.reached().map(|reached| reached.to_string()).into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_seconds_and_moments_are_timestamps() {
        let raw = json!({
            "health": { "Ejected": { "until": 7_500_000_000_u64, "back_off": { "secs": 1, "nanos": 500_000_000 } } },
            "age_seconds": { "secs": 2, "nanos": 0 },
            "models": [{ "id": "m" }],
            "requests": 3,
        });
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let found = readable(raw, Time::from_nanos(5_000_000_000), wall);
        let expected = json!({
            "health": { "Ejected": { "until": "1970-01-01T00:16:42.500Z", "back_off_seconds": 1.5 } },
            "age_seconds": 2.0,
            "models": [{ "id": "m" }],
            "requests": 3,
        });
        assert_eq!(found, expected);
    }
}
