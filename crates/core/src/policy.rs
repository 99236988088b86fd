//! The policy of an InferencePool. A new placement rule is a variant here and a file under `placement/`.

mod blend;
mod peers;

use serde::{Deserialize, Serialize};

pub use blend::{ActiveRequestScore, Affinity, Blend, BlendWeights, Picker, PrefixScore};
pub use peers::{BoundedLoad, CacheAware, DynamoCost};

/// The policy of one InferencePool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolPolicy {
    /// How an endpoint is chosen.
    pub placement: Placement,
    /// When an endpoint counts as saturated.
    pub saturation: SaturationLimits,
    /// How many attempts may be retried.
    pub retry_budget: RetryBudget,
}

/// The placement rule: how an endpoint is chosen among those that are ready.
///
/// All but the default are rules of other routers as their authors wrote them, for users who compare or migrate. The file
/// under `placement/` that implements a rule names its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The least total delay in seconds, with nothing to tune: the default (`placement/least_cost.rs`).
    #[default]
    Pointsman,
    /// Round robin.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// The fewest of this router's requests in flight; ties are broken at random.
    LeastRequest,
    /// The better of two endpoints drawn at random, by requests in flight (Mitzenmacher 2001).
    TwoChoices,
    /// The filter tree of the Gateway API Inference Extension v0.3.0 (`pkg/epp/scheduling`), on scraped gauges.
    FilterTree,
    /// The weighted scorers of llm-d's EndpointPickerConfig, 2/2/3 by default (`placement/blend.rs`).
    #[serde(rename = "llm-d-blend")]
    Blend(Blend),
    /// llm-d's rule of August 2026: stay with endpoints that have the prompt cached until their queues are too long
    /// (`placement/sticky.rs`).
    StickyUntilSaturated(Affinity),
    /// SGLang's cache-aware router of 2025 (`placement/cache_aware.rs`).
    SglangCacheAware(CacheAware),
    /// The cost of Dynamo's KV router in blocks (`placement/dynamo_cost.rs`).
    DynamoCost(DynamoCost),
    /// The least prefill work left, *P + u* (`placement/least_prefill_work.rs`).
    Lpwl,
    /// The product of prefill work and batch, *(P + u)·(B + 1)* (`placement/lmetric.rs`).
    Lmetric,
    /// Consistent hashing of the prompt's first blocks with bounded load (`placement/bounded_load_hash.rs`).
    BoundedLoadHash(BoundedLoad),
}

impl Placement {
    /// Every rule with its published parameters, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Pointsman,
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequest,
        Self::TwoChoices,
        Self::FilterTree,
        Self::Blend(Blend::LLM_D),
        Self::StickyUntilSaturated(Affinity::LLM_D),
        Self::SglangCacheAware(CacheAware::SGLANG),
        Self::DynamoCost(DynamoCost::DYNAMO),
        Self::Lpwl,
        Self::Lmetric,
        Self::BoundedLoadHash(BoundedLoad::KUBEAI),
    ];

    /// The kebab-case name used in manifests, experiments and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pointsman => "pointsman",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastRequest => "least-request",
            Self::TwoChoices => "two-choices",
            Self::FilterTree => "filter-tree",
            Self::Blend(_) => "llm-d-blend",
            Self::StickyUntilSaturated(_) => "sticky-until-saturated",
            Self::SglangCacheAware(_) => "sglang-cache-aware",
            Self::DynamoCost(_) => "dynamo-cost",
            Self::Lpwl => "lpwl",
            Self::Lmetric => "lmetric",
            Self::BoundedLoadHash(_) => "bounded-load-hash",
        }
    }
}

/// Limits beyond either of which an endpoint is saturated, by a fresh gauge. The defaults are the extension's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SaturationLimits {
    /// Most waiting requests of an unsaturated endpoint.
    pub waiting: u32,
    /// Highest KV cache use of an unsaturated endpoint, 0 to 1.
    pub kv_use: f64,
}

impl Default for SaturationLimits {
    fn default() -> Self {
        Self { waiting: 5, kv_use: 0.8 }
    }
}

/// How many attempts may be retried: a share of the arrivals, so that retries do not multiply the load of an outage, and a
/// minimum rate, so that a pool with few requests can retry too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// Retries per arrived request, 0 to 1, over about ten seconds.
    pub ratio: f64,
    /// Retries per second that are always allowed.
    pub min_per_second: u32,
    /// Most attempts per request, the first one included.
    pub max_attempts: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 10, max_attempts: 3 }
    }
}

impl RetryBudget {
    /// Whether another attempt may ever follow this many.
    #[must_use]
    pub fn may_follow(&self, attempts: u32) -> bool {
        attempts < self.max_attempts && (self.ratio > 0.0 || self.min_per_second > 0)
    }
}
