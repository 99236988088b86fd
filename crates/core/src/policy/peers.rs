//! The parameters of other routers' rules.

use serde::{Deserialize, Serialize};

/// SGLang's `cache_aware`, with the defaults of its `RouterArgs` in 2025.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CacheAware {
    /// `cache_threshold`: where more of the prompt than this share is matched, the match decides; 0 to 1.
    pub cache_threshold: f64,
    /// `balance_abs_threshold`: loads further apart than this many requests are out of balance, if the next says so too.
    pub balance_abs_threshold: u32,
    /// `balance_rel_threshold`: a highest load above this multiple of the lowest is out of balance.
    pub balance_rel_threshold: f64,
}

impl CacheAware {
    /// Upstream's defaults.
    pub const SGLANG: Self =
        Self { cache_threshold: 0.3, balance_abs_threshold: 64, balance_rel_threshold: 1.5 };
}

impl Default for CacheAware {
    fn default() -> Self {
        Self::SGLANG
    }
}

/// Dynamo's KV router at temperature 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DynamoCost {
    /// `prefill_load_scale`: what a block to prefill counts beside a block in use. Not below 0.
    pub prefill_load_scale: f64,
}

impl DynamoCost {
    /// Upstream's defaults.
    pub const DYNAMO: Self = Self { prefill_load_scale: 1.0 };
}

impl Default for DynamoCost {
    fn default() -> Self {
        Self::DYNAMO
    }
}

/// Consistent hashing of the prompt's head with bounded load, as in KubeAI.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BoundedLoad {
    /// `meanLoadFactor` as a multiple: the most load of an endpoint relative to the mean. At least 1.
    pub load_factor: f64,
    /// How much of the prompt decides, in tokens; it is rounded up to whole blocks. At least 1.
    pub prefix_tokens: u32,
}

impl BoundedLoad {
    /// Points of an endpoint on the ring (KubeAI's `replication`).
    pub const REPLICATION: u32 = 256;

    /// Upstream's defaults; its 100 characters of the prompt make about 25 tokens.
    pub const KUBEAI: Self = Self { load_factor: 1.25, prefix_tokens: 25 };
}

impl Default for BoundedLoad {
    fn default() -> Self {
        Self::KUBEAI
    }
}
