//! The parameters of plugins: those with the same meaning here, and those that are without effect.

use std::time::Duration;

use pointsman_core::{ActiveRequestScore, Affinity, Picker, PrefixScore, SaturationLimits};
use pointsman_yaml::{Field, Fields};

use super::plugins::{Role, Scorer};
use crate::foreign::LEAVE_FIELD;
use crate::manifest::placement;

/// The parameters of a plugin, or `default` where it has none.
pub(super) fn with<T>(
    parameters: Option<&Field<'_>>,
    default: T,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<T> {
    match parameters {
        Some(field) => field.fields(read),
        None => Some(default),
    }
}

/// The role of a scorer with parameters.
pub(super) fn scorer<T>(
    parameters: Option<&Field<'_>>,
    default: T,
    scorer: impl FnOnce(T) -> Scorer,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<Role> {
    with(parameters, default, read).map(|parameters| Role::Scorer(scorer(parameters)))
}

/// The role of a picker, which has no usable parameters.
pub(super) fn picker(parameters: Option<&Field<'_>>, picker: Picker) -> Option<Role> {
    with(parameters, (), |fields| {
        if let Some(field) = fields.get("maxNumOfEndpoints")
            && field.u32_from(1).is_some_and(|number| number != 1)
        {
            field.warn("has no effect: fallback endpoints are always named", LEAVE_FIELD);
        }
    })
    .map(|()| Role::Picker(picker))
}

/// The role of a plugin without parameters.
pub(super) fn without(parameters: Option<&Field<'_>>, role: Role) -> Option<Role> {
    with(parameters, (), |_| ()).map(|()| role)
}

/// The role of a plugin whose parameters, whatever they are, have no effect for this reason.
pub(super) fn whatever(parameters: Option<&Field<'_>>, role: Role, reason: &str) -> Option<Role> {
    if let Some(field) = parameters
        && field.node.entries().next().is_some()
    {
        field.warn(format!("have no effect: {reason}"), LEAVE_FIELD);
    }
    Some(role)
}

/// Accepts parameters that have no effect for this reason, with one warning.
fn pass_over(fields: &mut Fields<'_>, names: &[&'static str], reason: &str) {
    let present: Vec<&str> = names.iter().copied().filter(|name| fields.has(name)).collect();
    names.iter().for_each(|name| fields.ignore(name));
    let verb = match present.as_slice() {
        [] => return,
        [_] => "has",
        [..] => "have",
    };
    fields.warn(format!("{} {verb} no effect: {reason}", present.join(", ")), LEAVE_FIELD);
}

pub(super) fn read_prefix(fields: &mut Fields<'_>) -> PrefixScore {
    read_index(fields);
    let producer = fields.get("prefixMatchInfoProducerName");
    if let Some(field) = producer
        && field.text().is_some_and(|name| !name.contains("approx"))
    {
        field.warn("has no effect: prefixes are matched in Pointsman's index", LEAVE_FIELD);
    }
    placement::read_prefix(fields)
}

/// Reads the parameters of the prefix index.
pub(super) fn read_index(fields: &mut Fields<'_>) {
    pass_over(fields, &INDEX_SIZE_FIELDS, "the prefix index has blocks and a memory budget of its own");
    for name in ["mode", "indexerConfig", "kvEventsConfig", "tokenProcessorConfig"] {
        fields.refuse(name, "KV cache events are not read", "remove it: the index follows the requests sent");
    }
    fields.refuse("prefixHashSource", "prefixes are those of the request's own prompt", "remove it");
}

/// Parameters for the size of the approximate prefix index, in all releases of the extension.
const INDEX_SIZE_FIELDS: [&str; 8] = [
    "autoTune",
    "blockSize",
    "blockSizeTokens",
    "hashBlockSize",
    "lruCapacityPerServer",
    "maxPrefixBlocksToMatch",
    "maxPrefixTokensToMatch",
    "podActiveCheckInterval",
];

pub(super) fn read_affinity(fields: &mut Fields<'_>) -> Affinity {
    fields.refuse(
        "maxTokensInFlightPenalty",
        "is not supported: the penalty of a busy endpoint is a time",
        "write maxTTFTPenaltyMs and peakPrefillThroughput",
    );
    let default = Affinity::LLM_D;
    let (throughput, exploration) = (default.peak_prefill_throughput, default.exploration_probability);
    let milliseconds = |f: &Field<'_>| f.u32_from(0).map(|number| Duration::from_millis(number.into()));
    Affinity {
        threshold: fields.value_or("affinityThreshold", default.threshold, Field::share),
        max_ttft_penalty: fields.value_or("maxTTFTPenaltyMs", default.max_ttft_penalty, milliseconds),
        peak_prefill_throughput: fields
            .value_or("peakPrefillThroughput", throughput, |f| f.number(1.0..=1e9)),
        exploration_probability: fields.value_or("explorationProbability", exploration, Field::share),
    }
}

/// Reads `queueDepthThreshold` and `kvCacheUtilThreshold`, of a plugin or inline.
pub(super) fn read_saturation(fields: &mut Fields<'_>) -> SaturationLimits {
    pass_over(fields, &["metricsStalenessThreshold"], "old metrics lose weight gradually");
    if let Some(headroom) = fields.get("headroom")
        && headroom.share().is_some_and(|share| share > 0.0)
    {
        headroom.warn("has no effect: an endpoint is saturated or not", LEAVE_FIELD);
    }
    let default = SaturationLimits::default();
    SaturationLimits {
        waiting: fields.value_or("queueDepthThreshold", default.waiting, |f| f.u32_from(0)),
        kv_use: fields.value_or("kvCacheUtilThreshold", default.kv_use, Field::share),
    }
}

/// Checks that metrics are to be scraped from a path where Pointsman looks for them, at the port that serves requests.
pub(super) fn read_metrics_source(fields: &mut Fields<'_>) {
    if let Some(field) = fields.get("path")
        && field.text().is_some_and(|text| !["/metrics", "/prometheus/metrics"].contains(&text))
    {
        let message = "is not supported: metrics are scraped from /metrics or /prometheus/metrics";
        field.error(message, "remove it, or serve the page there");
    }
    if let Some(field) = fields.get("scheme") {
        field.choice(&[("http", ()), ("https", ())]);
        if field.text() == Some("https") {
            field.warn("has no effect: metrics are scraped by the endpoint's own protocol", LEAVE_FIELD);
        }
    }
    // The default upstream. Without TLS there is nothing to verify, and with it the pool's authorities apply.
    if let Some(field) = fields.get("insecureSkipVerify") {
        field.boolean();
    }
}

/// The engines whose metrics are known, as upstream names them.
const ENGINES: [&str; 5] = ["vllm", "sglang", "trtllm-serve", "triton", "triton-tensorrt-llm"];

/// Checks that the engines are known. Which one an endpoint runs is detected from its metrics page.
pub(super) fn read_extractor(fields: &mut Fields<'_>) {
    let known = |field: &Field<'_>| field.choice(&ENGINES.map(|engine| (engine, ())));
    if let Some(field) = fields.get("defaultEngine") {
        known(&field);
    }
    if let Some(field) = fields.get("engineLabelKey") {
        field.warn("has no effect: the engine is detected from its metrics page", LEAVE_FIELD);
    }
    fields.list("engineConfigs", 64, |item| {
        item.fields(|fields| {
            let name = fields.required("name", "write the engine's name");
            if name.is_some_and(|name| known(&name).is_some()) {
                fields.warn("has no effect: the series of this engine are known", LEAVE_FIELD);
            }
            fields.ignore_rest();
        })
    });
}

/// The parameters of the scorer of active requests.
pub(super) fn read_active_request(fields: &mut Fields<'_>) -> ActiveRequestScore {
    pass_over(fields, &["requestTimeout"], "requests are counted until they end");
    placement::read_active_request(fields)
}

/// Reads the parameters by which upstream adds output to the tokens in flight.
pub(super) fn read_inflight_load(fields: &mut Fields<'_>) {
    let adds = fields.get("addEstimatedOutputTokens").and_then(|field| field.boolean()) == Some(true);
    fields.ignore("outputRatio");
    fields.ignore("maxEstimatedOutputTokens");
    if adds {
        fields.warn(
            "addEstimatedOutputTokens has no effect: tokens in flight are those of prompts",
            LEAVE_FIELD,
        );
    }
}

/// Reads the size of the list of endpoints without a hit, which has an entry per endpoint here.
pub(super) fn read_no_hit_lru(fields: &mut Fields<'_>) {
    fields.ignore("lruSize");
}
