//! The parameters of other routers' placement rules.

use serde::{Deserialize, Serialize};

/// SGLang's `cache_aware`, with the defaults of its `RouterArgs` in 2025.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CacheAware {
    /// `cache_threshold`: matched share of the prompt above which the match decides; 0 to 1.
    pub cache_threshold: f64,
    /// `balance_abs_threshold`: difference of loads, in requests, above which they may be out of balance.
    pub balance_abs_threshold: u32,
    /// `balance_rel_threshold`: ratio of the highest to the lowest load above which they may be. Both must be exceeded.
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
    /// `prefill_load_scale`: weight of a block to prefill relative to a block in use. Not below 0.
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

/// Consistent hashing of the prompt's first blocks with bounded load, as in KubeAI.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BoundedLoad {
    /// `meanLoadFactor` as a multiple: highest load of an endpoint relative to the mean. At least 1.
    pub load_factor: f64,
    /// Length of the hashed prefix in tokens, rounded up to whole blocks. At least 1.
    pub prefix_tokens: u32,
}

impl BoundedLoad {
    /// Points per endpoint on the ring (KubeAI's `replication`).
    pub const REPLICATION: u32 = 256;

    /// Upstream's defaults; its 100 characters of the prompt are about 25 tokens.
    pub const KUBEAI: Self = Self { load_factor: 1.25, prefix_tokens: 25 };
}

impl Default for BoundedLoad {
    fn default() -> Self {
        Self::KUBEAI
    }
}
