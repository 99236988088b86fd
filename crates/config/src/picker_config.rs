//! `EndpointPickerConfig`, the configuration file of the extension's picker: what it says of placement and saturation,
//! in terms of our own. Whatever has no counterpart here is refused by its path.
//!
//! Groups, fields and defaults: Gateway API Inference Extension v0.5 to v1.5 (`inference.networking.x-k8s.io/v1alpha1`)
//! and llm-d-router of August 2026 (`llm-d.ai/v1alpha1`, `apix/config` and `pkg/epp/config/loader`).

mod plugins;
mod profile;

use std::sync::Arc;

use pointsman_core::{Blend, Placement, PoolPolicy, SaturationLimits};

use crate::decode::{Field, Fields, Report};
use crate::problem::{Mark, Problem, Severity};
use crate::source::{Options, SourceText, parse, quoted};

use plugins::{Plugin, Plugins, Role};

/// What a file is, in problems without a place of their own.
const KIND: &str = "EndpointPickerConfig";
/// The groups and versions it comes in.
const API_VERSIONS: [&str; 2] = ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"];

/// What a valid `EndpointPickerConfig` amounts to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickerConfig {
    /// How an endpoint is chosen.
    pub placement: Placement,
    /// When an endpoint counts as saturated, where the file says.
    pub saturation: Option<SaturationLimits>,
}

impl PickerConfig {
    /// Puts what the file says in the place of a pool's own.
    pub const fn apply(&self, policy: &mut PoolPolicy) {
        policy.placement = self.placement;
        if let Some(saturation) = self.saturation {
            policy.saturation = saturation;
        }
    }
}

/// Reads an `EndpointPickerConfig`. Beside the configuration come warnings, which name what is declared but unused.
///
/// # Errors
/// Every problem of the text, warnings included, where one of them is an error.
pub fn read_picker_config(
    source: &SourceText,
    options: &Options,
) -> Result<(PickerConfig, Vec<Problem>), Vec<Problem>> {
    let report = Report::new(Arc::clone(&source.name), KIND.to_owned(), None);
    let mut documents = parse(&source.text, options).into_iter();
    let start = Mark { line: 1, column: 1 };
    let config = match (documents.next(), documents.next()) {
        (Some(Ok(root)), None) => Field::new(&root, String::new(), &report).fields(read).flatten(),
        (Some(Err(defect)), _) | (_, Some(Err(defect))) => {
            report.error(defect.mark, "", defect.message, defect.fix);
            None
        }
        (None, _) => {
            report.error(
                start,
                "",
                "the file is empty",
                "write the configuration, or leave --config-file out",
            );
            None
        }
        (Some(Ok(_)), Some(Ok(second))) => {
            report.error(second.mark, "", "a second document follows", "keep one");
            None
        }
    };
    let problems = report.into_problems();
    match config {
        Some(config) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok((config, problems))
        }
        _ => Err(problems),
    }
}

fn read(fields: &mut Fields<'_>) -> Option<PickerConfig> {
    let version = fields.required("apiVersion", &format!("write apiVersion: {}", API_VERSIONS[0]));
    if let Some(field) = version {
        field.choice(&API_VERSIONS.map(|version| (version, ())))?;
    }
    if let Some(field) = fields.required("kind", "write kind: EndpointPickerConfig") {
        field.choice(&[(KIND, ())])?;
    }
    if let Some(gates) = fields.get("featureGates") {
        gates.list(64, |gate| read_gate(gate));
    }
    let plugins = Plugins::read(fields);
    let blend = profile::read(fields, &plugins);
    let saturation = read_saturation(fields, &plugins);
    read_data_layer(fields, &plugins);
    read_parsers(fields, &plugins);
    if !fields.report.has_errors() {
        plugins.warn_of_unused();
    }
    let blend = if plugins.is_empty() { Blend::LLM_D } else { blend? };
    Some(PickerConfig { placement: Placement::Blend(blend), saturation })
}

/// `name`, or `name=true` or `name=false`.
fn read_gate(field: &Field<'_>) -> Option<()> {
    let text = field.text()?;
    let (name, on) = match text.split_once('=') {
        None => (text, true),
        Some((name, "true")) => (name, true),
        Some((name, "false")) => (name, false),
        Some(_) => {
            field.error(format!("{} is neither on nor off", quoted(text)), "write name=true or name=false");
            return None;
        }
    };
    match (name, on) {
        ("flowControl", true) => {
            field
                .error("requests are not queued here", "remove it: sheddable requests are answered with 429");
        }
        (_, false) => {}
        _ => field.error(format!("{} is no gate here", quoted(name)), "remove it"),
    }
    None
}

/// Limits in place (x-k8s), by reference to a plugin, or below `flowControl` (llm-d).
fn read_saturation(fields: &mut Fields<'_>, plugins: &Plugins<'_>) -> Option<SaturationLimits> {
    let own = fields.get("saturationDetector").and_then(|field| {
        field.fields(|fields| match fields.get("pluginRef") {
            Some(reference) => plugins.detector(&reference),
            None => Some(plugins::read_saturation(fields, SaturationLimits::default())),
        })
    });
    let controlled = fields.get("flowControl").and_then(|field| {
        field.fields(|fields| {
            for name in QUEUEING {
                fields.refuse(name, "requests are not queued here", "remove it");
            }
            let detector = fields.get("saturationDetector")?;
            let by_reference = |fields: &mut Fields<'_>| {
                fields
                    .required("pluginRef", "name a plugin")
                    .and_then(|reference| plugins.detector(&reference))
            };
            detector.fields(by_reference).flatten()
        })
    });
    own.flatten().or(controlled.flatten())
}

/// Fields of `flowControl` that make or order queues.
const QUEUEING: [&str; 9] = [
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

/// Engines' metrics are always read, so that all it may say is that.
fn read_data_layer(fields: &mut Fields<'_>, plugins: &Plugins<'_>) {
    let Some(field) = fields.get("dataLayer") else { return };
    field.fields(|fields| {
        if let Some(inject) = fields.get("injectDefaults")
            && inject.boolean() == Some(false)
        {
            inject.error("engines' metrics are always read", "remove it");
        }
        for name in ["discovery", "peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"]
        {
            fields.refuse(name, "endpoints come from --manifests or --endpoint", "remove it");
        }
        let Some(sources) = fields.get("sources") else { return };
        sources.list(64, |source| {
            source.fields(|fields| {
                plugins.expect(fields.required("pluginRef", "name a plugin"), &Role::MetricsSource);
                let extractors = fields.get("extractors");
                extractors.map(|list| {
                    list.list(64, |extractor| {
                        extractor.fields(|fields| {
                            plugins.expect(
                                fields.required("pluginRef", "name a plugin"),
                                &Role::MetricsExtractor,
                            );
                        })
                    })
                })
            })
        });
    });
}

/// Which API a body speaks is known from its path, so that parsers may only be those of that.
fn read_parsers(fields: &mut Fields<'_>, plugins: &Plugins<'_>) {
    let reference = |field: &Field<'_>| {
        field.fields(|fields| plugins.expect(fields.required("pluginRef", "name a plugin"), &Role::Parser))
    };
    if let Some(parser) = fields.get("parser") {
        reference(&parser);
    }
    if let Some(handler) = fields.get("requestHandler") {
        handler.fields(|fields| fields.get("parsers").map(|parsers| parsers.list(64, reference)));
    }
}

/// A reference to a plugin that has a role which it cannot play there.
fn misplaced(field: &Field<'_>, plugin: &Plugin<'_>) {
    field.error(format!("{} has no place here", quoted(plugin.type_name)), "remove the reference");
}
