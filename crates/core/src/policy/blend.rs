//! The parameters of `llm-d-blend`: one scheduling profile of an EndpointPickerConfig, as far as the scheduler has its
//! inputs.
//!
//! Names, formulas and defaults are those of llm-d-router at commit `ebab68792` (August 2026),
//! `pkg/epp/framework/plugins/scheduling`; the default weights are those of `pkg/epp/config/loader/defaults.go`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Weighted scorers, the filter before them and the picker after them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Blend {
    /// Weights of the scorers.
    pub weights: BlendWeights,
    /// Parameters of `prefix-cache-scorer`.
    pub prefix: PrefixScore,
    /// Parameters of `active-request-scorer`.
    pub active_request: ActiveRequestScore,
    /// `threshold` of `load-aware-scorer`: number of waiting requests at which its score is 0. At least 1.
    pub load_aware_threshold: u32,
    /// `queueThresholdTokens` of `token-load-scorer`: number of tokens at which its score is 0. At least 1.
    pub token_load_threshold: u64,
    /// `prefix-cache-affinity-filter`, if the profile has it.
    pub affinity: Option<Affinity>,
    /// How an endpoint is picked by score.
    pub picker: Picker,
}

impl Blend {
    /// The default profile of llm-d-router: queue 2, KV cache 2, prefix 3, highest score.
    pub const LLM_D: Self = Self {
        weights: BlendWeights {
            queue: 2.0,
            kv_cache_utilization: 2.0,
            prefix_cache: 3.0,
            ..BlendWeights::NONE
        },
        ..Self::EMPTY
    };

    /// A profile without scorers, each parameter at upstream's default.
    pub const EMPTY: Self = Self {
        weights: BlendWeights::NONE,
        prefix: PrefixScore { match_length_weight: 0.0, match_length_scale_tokens: 8_192 },
        active_request: ActiveRequestScore { idle_threshold: 0, max_busy_score: 1.0 },
        load_aware_threshold: 128,
        token_load_threshold: 4_194_304,
        affinity: None,
        picker: Picker::MaxScore,
    };
}

impl Default for Blend {
    fn default() -> Self {
        Self::LLM_D
    }
}

/// Factors of the scorers' results, which are 0 to 1; 0 for scorers that the profile lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BlendWeights {
    /// `queue-scorer`: few waiting requests, relative to the range among the candidates.
    pub queue: f64,
    /// `running-requests-size-scorer`: few running requests, relative to the range among the candidates.
    pub running_requests: f64,
    /// `kv-cache-utilization-scorer`: a free KV cache.
    pub kv_cache_utilization: f64,
    /// `prefix-cache-scorer`: a long cached prefix.
    pub prefix_cache: f64,
    /// `lora-affinity-scorer`: the adapter loaded, or a free slot for it.
    pub lora_affinity: f64,
    /// `load-aware-scorer`: few waiting requests, on a fixed scale.
    pub load_aware: f64,
    /// `active-request-scorer`: few of this router's requests in flight.
    pub active_request: f64,
    /// `token-load-scorer`: few of this router's uncached prompt tokens in flight.
    pub token_load: f64,
    /// `no-hit-lru-scorer`: for a prompt that is cached nowhere, the endpoint that least recently received such a prompt.
    pub no_hit_lru: f64,
}

impl BlendWeights {
    /// No scorer at all.
    pub const NONE: Self = Self {
        queue: 0.0,
        running_requests: 0.0,
        kv_cache_utilization: 0.0,
        prefix_cache: 0.0,
        lora_affinity: 0.0,
        load_aware: 0.0,
        active_request: 0.0,
        token_load: 0.0,
        no_hit_lru: 0.0,
    };
}

/// `prefix-cache-scorer`: `w·min(1, matched tokens/scale)² + (1 − w)·matched/total`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrefixScore {
    /// `matchLengthWeight`, *w*: 0 to 1.
    pub match_length_weight: f64,
    /// `matchLengthScaleTokens`: length of the match at which the length term is at its maximum. At least 1.
    pub match_length_scale_tokens: u32,
}

impl Default for PrefixScore {
    fn default() -> Self {
        Blend::EMPTY.prefix
    }
}

/// `active-request-scorer`: 1 while idle, else `(most − requests)/most·max_busy_score`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ActiveRequestScore {
    /// `idleThreshold`: most requests in flight of an idle endpoint.
    pub idle_threshold: u32,
    /// `maxBusyScore`: highest score of a busy endpoint, 0 to 1.
    pub max_busy_score: f64,
}

impl Default for ActiveRequestScore {
    fn default() -> Self {
        Blend::EMPTY.active_request
    }
}

/// `prefix-cache-affinity-filter`: keeps endpoints with most of the prompt cached, unless their queues are too long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Affinity {
    /// `affinityThreshold`: least cached share of the prompt, 0 to 1; 0 turns the filter off.
    pub threshold: f64,
    /// `maxTTFTPenaltyMs`: all endpoints are kept where the least loaded holder's queue takes longer than the least loaded
    /// other endpoint's by more than this; zero never keeps the others.
    pub max_ttft_penalty: Duration,
    /// `peakPrefillThroughput`: prompt tokens per second, to convert tokens in flight into a waiting time. Above 0.
    pub peak_prefill_throughput: f64,
    /// `explorationProbability`: probability that the filter keeps all endpoints; 0 to 1.
    pub exploration_probability: f64,
}

impl Affinity {
    /// Upstream's defaults. The rate is that of Qwen3-32B on two H100, measured by its authors.
    pub const LLM_D: Self = Self {
        threshold: 0.8,
        max_ttft_penalty: Duration::from_secs(18),
        peak_prefill_throughput: 15_928.0,
        exploration_probability: 0.0,
    };
}

impl Default for Affinity {
    fn default() -> Self {
        Self::LLM_D
    }
}

/// How an endpoint is picked by score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Picker {
    /// `max-score-picker`: the highest score; ties are broken at random.
    #[default]
    MaxScore,
    /// `weighted-random-picker`: at random with probabilities in proportion to the scores; uniformly where all are 0.
    WeightedRandom,
    /// `random-picker`: uniformly at random.
    Random,
}
