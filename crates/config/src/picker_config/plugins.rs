//! `plugins`: the supported plugins and their parameters.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_core::{ActiveRequestScore, Affinity, Blend, Picker, PrefixScore, SaturationLimits};
use pointsman_yaml::{Field, Fields, nearest, quoted};

use crate::manifest::placement;

/// A declared plugin.
#[derive(Debug)]
pub(super) struct Plugin<'a> {
    pub(super) type_name: &'a str,
    pub(super) role: Role,
    pub(super) field: Field<'a>,
    /// Whether anything refers to the plugin.
    pub(super) used: Cell<bool>,
}

/// The function of a plugin, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Scorer(Scorer),
    Affinity(Affinity),
    Picker(Picker),
    Detector(SaturationLimits),
    /// One profile for every request, as in Pointsman.
    SingleProfile,
    /// Data that Pointsman always collects.
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

/// Reads the parameters of a plugin type; `None` where they are not usable.
type ReadRole = fn(Option<&Field<'_>>) -> Option<Role>;

/// Supported plugin types, sorted. `docs/endpoint-picker.md` has the same list.
const SUPPORTED: [(&str, ReadRole); 22] = [
    ("active-request-scorer", |parameters| {
        let default = ActiveRequestScore::default();
        scorer(parameters, default, Scorer::ActiveRequest, placement::read_active_request)
    }),
    ("anthropic-parser", |parameters| without(parameters, Role::Parser)),
    ("approx-prefix-cache-producer", |parameters| without(parameters, Role::Producer)),
    ("core-metrics-extractor", |parameters| without(parameters, Role::MetricsExtractor)),
    ("inflight-load-producer", |parameters| without(parameters, Role::Producer)),
    ("kv-cache-scorer", |parameters| without(parameters, Role::Scorer(Scorer::KvCacheUtilization))),
    ("kv-cache-utilization-scorer", |parameters| {
        without(parameters, Role::Scorer(Scorer::KvCacheUtilization))
    }),
    ("load-aware-scorer", |parameters| {
        let default = Blend::EMPTY.load_aware_threshold;
        scorer(parameters, default, Scorer::LoadAware, |fields| {
            fields.value_or("threshold", default, |f| f.u32_from(1))
        })
    }),
    ("lora-affinity-scorer", |parameters| without(parameters, Role::Scorer(Scorer::LoraAffinity))),
    ("max-score-picker", |parameters| picker(parameters, Picker::MaxScore)),
    ("metrics-data-source", |parameters| {
        with(parameters, (), read_metrics_source).map(|()| Role::MetricsSource)
    }),
    ("no-hit-lru-scorer", |parameters| without(parameters, Role::Scorer(Scorer::NoHitLru))),
    ("openai-parser", |parameters| without(parameters, Role::Parser)),
    ("prefix-cache-affinity-filter", |parameters| {
        with(parameters, Affinity::LLM_D, read_affinity).map(Role::Affinity)
    }),
    ("prefix-cache-scorer", |parameters| {
        scorer(parameters, PrefixScore::default(), Scorer::PrefixCache, read_prefix)
    }),
    ("queue-scorer", |parameters| without(parameters, Role::Scorer(Scorer::Queue))),
    ("random-picker", |parameters| picker(parameters, Picker::Random)),
    ("running-requests-size-scorer", |parameters| without(parameters, Role::Scorer(Scorer::RunningRequests))),
    ("single-profile-handler", |parameters| without(parameters, Role::SingleProfile)),
    ("token-load-scorer", |parameters| {
        let default = Blend::EMPTY.token_load_threshold;
        scorer(parameters, default, Scorer::TokenLoad, |fields| {
            let read = |f: &Field<'_>| u64::try_from(f.integer(1..=i64::MAX)?).ok();
            fields.value_or("queueThresholdTokens", default, read)
        })
    }),
    ("utilization-detector", |parameters| {
        with(parameters, SaturationLimits::default(), read_saturation).map(Role::Detector)
    }),
    ("weighted-random-picker", |parameters| picker(parameters, Picker::WeightedRandom)),
];

impl Plugin<'_> {
    /// Reports a reference to this plugin in a place that requires another role.
    pub(super) fn report_misplaced(&self, reference: &Field<'_>) {
        reference.error(format!("{} cannot be used here", quoted(self.type_name)), "remove the reference");
    }
}

/// The plugins of a file.
#[derive(Debug, Default)]
pub(super) struct Plugins<'a> {
    by_name: BTreeMap<&'a str, Plugin<'a>>,
    /// Whether some plugin is not usable. A reference to an unknown name may then mean that plugin.
    has_unusable: bool,
}

impl<'a> Plugins<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Self {
        let mut plugins = Self::default();
        let Some(list) = fields.get("plugins") else { return plugins };
        list.list(256, |field| {
            let (name, plugin) =
                field.fields(|fields| read_plugin(fields, field)).flatten().or_else(|| {
                    plugins.has_unusable = true;
                    None
                })?;
            if let Some(first) = plugins.by_name.get(name) {
                let line = first.field.node.position.line;
                let message = format!("{} is already defined on line {line}", quoted(name));
                field.error(message, "give one of the two another name");
            }
            plugins.by_name.insert(name, plugin);
            Some(())
        });
        plugins
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && !self.has_unusable
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Plugin<'a>> {
        self.by_name.values()
    }

    /// The plugin that a reference names.
    pub(super) fn get(&self, reference: &Field<'_>) -> Option<&Plugin<'a>> {
        let name = reference.text()?;
        let Some(plugin) = self.by_name.get(name) else {
            if !self.has_unusable {
                let fix = match nearest(name, self.by_name.keys().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "add it to plugins".to_owned(),
                };
                reference.error(format!("there is no plugin {}", quoted(name)), fix);
            }
            return None;
        };
        plugin.used.set(true);
        Some(plugin)
    }

    /// Checks that `pluginRef` names a plugin of a role, whatever its parameters.
    pub(super) fn check_reference(&self, fields: &mut Fields<'_>, role: &Role) {
        let Some(reference) = fields.required("pluginRef", "name a plugin") else { return };
        if let Some(plugin) = self.get(&reference)
            && std::mem::discriminant(&plugin.role) != std::mem::discriminant(role)
        {
            plugin.report_misplaced(&reference);
        }
    }

    /// The limits of the detector that a reference names.
    pub(super) fn detector(&self, reference: &Field<'_>) -> Option<SaturationLimits> {
        let plugin = self.get(reference)?;
        if let Role::Detector(limits) = plugin.role {
            return Some(limits);
        }
        plugin.report_misplaced(reference);
        None
    }

    /// Warns of plugins that have no effect because nothing refers to them, as upstream.
    pub(super) fn warn_of_unused(&self) {
        for plugin in self.all().filter(|plugin| !plugin.used.get()) {
            match plugin.role {
                Role::Scorer(_) | Role::Affinity(_) | Role::Picker(_) | Role::Detector(_) => {
                    plugin.field.warn("is not used", "refer to it by pluginRef, or remove it");
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
    let Some((_, read_role)) = SUPPORTED.iter().find(|(supported, _)| *supported == type_name) else {
        kind.error(format!("{} is not supported", quoted(type_name)), alternative(type_name));
        return None;
    };
    let role = read_role(parameters.as_ref())?;
    let plugin = Plugin { type_name, role, field: whole.clone(), used: Cell::new(false) };
    Some((name.unwrap_or(type_name), plugin))
}

/// The parameters of a plugin, or `default` where it has none.
fn with<T>(parameters: Option<&Field<'_>>, default: T, read: impl FnOnce(&mut Fields<'_>) -> T) -> Option<T> {
    match parameters {
        Some(field) => field.fields(read),
        None => Some(default),
    }
}

/// The role of a scorer with parameters.
fn scorer<T>(
    parameters: Option<&Field<'_>>,
    default: T,
    scorer: impl FnOnce(T) -> Scorer,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Option<Role> {
    with(parameters, default, read).map(|parameters| Role::Scorer(scorer(parameters)))
}

/// The role of a picker, which has no usable parameters.
fn picker(parameters: Option<&Field<'_>>, picker: Picker) -> Option<Role> {
    with(parameters, (), |fields| {
        if let Some(field) = fields.get("maxNumOfEndpoints")
            && field.u32_from(1).is_some_and(|number| number != 1)
        {
            field.error("is not supported: fallback endpoints are always named", "remove it");
        }
    })
    .map(|()| Role::Picker(picker))
}

/// The role of a plugin without parameters.
fn without(parameters: Option<&Field<'_>>, role: Role) -> Option<Role> {
    with(parameters, (), |_| ()).map(|()| role)
}

fn read_prefix(fields: &mut Fields<'_>) -> PrefixScore {
    for name in INDEX_SIZE_FIELDS {
        fields.refuse(name, "is not supported: the prefix index has a fixed memory budget", "remove it");
    }
    placement::read_prefix(fields)
}

/// Parameters for the size of the approximate prefix index, in all releases of the extension.
const INDEX_SIZE_FIELDS: [&str; 7] = [
    "autoTune",
    "blockSize",
    "blockSizeTokens",
    "hashBlockSize",
    "lruCapacityPerServer",
    "maxPrefixBlocksToMatch",
    "maxPrefixTokensToMatch",
];

fn read_affinity(fields: &mut Fields<'_>) -> Affinity {
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
    fields.refuse(
        "metricsStalenessThreshold",
        "is not supported: old metrics lose weight gradually",
        "remove it",
    );
    fields.refuse("headroom", "is not supported: an endpoint is saturated or not", "remove it");
    let default = SaturationLimits::default();
    SaturationLimits {
        waiting: fields.value_or("queueDepthThreshold", default.waiting, |f| f.u32_from(0)),
        kv_use: fields.value_or("kvCacheUtilThreshold", default.kv_use, Field::share),
    }
}

/// Checks that metrics are to be scraped from the port that serves requests, as Pointsman does.
fn read_metrics_source(fields: &mut Fields<'_>) {
    for (name, value) in [("scheme", "http"), ("path", "/metrics")] {
        if let Some(field) = fields.get(name)
            && field.text().is_some_and(|text| text != value)
        {
            let message = "is not supported: metrics are scraped from the engine's serving port";
            field.error(message, format!("write {value}, or remove it"));
        }
    }
    // The default upstream, without effect on plaintext.
    if let Some(field) = fields.get("insecureSkipVerify") {
        field.boolean();
    }
}

/// The suggested fix for a plugin type that is not supported.
fn alternative(type_name: &str) -> String {
    let advice = match type_name {
        "decode-filter"
        | "prefill-filter"
        | "encode-filter"
        | "by-label"
        | "by-label-selector"
        | "label-selector-filter" => "select the pods by the InferencePool's labels",
        "disagg-profile-handler"
        | "pd-profile-handler"
        | "header-profile-handler"
        | "data-parallel-profile-handler"
        | "prefix-based-pd-decider"
        | "always-disagg-pd-decider"
        | "always-disagg-multimodal-decider"
        | "disagg-headers-handler"
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
        | "session-affinity-filter" => {
            "use prefix-cache-scorer, which tracks the prefixes sent to each endpoint"
        }
        "latency-scorer"
        | "predicted-latency-producer"
        | "latency-predictor-producer"
        | "slo-aware-routing"
        | "slo-headroom-tier-filter"
        | "latency-slo-admitter" => "omit the file: the default placement minimises the expected latency",
        "utilization-filter" | "concurrency-detector" | "probabilistic-admitter" => {
            "use utilization-detector"
        }
        "passthrough-parser" | "vllmhttp-parser" | "sglanghttp-parser" | "vllmgrpc-parser"
        | "vertexai-parser" => "remove it: the path of a request determines its API",
        "models-data-source" | "models-extractor" => "remove it: models of engines are always scraped",
        "file-discovery" | "k8s-notification-source" | "endpoint-notification-source" => {
            "remove it: endpoints come from --manifests or --endpoint"
        }
        _ => {
            let supported = SUPPORTED.map(|(name, _)| name);
            return match nearest(type_name, supported.into_iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it; supported types are {}", supported.join(", ")),
            };
        }
    };
    advice.to_owned()
}
