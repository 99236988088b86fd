//! `plugins`: which of them have a counterpart here, and their parameters.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_core::{ActiveRequestScore, Affinity, Blend, Picker, PrefixScore, SaturationLimits};

use super::misplaced;
use crate::decode::{Field, Fields, nearest};
use crate::source::quoted;

/// A declared plugin.
#[derive(Debug)]
pub(super) struct Plugin<'a> {
    pub(super) type_name: &'a str,
    pub(super) role: Role,
    pub(super) field: Field<'a>,
    /// Whether anything refers to it.
    pub(super) used: Cell<bool>,
}

/// What a plugin does, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Scorer(Scorer),
    Affinity(Affinity),
    Picker(Picker),
    Detector(SaturationLimits),
    /// One profile serves every request: what is done here.
    SingleProfile,
    /// Facts that are always gathered.
    Producer,
    MetricsSource,
    MetricsExtractor,
    Parser,
}

/// A scorer, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scorer {
    Queue,
    RunningRequests,
    KvCacheUtilization,
    PrefixCache(PrefixScore),
    LoraAffinity,
    NoHitLru,
    LoadAware(u32),
    ActiveRequest(ActiveRequestScore),
    TokenLoad(u64),
}

/// Types that have a counterpart, in alphabetical order. `docs/endpoint-picker.md` has the same list.
const SUPPORTED: [&str; 22] = [
    "active-request-scorer",
    "anthropic-parser",
    "approx-prefix-cache-producer",
    "core-metrics-extractor",
    "inflight-load-producer",
    "kv-cache-scorer",
    "kv-cache-utilization-scorer",
    "load-aware-scorer",
    "lora-affinity-scorer",
    "max-score-picker",
    "metrics-data-source",
    "no-hit-lru-scorer",
    "openai-parser",
    "prefix-cache-affinity-filter",
    "prefix-cache-scorer",
    "queue-scorer",
    "random-picker",
    "running-requests-size-scorer",
    "single-profile-handler",
    "token-load-scorer",
    "utilization-detector",
    "weighted-random-picker",
];

/// The plugins of a file by name.
#[derive(Debug)]
pub(super) struct Plugins<'a>(BTreeMap<&'a str, Plugin<'a>>, bool);

impl<'a> Plugins<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Self {
        let mut plugins = Self(BTreeMap::new(), false);
        let Some(list) = fields.get("plugins") else { return plugins };
        list.list(256, |field| {
            let (name, plugin) =
                field.fields(|fields| read_plugin(fields, field)).flatten().or_else(|| {
                    plugins.1 = true; // References to it are no mistakes of their own.
                    None
                })?;
            if let Some(first) = plugins.0.get(name) {
                let line = first.field.node.mark.line;
                let message = format!("{} stands already on line {line}", quoted(name));
                field.error(message, "give one of the two another name");
            }
            plugins.0.insert(name, plugin);
            Some(())
        });
        plugins
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty() && !self.1
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Plugin<'a>> {
        self.0.values()
    }

    /// The plugin that a reference names.
    pub(super) fn get(&self, reference: &Field<'_>) -> Option<&Plugin<'a>> {
        let name = reference.text()?;
        let Some(plugin) = self.0.get(name) else {
            // A plugin that was refused is not missing.
            if !self.1 {
                let fix = match nearest(name, self.0.keys().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "declare it below plugins".to_owned(),
                };
                reference.error(format!("there is no plugin {}", quoted(name)), fix);
            }
            return None;
        };
        plugin.used.set(true);
        Some(plugin)
    }

    /// Checks that a reference leads to a plugin of one role; parameters do not count.
    pub(super) fn expect(&self, reference: Option<Field<'_>>, role: &Role) {
        let Some((field, plugin)) =
            reference.and_then(|field| self.get(&field).map(|plugin| (field, plugin)))
        else {
            return;
        };
        if std::mem::discriminant(&plugin.role) != std::mem::discriminant(role) {
            misplaced(&field, plugin);
        }
    }

    /// The limits of the detector that a reference names.
    pub(super) fn detector(&self, reference: &Field<'_>) -> Option<SaturationLimits> {
        let plugin = self.get(reference)?;
        if let Role::Detector(limits) = plugin.role {
            return Some(limits);
        }
        misplaced(reference, plugin);
        None
    }

    /// Plugins that nothing refers to, and that would do nothing upstream either.
    pub(super) fn warn_of_unused(&self) {
        for plugin in self.all().filter(|plugin| !plugin.used.get()) {
            match plugin.role {
                Role::Scorer(_) | Role::Affinity(_) | Role::Picker(_) | Role::Detector(_) => {
                    let Field { node, path, report } = &plugin.field;
                    report.warn(node.mark, path, "nothing refers to it", "refer to it, or remove it");
                }
                Role::SingleProfile
                | Role::Producer
                | Role::MetricsSource
                | Role::MetricsExtractor
                | Role::Parser => {}
            }
        }
    }
}

fn read_plugin<'a>(fields: &mut Fields<'a>, whole: &Field<'a>) -> Option<(&'a str, Plugin<'a>)> {
    let kind = fields.required("type", "write the plugin's type");
    let name = fields.get("name").and_then(|field| field.text_up_to(253));
    let parameters = fields.get("parameters");
    let kind = kind?;
    let type_name = kind.text()?;
    let Some(role) = role(type_name, parameters.as_ref()) else {
        if !SUPPORTED.contains(&type_name) {
            kind.error(format!("{} has no counterpart here", quoted(type_name)), instead(type_name));
        }
        return None;
    };
    let plugin = Plugin { type_name, role, field: whole.clone(), used: Cell::new(false) };
    Some((name.unwrap_or(type_name), plugin))
}

/// The role of a type; `None` where it has none here, or where its parameters cannot be read.
fn role(type_name: &str, parameters: Option<&Field<'_>>) -> Option<Role> {
    let picker = |picker| with(parameters, Role::Picker(picker), read_picker);
    match type_name {
        "queue-scorer" => without(parameters, Role::Scorer(Scorer::Queue)),
        "running-requests-size-scorer" => without(parameters, Role::Scorer(Scorer::RunningRequests)),
        "kv-cache-utilization-scorer" | "kv-cache-scorer" => {
            without(parameters, Role::Scorer(Scorer::KvCacheUtilization))
        }
        "no-hit-lru-scorer" => without(parameters, Role::Scorer(Scorer::NoHitLru)),
        "lora-affinity-scorer" => without(parameters, Role::Scorer(Scorer::LoraAffinity)),
        "prefix-cache-scorer" => {
            with(parameters, PrefixScore::default(), read_prefix).map(Scorer::PrefixCache).map(Role::Scorer)
        }
        "load-aware-scorer" => {
            let default = Blend::EMPTY.load_aware_threshold;
            with(parameters, default, read_load_aware).map(Scorer::LoadAware).map(Role::Scorer)
        }
        "active-request-scorer" => with(parameters, ActiveRequestScore::default(), read_active_request)
            .map(Scorer::ActiveRequest)
            .map(Role::Scorer),
        "token-load-scorer" => {
            let default = Blend::EMPTY.token_load_threshold;
            with(parameters, default, read_token_load).map(Scorer::TokenLoad).map(Role::Scorer)
        }
        "prefix-cache-affinity-filter" => {
            with(parameters, Affinity::LLM_D, read_affinity).map(Role::Affinity)
        }
        "max-score-picker" => picker(Picker::MaxScore),
        "random-picker" => picker(Picker::Random),
        "weighted-random-picker" => picker(Picker::WeightedRandom),
        "utilization-detector" => {
            with(parameters, SaturationLimits::default(), read_saturation).map(Role::Detector)
        }
        "single-profile-handler" => without(parameters, Role::SingleProfile),
        "approx-prefix-cache-producer" | "inflight-load-producer" => without(parameters, Role::Producer),
        "metrics-data-source" => with(parameters, Role::MetricsSource, read_metrics_source),
        "core-metrics-extractor" => without(parameters, Role::MetricsExtractor),
        "openai-parser" | "anthropic-parser" => without(parameters, Role::Parser),
        _ => None,
    }
}

/// What `parameters` make of the defaults.
fn with<T>(
    parameters: Option<&Field<'_>>,
    default: T,
    read: impl FnOnce(&mut Fields<'_>, T) -> T,
) -> Option<T> {
    match parameters {
        Some(field) => field.fields(|fields| read(fields, default)),
        None => Some(default),
    }
}

/// A plugin without parameters.
fn without<T>(parameters: Option<&Field<'_>>, role: T) -> Option<T> {
    with(parameters, role, |_, role| role)
}

/// How the index is sized is not the file's to say: it has a byte budget, and blocks of its own size.
fn read_prefix(fields: &mut Fields<'_>, default: PrefixScore) -> PrefixScore {
    for name in SIZING {
        fields.refuse(name, "the index of prefixes sizes itself", "remove it");
    }
    let weight = fields.get("matchLengthWeight").and_then(|field| field.share());
    let scale = fields.get("matchLengthScaleTokens").and_then(|field| field.u32_from(1));
    PrefixScore {
        match_length_weight: weight.unwrap_or(default.match_length_weight),
        match_length_scale_tokens: scale.unwrap_or(default.match_length_scale_tokens),
    }
}

/// Parameters of the approximate index, from its first release on.
const SIZING: [&str; 7] = [
    "autoTune",
    "blockSize",
    "blockSizeTokens",
    "hashBlockSize",
    "lruCapacityPerServer",
    "maxPrefixBlocksToMatch",
    "maxPrefixTokensToMatch",
];

fn read_load_aware(fields: &mut Fields<'_>, default: u32) -> u32 {
    fields.get("threshold").and_then(|field| field.u32_from(1)).unwrap_or(default)
}

fn read_token_load(fields: &mut Fields<'_>, default: u64) -> u64 {
    let threshold = fields.get("queueThresholdTokens").and_then(|field| field.integer(1..=i64::MAX));
    threshold.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(default)
}

fn read_active_request(fields: &mut Fields<'_>, default: ActiveRequestScore) -> ActiveRequestScore {
    let idle = fields.get("idleThreshold").and_then(|field| field.u32_from(0));
    let busy = fields.get("maxBusyScore").and_then(|field| field.share());
    ActiveRequestScore {
        idle_threshold: idle.unwrap_or(default.idle_threshold),
        max_busy_score: busy.unwrap_or(default.max_busy_score),
    }
}

fn read_affinity(fields: &mut Fields<'_>, default: Affinity) -> Affinity {
    let threshold = fields.get("affinityThreshold").and_then(|field| field.share());
    let penalty = fields.get("maxTTFTPenaltyMs").and_then(|field| field.u32_from(0));
    let throughput = fields.get("peakPrefillThroughput").and_then(|field| field.number(1.0..=1e9));
    let exploration = fields.get("explorationProbability").and_then(|field| field.share());
    Affinity {
        threshold: threshold.unwrap_or(default.threshold),
        max_ttft_penalty: penalty
            .map_or(default.max_ttft_penalty, |milliseconds| Duration::from_millis(milliseconds.into())),
        peak_prefill_throughput: throughput.unwrap_or(default.peak_prefill_throughput),
        exploration_probability: exploration.unwrap_or(default.exploration_probability),
    }
}

/// Fallbacks are always named, and how many does not depend on the picker.
fn read_picker(fields: &mut Fields<'_>, role: Role) -> Role {
    if let Some(field) = fields.get("maxNumOfEndpoints")
        && field.u32_from(1).is_some_and(|most| most != 1)
    {
        field.error(
            "how many destinations are named is not the picker's to say",
            "remove it: fallbacks always are",
        );
    }
    role
}

/// `queueDepthThreshold` and `kvCacheUtilThreshold`, of a plugin or in place.
pub(super) fn read_saturation(fields: &mut Fields<'_>, default: SaturationLimits) -> SaturationLimits {
    fields.refuse("metricsStalenessThreshold", "old gauges fade by themselves", "remove it");
    fields.refuse("headroom", "an endpoint is saturated or is not", "remove it");
    let waiting = fields.get("queueDepthThreshold").and_then(|field| field.u32_from(0));
    let kv_use = fields.get("kvCacheUtilThreshold").and_then(|field| field.share());
    SaturationLimits { waiting: waiting.unwrap_or(default.waiting), kv_use: kv_use.unwrap_or(default.kv_use) }
}

/// Engines are asked where they serve, so that only those values say what is done.
fn read_metrics_source(fields: &mut Fields<'_>, role: Role) -> Role {
    for (name, value) in [("scheme", "http"), ("path", "/metrics")] {
        if let Some(field) = fields.get(name)
            && field.text().is_some_and(|text| text != value)
        {
            field.error("metrics are read where the engine serves", format!("write {value}, or remove it"));
        }
    }
    // Upstream's default, which says nothing of clear text.
    if let Some(field) = fields.get("insecureSkipVerify") {
        field.boolean();
    }
    role
}

/// What to use in the place of a plugin without a counterpart.
fn instead(type_name: &str) -> String {
    let advice = match type_name {
        "decode-filter"
        | "prefill-filter"
        | "encode-filter"
        | "by-label"
        | "by-label-selector"
        | "label-selector-filter" => "select the pods by the InferencePool's own labels",
        "disagg-profile-handler"
        | "pd-profile-handler"
        | "header-profile-handler"
        | "data-parallel-profile-handler"
        | "prefix-based-pd-decider"
        | "always-disagg-pd-decider"
        | "always-disagg-multimodal-decider"
        | "disagg-headers-handler"
        | "prefill-header-handler" => {
            "prefill and decode are not split here: remove it, and keep one profile"
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
        | "session-affinity-filter" => "use prefix-cache-scorer, which follows what was sent where",
        "latency-scorer"
        | "predicted-latency-producer"
        | "latency-predictor-producer"
        | "slo-aware-routing"
        | "slo-headroom-tier-filter"
        | "latency-slo-admitter" => "leave the file out: the default placement weighs expected seconds",
        "utilization-filter" | "concurrency-detector" | "probabilistic-admitter" => {
            "use utilization-detector"
        }
        "passthrough-parser" | "vllmhttp-parser" | "sglanghttp-parser" | "vllmgrpc-parser"
        | "vertexai-parser" => "remove it: a body is read by what its path asks for",
        "models-data-source" | "models-extractor" => "remove it: engines' models are always read",
        "file-discovery" | "k8s-notification-source" | "endpoint-notification-source" => {
            "remove it: endpoints come from --manifests or --endpoint"
        }
        _ => {
            return match nearest(type_name, SUPPORTED.into_iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it; known here: {}", SUPPORTED.join(", ")),
            };
        }
    };
    advice.to_owned()
}
