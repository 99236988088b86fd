//! What an InferencePool says about placement. Closed: a new policy is a variant here and a file under `placement/`.

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
    /// How many attempts may be repeated.
    pub retry_budget: RetryBudget,
}

/// How an endpoint is chosen among those that are ready.
///
/// All but the default are other people's rules, each as its authors wrote it, for users who compare and migrate; the
/// file under `placement/` that carries one out names its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The least cost in seconds: the default, nothing to tune (`placement/least_cost.rs`).
    #[default]
    Pointsman,
    /// Each in turn.
    RoundRobin,
    /// Uniformly at random.
    Random,
    /// The fewest requests in flight from here; ties at random.
    LeastRequest,
    /// The better of two drawn at random, by requests in flight (Mitzenmacher 2001).
    TwoChoices,
    /// The filter tree of the Gateway API Inference Extension v0.3.0 (`pkg/epp/scheduling`), on scraped gauges.
    FilterTree,
    /// The weighted scorers of llm-d's EndpointPickerConfig, 2/2/3 where nothing else is said (`placement/blend.rs`).
    #[serde(rename = "llm-d-blend")]
    Blend(Blend),
    /// llm-d's rule of August 2026: stay with the prompt's holders until they are too far behind (`placement/sticky.rs`).
    StickyUntilSaturated(Affinity),
    /// SGLang's cache-aware router of 2025 (`placement/cache_aware.rs`).
    SglangCacheAware(CacheAware),
    /// The cost of Dynamo's KV router in blocks (`placement/dynamo_cost.rs`).
    DynamoCost(DynamoCost),
    /// The least prefill work left, *P + u* (`placement/least_prefill_work.rs`).
    Lpwl,
    /// The product of prefill work and batch, *(P + u)·(B + 1)* (`placement/lmetric.rs`).
    Lmetric,
    /// Consistent hashing of the prompt's head with bounded load (`placement/bounded_load_hash.rs`).
    BoundedLoadHash(BoundedLoad),
}

impl Placement {
    /// Every policy with its published parameters, in the order documents list them.
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

    /// The policy of that name, with its published parameters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placement| placement.as_str() == name)
    }
}

/// Beyond either limit, by a fresh gauge, an endpoint is saturated (the extension's defaults).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SaturationLimits {
    /// More waiting requests than this.
    pub waiting: u32,
    /// A larger share of the KV cache in use than this, 0 to 1.
    pub kv_use: f64,
}

impl Default for SaturationLimits {
    fn default() -> Self {
        Self { waiting: 5, kv_use: 0.8 }
    }
}

/// How many attempts may be repeated: a share of the requests that came, and always a few, so that an outage is
/// not multiplied and a quiet pool can still repeat one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// Repeats per request that arrived, 0 to 1, over about ten seconds.
    pub ratio: f64,
    /// Repeats per second that are always allowed.
    pub min_per_second: u32,
    /// Attempts per request, the first one included.
    pub max_attempts: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 10, max_attempts: 3 }
    }
}
