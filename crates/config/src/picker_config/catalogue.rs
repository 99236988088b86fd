//! The plugin types of upstream that have a counterpart here, and what to do instead of the others.

use pointsman_core::{ActiveRequestScore, Affinity, Blend, Picker, PrefixScore, SaturationLimits};
use pointsman_yaml::{Field, nearest};

use super::parameters::{
    picker, read_active_request, read_affinity, read_extractor, read_index, read_inflight_load,
    read_metrics_source, read_no_hit_lru, read_prefix, read_saturation, scorer, whatever, with, without,
};
use super::plugins::{Role, Scorer};

/// A plugin type.
pub(super) struct PluginType {
    /// Its name in current releases.
    pub(super) name: &'static str,
    /// Its names in earlier ones.
    former: &'static [&'static str],
    /// Reads its parameters; `None` where they are not usable.
    pub(super) read: fn(Option<&Field<'_>>) -> Option<Role>,
    /// How it differs here.
    pub(super) note: Option<&'static str>,
}

const fn of(name: &'static str, read: fn(Option<&Field<'_>>) -> Option<Role>) -> PluginType {
    PluginType { name, former: &[], read, note: None }
}

impl PluginType {
    const fn formerly(self, former: &'static [&'static str]) -> Self {
        Self { former, ..self }
    }

    const fn noting(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }
}

/// The type of this name.
pub(super) fn find(name: &str) -> Option<&'static PluginType> {
    let known = TYPES.iter().find(|known| known.name == name || known.former.contains(&name));
    known.or_else(|| name.ends_with("-policy").then_some(&OTHER_POLICY))
}

/// Any other policy of flow control: none has an effect without a queue.
static OTHER_POLICY: PluginType = of("policy", |_| Some(Role::Passive)).noting(NO_EFFECT_WITHOUT_QUEUE);

const PATH_DECIDES: &str = "has no effect: the path of a request determines its API";
const NO_QUEUE: &str = "requests are not queued";
const NO_EFFECT_WITHOUT_QUEUE: &str = "has no effect: requests are not queued";
const NO_TOKENIZER: &str = "prompts are compared by their text, and tokens are estimated";

/// Supported plugin types, sorted. `docs/endpoint-picker.md` has the same list.
static TYPES: [PluginType; 40] = [
    of("active-request-scorer", |parameters| {
        scorer(parameters, ActiveRequestScore::default(), Scorer::ActiveRequest, read_active_request)
    }),
    of("anthropic-parser", |parameters| without(parameters, Role::Parser)),
    of("approx-prefix-cache-producer", |parameters| with(parameters, (), read_index).map(|()| Role::Passive)),
    of("core-metrics-extractor", |parameters| {
        with(parameters, (), read_extractor).map(|()| Role::DataExtractor)
    }),
    of("decode-filter", |parameters| without(parameters, Role::Passive))
        .formerly(&["decode"])
        .noting("has no effect: the endpoints are those of the pool, whatever their role"),
    of("edf-ordering-policy", |_| Some(Role::Passive)).noting(NO_EFFECT_WITHOUT_QUEUE),
    of("endpoint-notification-source", |parameters| without(parameters, Role::DataSource)),
    of("fcfs-ordering-policy", |parameters| whatever(parameters, Role::Passive, NO_QUEUE)),
    of("global-strict-fairness-policy", |parameters| whatever(parameters, Role::Passive, NO_QUEUE)),
    of("inflight-load-producer", |parameters| {
        with(parameters, (), read_inflight_load).map(|()| Role::Passive)
    }),
    of("k8s-notification-source", |parameters| {
        whatever(parameters, Role::DataSource, "endpoints come from --manifests or --endpoint")
    }),
    of("kv-cache-utilization-scorer", |parameters| {
        without(parameters, Role::Scorer(Scorer::KvCacheUtilization))
    })
    .formerly(&["kv-cache-scorer", "kv-cache"]),
    of("load-aware-scorer", |parameters| {
        let default = Blend::EMPTY.load_aware_threshold;
        scorer(parameters, default, Scorer::LoadAware, |fields| {
            fields.value_or("threshold", default, |f| f.u32_from(1))
        })
    })
    .formerly(&["load-aware"]),
    of("lora-affinity-scorer", |parameters| without(parameters, Role::Scorer(Scorer::LoraAffinity)))
        .formerly(&["lora-affinity"]),
    of("max-score-picker", |parameters| picker(parameters, Picker::MaxScore)).formerly(&["max-score"]),
    of("metrics-data-source", |parameters| {
        with(parameters, (), read_metrics_source).map(|()| Role::DataSource)
    }),
    of("models-data-extractor", |parameters| without(parameters, Role::DataExtractor))
        .formerly(&["models-extractor"]),
    of("models-data-source", |parameters| {
        whatever(parameters, Role::DataSource, "the models of engines are listed from their /v1/models")
    }),
    of("models-responder", |parameters| without(parameters, Role::Passive)),
    of("no-hit-lru-scorer", |parameters| {
        with(parameters, (), read_no_hit_lru).map(|()| Role::Scorer(Scorer::NoHitLru))
    }),
    of("openai-parser", |parameters| without(parameters, Role::Parser)),
    of("passthrough-parser", |parameters| without(parameters, Role::Parser)).noting(PATH_DECIDES),
    of("prefix-cache-affinity-filter", |parameters| {
        with(parameters, Affinity::LLM_D, read_affinity).map(Role::Affinity)
    }),
    of("prefix-cache-scorer", |parameters| {
        scorer(parameters, PrefixScore::default(), Scorer::PrefixCache, read_prefix)
    })
    .formerly(&["prefix-cache"]),
    of("priority-holdback-policy", |parameters| whatever(parameters, Role::Passive, NO_QUEUE)),
    of("queue-scorer", |parameters| without(parameters, Role::Scorer(Scorer::Queue))).formerly(&["queue"]),
    of("random-picker", |parameters| picker(parameters, Picker::Random)).formerly(&["random"]),
    of("round-robin-fairness-policy", |_| Some(Role::Passive)).noting(NO_EFFECT_WITHOUT_QUEUE),
    of("running-requests-size-scorer", |parameters| {
        without(parameters, Role::Scorer(Scorer::RunningRequests))
    })
    .formerly(&["running-requests-scorer", "running-requests"]),
    of("sglanghttp-parser", |parameters| without(parameters, Role::Parser)),
    of("single-profile-handler", |parameters| without(parameters, Role::Passive))
        .formerly(&["single-profile"]),
    of("slo-deadline-ordering-policy", |_| Some(Role::Passive)).noting(NO_EFFECT_WITHOUT_QUEUE),
    of("static-usage-limit-policy", |parameters| whatever(parameters, Role::Passive, NO_QUEUE)),
    of("token-load-scorer", |parameters| {
        let default = Blend::EMPTY.token_load_threshold;
        scorer(parameters, default, Scorer::TokenLoad, |fields| {
            let read = |f: &Field<'_>| u64::try_from(f.integer(1..=i64::MAX)?).ok();
            fields.value_or("queueThresholdTokens", default, read)
        })
    }),
    of("token-producer", |parameters| whatever(parameters, Role::Passive, NO_TOKENIZER)),
    of("tokenizer", |parameters| whatever(parameters, Role::Passive, NO_TOKENIZER)),
    of("utilization-detector", |parameters| {
        with(parameters, SaturationLimits::default(), read_saturation).map(Role::Detector)
    }),
    of("vertexai-parser", |parameters| without(parameters, Role::Parser)).noting(PATH_DECIDES),
    of("vllmhttp-parser", |parameters| without(parameters, Role::Parser)),
    of("weighted-random-picker", |parameters| picker(parameters, Picker::WeightedRandom))
        .formerly(&["weighted-random"]),
];

/// The suggested fix for a plugin type that is not supported.
pub(super) fn alternative(type_name: &str) -> String {
    let advice = match type_name {
        "prefill-filter" | "encode-filter" | "by-label" | "by-label-selector" | "label-selector-filter" => {
            "select the pods by the InferencePool's labels"
        }
        "disagg-profile-handler"
        | "pd-profile-handler"
        | "header-profile-handler"
        | "data-parallel-profile-handler"
        | "prefix-based-pd-decider"
        | "always-disagg-pd-decider"
        | "always-disagg-multimodal-decider"
        | "disagg-headers-handler"
        | "pd-slo-pair-optimizer"
        | "pd-slo-profile-handler"
        | "prefill-header-handler" => {
            "remove it and keep one profile: disaggregated prefill is not supported"
        }
        "decision-tree-filter"
        | "low-queue-filter"
        | "least-queue-filter"
        | "least-kv-cache-filter"
        | "lora-affinity-filter"
        | "sheddable-capacity-filter" => "write a PoolPolicy with placement filter-tree instead of this file",
        "precise-prefix-cache-scorer"
        | "precise-prefix-cache-producer"
        | "session-affinity-scorer"
        | "session-affinity-filter"
        | "session-id-producer"
        | "session-affinity" => "use prefix-cache-scorer, which tracks the prefixes sent to each endpoint",
        "latency-scorer"
        | "predicted-latency-producer"
        | "latency-predictor-producer"
        | "slo-aware-routing"
        | "slo-aware-profile-handler"
        | "predicted-latency-scorer"
        | "slo-headroom-tier-filter"
        | "latency-slo-admitter" => "omit the file: the default placement minimises the expected latency",
        "utilization-filter" | "concurrency-detector" | "probabilistic-admitter" => {
            "use utilization-detector"
        }
        "vllmgrpc-parser" => "remove it: gRPC to engines is not supported",
        "file-discovery" | "multicluster-file-discovery" => {
            "remove it: endpoints come from --manifests or --endpoint"
        }
        _ => return nearest_type(type_name),
    };
    advice.to_owned()
}

/// The type that a name probably means, else all types of its sort, which its last word says.
fn nearest_type(type_name: &str) -> String {
    if let Some(near) = nearest(type_name, TYPES.iter().map(|known| known.name)) {
        return format!("did you mean {near}?");
    }
    let sort =
        ["scorer", "picker", "filter", "parser", "producer", "extractor", "source", "handler", "detector"]
            .into_iter()
            .find(|sort| type_name.ends_with(sort));
    let Some(sort) = sort else {
        return "remove it; docs/endpoint-picker.md lists the supported types".to_owned();
    };
    let names = TYPES.iter().map(|known| known.name).filter(|name| name.ends_with(sort));
    format!("remove it; supported types of {sort} are {}", names.collect::<Vec<_>>().join(", "))
}
