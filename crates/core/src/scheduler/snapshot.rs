//! Snapshots of the scheduler's state, for debug pages and metrics.

use serde::{Deserialize, Serialize};

use super::Scheduler;
use super::cache::PrefixCaches;
use crate::capacity::Capacity;
use crate::cast::count;
use crate::endpoint::Health;
use crate::endpoints::Endpoint;
use crate::gauge::Gauge;
use crate::ids::{EndpointId, ModelKey, PoolId, PoolSet};
use crate::policy::{PoolPolicy, SaturationLimits};
use crate::prefix::Cache;
use crate::rates::{CurrentRates, Factor, Source};
use crate::time::{Time, seconds};

/// The scheduler's state, with ages in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerSnapshot {
    /// Requests that have not ended.
    pub requests: usize,
    /// The estimates that the endpoints share.
    pub fleet: FleetSnapshot,
    /// The InferencePools, in ascending order.
    pub pools: Vec<PoolSnapshot>,
    /// The endpoints, in ascending order.
    pub endpoints: Vec<EndpointSnapshot>,
}

/// The estimates that the endpoints share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetSnapshot {
    /// Running mean of the output length, in tokens.
    pub mean_output_tokens: f64,
    /// Seconds per decode step without load.
    pub step_base_seconds: f64,
    /// Seconds per decode step added by each request in the batch, the prefill of its prompt included.
    pub step_seconds_per_request: f64,
    /// Seconds per decode step added by each token of context in the batch.
    pub step_seconds_per_context_token: f64,
    /// Seconds of prefill per prompt token.
    pub seconds_per_prompt_token: f64,
    /// Seconds to load an adapter.
    pub adapter_load_seconds: f64,
}

/// An InferencePool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// The InferencePool.
    pub id: PoolId,
    /// Its policy.
    pub policy: PoolPolicy,
    /// Its present state.
    pub gauges: PoolGauges,
}

/// The present state of an InferencePool, cheap to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolGauges {
    /// Endpoints that are ready: neither draining nor ejected.
    pub ready_endpoints: usize,
    /// Requests in flight on all its endpoints, ready or not.
    pub in_flight: u64,
    /// Mean KV use over the ready endpoints whose gauges are fresh.
    pub average_kv_use: Option<f64>,
    /// Mean number of waiting requests over the ready endpoints whose gauges are fresh.
    pub average_waiting: Option<f64>,
    /// Whether all ready endpoints are saturated.
    pub saturated: bool,
    /// Bytes of the prefix index, which all InferencePools of the scheduler share.
    pub prefix_index_bytes: usize,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSnapshot {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The InferencePools that select it.
    pub pools: PoolSet,
    /// Its health.
    pub health: Health,
    /// Requests in flight there.
    pub in_flight: u32,
    /// Prompt tokens dispatched there and not yet prefilled: *P*.
    pub pending_tokens: u64,
    /// Tokens of context of the requests in flight.
    pub context_tokens: u64,
    /// Prompt tokens prefilled per second: *R*.
    pub prefill_rate: Estimate,
    /// Seconds per output token at its present load: *s*.
    pub step_seconds: Estimate,
    /// Its prefix cache.
    pub prefix_cache: PrefixCacheSnapshot,
    /// The latest reading of its gauges.
    pub reading: Option<ReadingSnapshot>,
    /// Most requests in flight at which it was seen unsaturated.
    pub most_in_flight_unsaturated: Option<u32>,
    /// Fewest requests in flight at which it was seen saturated.
    pub fewest_in_flight_saturated: Option<u32>,
    /// Adapter slots.
    pub adapter_slots: usize,
    /// Adapters assumed to be resident, most recently used last.
    pub adapters: Vec<ModelKey>,
}

/// The model of an endpoint's prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixCacheSnapshot {
    /// Number of blocks, those of outputs included.
    pub blocks: u32,
    /// Assumed capacity in tokens, requests in flight included.
    pub capacity_tokens: f64,
    /// Weight of an expected cached token, 0 to 1, after the engine's reports.
    pub trust: f64,
    /// Mean expected cached share of a prompt, over the latest requests that could be compared.
    pub expected_share: Option<f64>,
    /// Mean cached share of a prompt that the engine reported for them.
    pub reported_share: Option<f64>,
}

/// A learned estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The origin of the latest measurement.
    pub source: Source,
    /// The age of that measurement; `None` if the endpoint has none of its own.
    pub age_seconds: Option<f64>,
    /// Ratio of the endpoint's times to the mean of all endpoints.
    pub slowness: f64,
}

/// A reading of an engine's gauges, uncorrected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadingSnapshot {
    /// Seconds since it was taken.
    pub age_seconds: f64,
    /// Whether it is fresh.
    pub fresh: bool,
    /// Requests running.
    pub running: Option<u32>,
    /// Requests waiting.
    pub waiting: Option<u32>,
    /// Waiting requests that wait for an adapter slot.
    pub deferred: Option<u32>,
    /// Use of the KV cache, 0 to 1.
    pub kv_use: Option<f64>,
    /// Number of KV blocks.
    pub kv_blocks: Option<u32>,
    /// Tokens per KV block.
    pub block_size: Option<u32>,
    /// Tokens that the KV cache holds, where the engine states it.
    #[serde(default)]
    pub kv_tokens: Option<u32>,
    /// `max_num_seqs` slots.
    pub max_running: Option<u32>,
    /// Requests in it that other routers sent.
    pub foreign: f64,
}

/// A snapshot that is taken in steps, so that no single one takes long: with ten thousand endpoints a whole snapshot takes
/// ten milliseconds. Each endpoint is as it was at its step.
#[derive(Clone, Debug, Default)]
pub struct SnapshotInSteps {
    snapshot: Option<SchedulerSnapshot>,
    /// Sums over the endpoints so far, for each pool of the snapshot.
    sums: Vec<GaugeSums>,
    complete: bool,
}

/// Sums over the endpoints of one pool.
#[derive(Clone, Copy, Debug, Default)]
struct GaugeSums {
    ready: usize,
    in_flight: u64,
    kv_use: (f64, u32),
    waiting: (f64, u32),
    unsaturated: usize,
}

impl GaugeSums {
    fn add(&mut self, endpoint: &Endpoint, limits: &SaturationLimits, now: Time) {
        self.in_flight += u64::from(endpoint.in_flight());
        if !endpoint.is_ready() {
            return;
        }
        self.ready += 1;
        self.unsaturated += usize::from(!Capacity::of(endpoint, now).is_saturated(limits));
        let report = endpoint.fresh_gauge(now).map(|gauge| &gauge.report);
        let add = |sum: &mut (f64, u32), value: Option<f64>| {
            if let Some(value) = value {
                *sum = (sum.0 + value, sum.1 + 1);
            }
        };
        add(&mut self.kv_use, report.and_then(|report| report.kv_use));
        add(&mut self.waiting, report.and_then(|report| report.waiting).map(f64::from));
    }

    fn gauges(&self, prefix_index_bytes: usize) -> PoolGauges {
        let mean = |(sum, count): (f64, u32)| (count > 0).then(|| sum / f64::from(count));
        PoolGauges {
            ready_endpoints: self.ready,
            in_flight: self.in_flight,
            average_kv_use: mean(self.kv_use),
            average_waiting: mean(self.waiting),
            saturated: self.ready > 0 && self.unsaturated == 0,
            prefix_index_bytes,
        }
    }
}

impl SnapshotInSteps {
    /// Whether every endpoint is in it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The snapshot, once it is complete.
    #[must_use]
    pub fn finish(self) -> Option<SchedulerSnapshot> {
        self.snapshot.filter(|_| self.complete)
    }
}

impl Scheduler {
    /// The scheduler's state at this moment.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> SchedulerSnapshot {
        let mut steps = SnapshotInSteps::default();
        self.snapshot_step(now, &mut steps, usize::MAX);
        steps.snapshot.unwrap_or_else(|| self.snapshot_without_endpoints(now))
    }

    /// Adds up to `most` further endpoints to a snapshot, in ascending order of their ids.
    pub fn snapshot_step(&self, now: Time, steps: &mut SnapshotInSteps, most: usize) {
        let SnapshotInSteps { snapshot, sums, complete } = steps;
        let taken = snapshot.get_or_insert_with(|| self.snapshot_without_endpoints(now));
        sums.resize(taken.pools.len(), GaugeSums::default());
        let all = &self.endpoints.all;
        let start = taken
            .endpoints
            .last()
            .map_or(0, |last| all.partition_point(|endpoint| endpoint.id <= last.endpoint));
        let end = start.saturating_add(most).min(all.len());
        // At once, so that no later step moves what is there.
        taken.endpoints.reserve(all.len() - start);
        let rates = self.rates.current(now);
        for endpoint in &all[start..end] {
            taken.endpoints.push(snapshot_of(endpoint, &rates, &self.prefixes));
            for (pool, sums) in taken.pools.iter().zip(sums.iter_mut()) {
                if endpoint.spec.pools.contains(pool.id) {
                    sums.add(endpoint, &pool.policy.saturation, now);
                }
            }
        }
        *complete = end == all.len();
        if *complete {
            for (pool, sums) in taken.pools.iter_mut().zip(sums.iter()) {
                pool.gauges = sums.gauges(self.prefixes.index.bytes());
            }
        }
    }

    fn snapshot_without_endpoints(&self, now: Time) -> SchedulerSnapshot {
        let rates = self.rates.current(now);
        let pools = self.pools.iter().map(|state| PoolSnapshot {
            id: state.id,
            policy: state.policy.clone(),
            gauges: PoolGauges::default(),
        });
        SchedulerSnapshot {
            requests: self.requests.len(),
            fleet: FleetSnapshot {
                mean_output_tokens: rates.output,
                step_base_seconds: rates.base * rates.decode,
                step_seconds_per_request: rates.per_request * rates.decode,
                step_seconds_per_context_token: rates.per_context * rates.decode,
                seconds_per_prompt_token: rates.per_prompt_token * rates.prefill,
                adapter_load_seconds: rates.adapter_load,
            },
            pools: pools.collect(),
            endpoints: Vec::new(),
        }
    }

    /// The present state of an InferencePool.
    #[must_use]
    pub fn gauges(&self, now: Time, pool: PoolId) -> PoolGauges {
        let known = self.pools.iter().find(|state| state.id == pool);
        let limits = known.map(|state| state.policy.saturation).unwrap_or_default();
        let mut sums = GaugeSums::default();
        for endpoint in self.endpoints.all.iter().filter(|endpoint| endpoint.spec.pools.contains(pool)) {
            sums.add(endpoint, &limits, now);
        }
        sums.gauges(self.prefixes.index.bytes())
    }
}

fn snapshot_of(endpoint: &Endpoint, rates: &CurrentRates, prefixes: &PrefixCaches) -> EndpointSnapshot {
    let now = rates.now;
    let step = rates.step(&endpoint.speed, f64::from(endpoint.in_flight()), count(endpoint.context()));
    let rate = 1.0 / rates.seconds_per_prompt_token(&endpoint.speed);
    EndpointSnapshot {
        endpoint: endpoint.id,
        pools: endpoint.spec.pools,
        health: endpoint.public_health(),
        in_flight: endpoint.in_flight(),
        pending_tokens: endpoint.prefill.tokens(),
        context_tokens: endpoint.context(),
        prefill_rate: estimate(
            now,
            rate,
            &endpoint.speed.prefill,
            rates.slowness_of_prefill(&endpoint.speed),
        ),
        step_seconds: estimate(now, step, &endpoint.speed.decode, rates.slowness_of_decode(&endpoint.speed)),
        prefix_cache: prefix_cache(&endpoint.cache, prefixes),
        reading: endpoint.gauge.as_ref().map(|gauge| reading(now, gauge)),
        most_in_flight_unsaturated: endpoint.most_unsaturated,
        fewest_in_flight_saturated: endpoint.least_saturated,
        adapter_slots: endpoint.adapters.capacity(),
        adapters: endpoint.adapters.resident().collect(),
    }
}

fn prefix_cache(cache: &Cache, prefixes: &PrefixCaches) -> PrefixCacheSnapshot {
    let means = cache.agreement.means();
    PrefixCacheSnapshot {
        blocks: cache.holder.map_or(0, |holder| prefixes.index.blocks(holder)),
        capacity_tokens: cache.capacity(),
        trust: cache.trust(&prefixes.agreement),
        expected_share: means.map(|(expected, _)| expected),
        reported_share: means.map(|(_, reported)| reported),
    }
}

fn reading(now: Time, gauge: &Gauge) -> ReadingSnapshot {
    ReadingSnapshot {
        age_seconds: seconds(now.since(gauge.report.taken)),
        fresh: gauge.is_fresh(now),
        running: gauge.report.running,
        waiting: gauge.report.waiting,
        deferred: gauge.report.deferred,
        kv_use: gauge.report.kv_use,
        kv_blocks: gauge.report.kv_blocks,
        block_size: gauge.report.block_size,
        kv_tokens: gauge.report.kv_tokens,
        max_running: gauge.report.max_running,
        foreign: gauge.foreign,
    }
}

fn estimate(now: Time, value: f64, factor: &Factor, slowness: f64) -> Estimate {
    let age_seconds = factor.updated().map(|updated| seconds(now.since(updated)));
    Estimate { value, source: factor.source, age_seconds, slowness }
}
