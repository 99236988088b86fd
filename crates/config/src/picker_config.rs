//! `EndpointPickerConfig`, the configuration file of the Gateway API Inference Extension's endpoint picker. Placement and
//! saturation limits are translated; a setting without counterpart in Pointsman is an error.
//!
//! Groups, fields and defaults are those of Gateway API Inference Extension v0.5 to v1.5 (`inference.networking.x-k8s.io/v1alpha1`)
//! and llm-d-router of August 2026 (`llm-d.ai/v1alpha1`, `apix/config` and `pkg/epp/config/loader`).

mod catalogue;
mod parameters;
mod plugins;
mod profile;

use std::sync::Arc;

use pointsman_core::{Blend, Placement, PoolPolicy, SaturationLimits};
use pointsman_yaml::{Field, Fields, Limits, Node, Problem, Report, SourceText, quoted, read_document};

use crate::foreign::LEAVE_FIELD;
use crate::manifest::picker_text;

use plugins::{Plugins, Role};

/// The kind, which also precedes the paths of problems.
pub(crate) const KIND: &str = "EndpointPickerConfig";
/// Supported groups and versions.
const API_VERSIONS: [&str; 3] =
    ["llm-d.ai/v1", "llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"];

/// The settings of a valid `EndpointPickerConfig`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickerConfig {
    /// The placement rule.
    pub placement: Placement,
    /// The saturation limits, where the file sets them.
    pub saturation: Option<SaturationLimits>,
}

impl PickerConfig {
    /// Overrides the settings of a pool.
    pub const fn apply(&self, policy: &mut PoolPolicy) {
        policy.placement = self.placement;
        if let Some(saturation) = self.saturation {
            policy.saturation = saturation;
        }
    }
}

/// Reads an `EndpointPickerConfig`. Besides the configuration come warnings about declared but unused plugins.
///
/// # Errors
/// Every problem of the text, warnings included, where at least one is an error.
pub fn read_picker_config(
    source: &SourceText,
    limits: &Limits,
) -> Result<(PickerConfig, Vec<Problem>), Vec<Problem>> {
    read_document(source, limits, KIND, |root| root.fields(read).flatten())
}

/// The problems of an `EndpointPickerConfig` that is a document of `file`.
pub(crate) fn check(file: &Arc<str>, root: &Node) -> Vec<Problem> {
    let report = Report::new(Arc::clone(file), KIND.to_owned());
    Field::root(root, &report).fields(read);
    report.into_problems()
}

/// Reads apiVersion and kind. Of another object nothing else is reported.
fn read_type(fields: &mut Fields<'_>) -> Option<()> {
    let version = fields.required("apiVersion", &format!("write apiVersion: {}", API_VERSIONS[0]));
    let kind = fields.required("kind", "write kind: EndpointPickerConfig");
    let (version, kind) = (version?, kind?);
    if kind.text() == Some("ConfigMap") {
        let data = fields.get("data");
        let key = data.as_ref().and_then(|data| picker_text::texts(data.node).next());
        let fix = match key {
            Some((key, _)) => format!("save the text below data[{}] in a file, and give that", quoted(key)),
            None => "save the text of the picker's configuration in a file, and give that".to_owned(),
        };
        kind.error("is a ConfigMap, of which a picker reads one text", fix);
        return None;
    }
    kind.choice(&[(KIND, ())])?;
    version.choice(&API_VERSIONS.map(|version| (version, ())))
}

fn read(fields: &mut Fields<'_>) -> Option<PickerConfig> {
    if read_type(fields).is_none() {
        fields.ignore_rest();
        return None;
    }
    fields.pass_over("metadata", "has no effect: a picker reads a file, no object of a cluster", LEAVE_FIELD);
    fields.list("featureGates", 64, read_gate);
    let plugins = Plugins::read(fields);
    let blend = profile::read(fields, &plugins);
    let saturation = read_saturation(fields, &plugins);
    read_data_layer(fields, &plugins);
    read_parsers(fields, &plugins);
    if !fields.has_errors() {
        plugins.warn_of_unused();
    }
    let blend = if plugins.is_empty() { Blend::LLM_D } else { blend? };
    Some(PickerConfig { placement: Placement::Blend(blend), saturation })
}

/// Reads a feature gate: `name`, `name=true` or `name=false`.
fn read_gate(field: &Field<'_>) -> Option<()> {
    let text = field.text()?;
    let (name, on) = match text.split_once('=') {
        None => (text, true),
        Some((name, "true")) => (name, true),
        Some((name, "false")) => (name, false),
        Some(_) => {
            field.error(format!("{} is not a feature gate", quoted(text)), "write name=true or name=false");
            return None;
        }
    };
    match (name, on) {
        ("flowControl", true) => {
            field.error("requests are not queued", "remove it: sheddable requests are rejected with 429");
        }
        // What these switch on is always on.
        (
            "dataLayer" | "experimentalDatalayer" | "prepareDataPlugins" | "haPopulateNonLeaderDatastore",
            true,
        )
        | (_, false) => {}
        _ => field.error(format!("{} is not a supported feature gate", quoted(name)), "remove it"),
    }
    None
}

/// Reads the saturation limits: inline (x-k8s), by reference to a plugin, or below `flowControl` (llm-d).
fn read_saturation(fields: &mut Fields<'_>, plugins: &Plugins<'_>) -> Option<SaturationLimits> {
    let top_level = fields.get("saturationDetector").and_then(|field| {
        field.fields(|fields| match fields.get("pluginRef") {
            Some(reference) => plugins.detector(&reference),
            None => Some(parameters::read_saturation(fields)),
        })
    });
    let flow_control = fields.get("flowControl").and_then(|field| {
        field.fields(|fields| {
            for name in QUEUE_FIELDS {
                fields.pass_over(name, "has no effect: requests are not queued", LEAVE_FIELD);
            }
            let detector = fields.get("saturationDetector")?;
            let by_reference = |fields: &mut Fields<'_>| {
                fields.required_value("pluginRef", "name a plugin", |reference| plugins.detector(reference))
            };
            detector.fields(by_reference).flatten()
        })
    });
    top_level.flatten().or(flow_control.flatten())
}

/// Fields of `flowControl` that configure queues.
const QUEUE_FIELDS: [&str; 9] = [
    "maxBytes",
    "maxRequests",
    "defaultRequestTTL",
    "noEndpointRequestTTL",
    "defaultPriorityBand",
    "defaultNegativePriorityBand",
    "priorityBands",
    "usageLimitPolicyPluginRef",
    "enableEviction",
];

/// Checks that `dataLayer` only describes the scraping of engine metrics, which is always on.
fn read_data_layer(fields: &mut Fields<'_>, plugins: &Plugins<'_>) {
    // The name before v1.3 of the extension.
    let former = fields.get("data");
    let Some(field) = fields.get("dataLayer").or(former) else { return };
    field.fields(|fields| {
        if let Some(inject) = fields.get("injectDefaults")
            && inject.boolean() == Some(false)
        {
            inject.error("engine metrics are always scraped", "remove it");
        }
        for name in ["discovery", "peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"]
        {
            fields.refuse(name, "endpoints come from --manifests or --endpoint", "remove it");
        }
        fields.list("sources", 64, |source| {
            source.fields(|fields| {
                plugins.check_reference(fields, &Role::DataSource);
                fields.list("extractors", 64, |extractor| {
                    extractor.fields(|fields| plugins.check_reference(fields, &Role::DataExtractor))
                });
            })
        });
    });
}

/// Checks that parsers are those of supported APIs. The path of a request determines which API applies.
fn read_parsers(fields: &mut Fields<'_>, plugins: &Plugins<'_>) {
    let reference = |field: &Field<'_>| field.fields(|fields| plugins.check_reference(fields, &Role::Parser));
    if let Some(parser) = fields.get("parser") {
        reference(&parser);
    }
    if let Some(handler) = fields.get("requestHandler") {
        handler.fields(|fields| {
            fields.list("parsers", 64, reference);
            fields.get("parser").map(|parser| reference(&parser))
        });
    }
}
