//! `placement`: a policy's name, or its name with parameters.

use std::ops::RangeInclusive;

use pointsman_core::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, BoundedLoad, CacheAware, DynamoCost, Picker,
    Placement, PrefixScore,
};

use crate::decode::{Field, Fields};
use crate::source::Value;

/// Scorers' weights, and factors: more than anybody means, and far from what rounding would spoil.
const FACTOR: RangeInclusive<f64> = 0.0..=1e6;

/// Reads `placement: NAME` or `placement: {name: NAME, …}`; what is not said has its published value.
pub(crate) fn read(field: &Field<'_>) -> Option<Placement> {
    match &field.node.value {
        Value::Map(_) => field.fields(read_with_parameters)?,
        Value::Scalar(_) | Value::List(_) => read_name(field),
    }
}

fn read_name(field: &Field<'_>) -> Option<Placement> {
    field.choice(&Placement::ALL.map(|placement| (placement.as_str(), placement)))
}

fn read_with_parameters(fields: &mut Fields<'_>) -> Option<Placement> {
    let name = fields.required("name", "write the policy's name");
    let placement = match name.and_then(|field| read_name(&field)) {
        Some(placement) => placement,
        None => {
            // Which parameters there may be is not known.
            fields.ignore_rest();
            return None;
        }
    };
    Some(read_parameters(placement, fields))
}

/// The parameters of a policy, which stand beside its name; what is not said has its published value.
pub fn read_parameters(placement: Placement, fields: &mut Fields<'_>) -> Placement {
    match placement {
        Placement::Pointsman
        | Placement::RoundRobin
        | Placement::Random
        | Placement::LeastRequest
        | Placement::TwoChoices
        | Placement::FilterTree
        | Placement::Lpwl
        | Placement::Lmetric => placement,
        Placement::Blend(_) => Placement::Blend(read_blend(fields)),
        Placement::StickyUntilSaturated(_) => Placement::StickyUntilSaturated(read_affinity(fields)),
        Placement::SglangCacheAware(_) => Placement::SglangCacheAware(read_cache_aware(fields)),
        Placement::DynamoCost(_) => {
            let scale = fields.get("prefillLoadScale").and_then(|f| f.number(FACTOR));
            let default = DynamoCost::DYNAMO;
            Placement::DynamoCost(DynamoCost {
                prefill_load_scale: scale.unwrap_or(default.prefill_load_scale),
            })
        }
        Placement::BoundedLoadHash(_) => Placement::BoundedLoadHash(read_bounded_load(fields)),
    }
}

fn read_cache_aware(fields: &mut Fields<'_>) -> CacheAware {
    let default = CacheAware::SGLANG;
    let cache = fields.get("cacheThreshold").and_then(|f| f.share());
    let absolute = fields.get("balanceAbsThreshold").and_then(|f| f.u32_from(0));
    let relative = fields.get("balanceRelThreshold").and_then(|f| f.number(1.0..=1e6));
    CacheAware {
        cache_threshold: cache.unwrap_or(default.cache_threshold),
        balance_abs_threshold: absolute.unwrap_or(default.balance_abs_threshold),
        balance_rel_threshold: relative.unwrap_or(default.balance_rel_threshold),
    }
}

fn read_bounded_load(fields: &mut Fields<'_>) -> BoundedLoad {
    let default = BoundedLoad::KUBEAI;
    let factor = fields.get("loadFactor").and_then(|f| f.number(1.0..=1e6));
    let tokens = fields.get("prefixTokens").and_then(|f| f.u32_from(1));
    BoundedLoad {
        load_factor: factor.unwrap_or(default.load_factor),
        prefix_tokens: tokens.unwrap_or(default.prefix_tokens),
    }
}

fn read_affinity(fields: &mut Fields<'_>) -> Affinity {
    let default = Affinity::LLM_D;
    let threshold = fields.get("affinityThreshold").and_then(|f| f.number(0.01..=1.0));
    let penalty = fields.get("maxTTFTPenalty").and_then(|f| f.duration());
    let throughput = fields.get("peakPrefillThroughput").and_then(|f| f.number(1.0..=1e9));
    let exploration = fields.get("explorationProbability").and_then(|f| f.share());
    Affinity {
        threshold: threshold.unwrap_or(default.threshold),
        max_ttft_penalty: penalty.unwrap_or(default.max_ttft_penalty),
        peak_prefill_throughput: throughput.unwrap_or(default.peak_prefill_throughput),
        exploration_probability: exploration.unwrap_or(default.exploration_probability),
    }
}

fn read_blend(fields: &mut Fields<'_>) -> Blend {
    let default = Blend::LLM_D;
    let affinity = fields.get("affinity").and_then(|f| f.fields(read_affinity));
    let pickers = [
        ("max-score", Picker::MaxScore),
        ("weighted-random", Picker::WeightedRandom),
        ("random", Picker::Random),
    ];
    let picker = fields.get("picker").and_then(|f| f.choice(&pickers)).unwrap_or(default.picker);
    let given = fields.get("weights");
    let weights = match (&given, picker) {
        (Some(field), _) => field.fields(read_weights).unwrap_or(default.weights),
        (None, Picker::Random) => BlendWeights::NONE,
        (None, Picker::MaxScore | Picker::WeightedRandom) => default.weights,
    };
    if let Some(field) = given.filter(Field::is_sound) {
        match (picker, weights == BlendWeights::NONE) {
            (Picker::Random, false) => {
                field.error("has no effect beside picker random", "remove one of the two");
            }
            (Picker::MaxScore | Picker::WeightedRandom, true) => {
                field.error("no scorer has a weight", "give one a weight above 0");
            }
            (Picker::Random, true) | (Picker::MaxScore | Picker::WeightedRandom, false) => {}
        }
    }
    let prefix = of_scorer(fields, "prefix", weights.prefix_cache);
    let active_request = of_scorer(fields, "activeRequest", weights.active_request);
    let load_aware = of_scorer(fields, "loadAwareThreshold", weights.load_aware).and_then(|f| f.u32_from(1));
    let token_load = of_scorer(fields, "tokenLoadThreshold", weights.token_load).and_then(|f| f.quantity());
    Blend {
        weights,
        prefix: prefix.and_then(|f| f.fields(read_prefix)).unwrap_or(default.prefix),
        active_request: active_request
            .and_then(|f| f.fields(read_active_request))
            .unwrap_or(default.active_request),
        load_aware_threshold: load_aware.unwrap_or(default.load_aware_threshold),
        token_load_threshold: token_load.unwrap_or(default.token_load_threshold),
        affinity,
        picker,
    }
}

/// A parameter of a scorer; where that has no weight it would have no effect.
fn of_scorer<'a>(fields: &mut Fields<'a>, name: &'static str, weight: f64) -> Option<Field<'a>> {
    let field = fields.get(name)?;
    if weight == 0.0 {
        field.error("has no effect: its scorer has no weight", "give the scorer a weight, or remove it");
    }
    Some(field)
}

fn read_weights(fields: &mut Fields<'_>) -> BlendWeights {
    let mut weight = |name| fields.get(name).and_then(|f| f.number(FACTOR)).unwrap_or(0.0);
    BlendWeights {
        queue: weight("queue"),
        running_requests: weight("runningRequests"),
        kv_cache_utilization: weight("kvCacheUtilization"),
        prefix_cache: weight("prefixCache"),
        lora_affinity: weight("loraAffinity"),
        load_aware: weight("loadAware"),
        active_request: weight("activeRequest"),
        token_load: weight("tokenLoad"),
        no_hit_lru: weight("noHitLru"),
    }
}

fn read_prefix(fields: &mut Fields<'_>) -> PrefixScore {
    let default = PrefixScore::default();
    let weight = fields.get("matchLengthWeight").and_then(|f| f.share());
    let scale = fields.get("matchLengthScaleTokens").and_then(|f| f.u32_from(1));
    PrefixScore {
        match_length_weight: weight.unwrap_or(default.match_length_weight),
        match_length_scale_tokens: scale.unwrap_or(default.match_length_scale_tokens),
    }
}

fn read_active_request(fields: &mut Fields<'_>) -> ActiveRequestScore {
    let default = ActiveRequestScore::default();
    let idle = fields.get("idleThreshold").and_then(|f| f.u32_from(0));
    let busy = fields.get("maxBusyScore").and_then(|f| f.share());
    ActiveRequestScore {
        idle_threshold: idle.unwrap_or(default.idle_threshold),
        max_busy_score: busy.unwrap_or(default.max_busy_score),
    }
}
