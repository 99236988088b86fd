//! `placement`: the name of a placement rule, or its name with parameters.

use std::ops::RangeInclusive;

use pointsman_core::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, BoundedLoad, CacheAware, DynamoCost, Picker,
    Placement, PrefixScore,
};
use pointsman_yaml::{Field, Fields, ValueKind};

/// Range of weights and factors. The maximum exceeds any useful value, and rounding does not matter below it.
const FACTOR: RangeInclusive<f64> = 0.0..=1e6;

/// Reads `placement: NAME` or `placement: {name: NAME, …}`. Omitted parameters have their published values.
pub(crate) fn read(field: &Field<'_>) -> Option<Placement> {
    match field.kind() {
        ValueKind::Mapping => field.fields(read_with_parameters)?,
        ValueKind::String | ValueKind::Number | ValueKind::List => read_name(field),
    }
}

fn read_name(field: &Field<'_>) -> Option<Placement> {
    field.choice(&Placement::ALL.map(|placement| (placement.as_str(), placement)))
}

fn read_with_parameters(fields: &mut Fields<'_>) -> Option<Placement> {
    let name = fields.required("name", "write the name of a placement rule");
    let Some(placement) = name.and_then(|field| read_name(&field)) else {
        // The valid parameters are not known without the name.
        fields.ignore_rest();
        return None;
    };
    Some(read_parameters(placement, fields))
}

/// Reads the parameters of a placement rule, which are fields beside its name. Omitted parameters have their published
/// values.
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
            let default = DynamoCost::DYNAMO.prefill_load_scale;
            let prefill_load_scale = fields.value_or("prefillLoadScale", default, |f| f.number(FACTOR));
            Placement::DynamoCost(DynamoCost { prefill_load_scale })
        }
        Placement::BoundedLoadHash(_) => Placement::BoundedLoadHash(read_bounded_load(fields)),
    }
}

fn read_cache_aware(fields: &mut Fields<'_>) -> CacheAware {
    let default = CacheAware::SGLANG;
    let (absolute, relative) = (default.balance_abs_threshold, default.balance_rel_threshold);
    CacheAware {
        cache_threshold: fields.value_or("cacheThreshold", default.cache_threshold, Field::share),
        balance_abs_threshold: fields.value_or("balanceAbsThreshold", absolute, |f| f.u32_from(0)),
        balance_rel_threshold: fields.value_or("balanceRelThreshold", relative, |f| f.number(1.0..=1e6)),
    }
}

fn read_bounded_load(fields: &mut Fields<'_>) -> BoundedLoad {
    let default = BoundedLoad::KUBEAI;
    BoundedLoad {
        load_factor: fields.value_or("loadFactor", default.load_factor, |f| f.number(1.0..=1e6)),
        prefix_tokens: fields.value_or("prefixTokens", default.prefix_tokens, |f| f.u32_from(1)),
    }
}

fn read_affinity(fields: &mut Fields<'_>) -> Affinity {
    let default = Affinity::LLM_D;
    let (throughput, exploration) = (default.peak_prefill_throughput, default.exploration_probability);
    Affinity {
        threshold: fields.value_or("affinityThreshold", default.threshold, |f| f.number(0.01..=1.0)),
        max_ttft_penalty: fields.value_or(
            "maxTTFTPenalty",
            default.max_ttft_penalty,
            Field::gateway_duration,
        ),
        peak_prefill_throughput: fields
            .value_or("peakPrefillThroughput", throughput, |f| f.number(1.0..=1e9)),
        exploration_probability: fields.value_or("explorationProbability", exploration, Field::share),
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
    let picker = fields.value_or("picker", default.picker, |f| f.choice(&pickers));
    let written = fields.get("weights");
    let weights = match (&written, picker) {
        (Some(field), _) => field.fields(read_weights).unwrap_or(default.weights),
        (None, Picker::Random) => BlendWeights::NONE,
        (None, Picker::MaxScore | Picker::WeightedRandom) => default.weights,
    };
    if let Some(field) = written.filter(Field::is_sound) {
        match (picker, weights == BlendWeights::NONE) {
            (Picker::Random, false) => {
                field.error("has no effect with picker random", "remove the weights or the picker");
            }
            (Picker::MaxScore | Picker::WeightedRandom, true) => {
                field.error("gives no scorer a weight", "give at least one scorer a weight above 0");
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

/// The parameter of a scorer, which is an error where the scorer has no weight.
fn of_scorer<'a>(fields: &mut Fields<'a>, name: &'static str, weight: f64) -> Option<Field<'a>> {
    let field = fields.get(name)?;
    if weight == 0.0 {
        field.error("has no effect: its scorer has no weight", "give the scorer a weight, or remove it");
    }
    Some(field)
}

fn read_weights(fields: &mut Fields<'_>) -> BlendWeights {
    let mut weight = |name| fields.value_or(name, 0.0, |f| f.number(FACTOR));
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

/// Reads the parameters of the prefix cache scorer, in manifests and in picker configuration files.
pub(crate) fn read_prefix(fields: &mut Fields<'_>) -> PrefixScore {
    let default = PrefixScore::default();
    let (weight, scale) = (default.match_length_weight, default.match_length_scale_tokens);
    PrefixScore {
        match_length_weight: fields.value_or("matchLengthWeight", weight, Field::share),
        match_length_scale_tokens: fields.value_or("matchLengthScaleTokens", scale, |f| f.u32_from(1)),
    }
}

/// Reads the parameters of the active request scorer, in manifests and in picker configuration files.
pub(crate) fn read_active_request(fields: &mut Fields<'_>) -> ActiveRequestScore {
    let default = ActiveRequestScore::default();
    ActiveRequestScore {
        idle_threshold: fields.value_or("idleThreshold", default.idle_threshold, |f| f.u32_from(0)),
        max_busy_score: fields.value_or("maxBusyScore", default.max_busy_score, Field::share),
    }
}
