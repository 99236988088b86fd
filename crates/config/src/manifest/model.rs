//! InferenceModel, InferenceObjective and InferenceModelRewrite.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_yaml::{Field, Fields, Located, Location};

use super::metadata::read_labels;

use crate::kind::{POOL_GROUP, POOL_GROUP_EXPERIMENTAL};
use crate::models::Targets;
use crate::names::is_dns_name;

/// A reference to a pool of the same namespace, by name. The group of the reference is not compared: neither does the
/// picker of the Gateway API Inference Extension.
pub(crate) type PoolRef = Located<Arc<str>>;

/// The pools that an object applies to: of its namespace, by name or by label.
#[derive(Debug, PartialEq)]
pub(crate) struct PoolTargets {
    pub(crate) refs: Vec<PoolRef>,
    /// Labels of an InferencePool, all of which it must have; empty for no pool.
    pub(crate) labels: Located<BTreeMap<Box<str>, Box<str>>>,
}

/// An InferenceModel.
#[derive(Debug, PartialEq)]
pub(crate) struct InferenceModel {
    pub(crate) name: Located<Arc<str>>,
    pub(crate) priority: i32,
    pub(crate) targets: Targets,
    pub(crate) pool: PoolRef,
}

/// An InferenceObjective.
#[derive(Debug, PartialEq)]
pub(crate) struct InferenceObjective {
    pub(crate) priority: i32,
    pub(crate) pools: PoolTargets,
}

/// An InferenceModelRewrite.
#[derive(Debug, PartialEq)]
pub(crate) struct InferenceModelRewrite {
    pub(crate) pools: PoolTargets,
    pub(crate) rules: Vec<RewriteRule>,
}

/// A rule of an InferenceModelRewrite.
#[derive(Debug, PartialEq)]
pub(crate) struct RewriteRule {
    /// The model names that the rule matches.
    pub(crate) names: Vec<Located<Arc<str>>>,
    /// Whether the rule matches every model name.
    pub(crate) matches_all: bool,
    pub(crate) targets: Targets,
    pub(crate) location: Location,
}

/// Priorities of the criticalities on the scale of InferenceObjective, where requests below zero may be shed.
const CRITICALITIES: [(&str, i32); 3] = [("Critical", 1), ("Standard", 0), ("Sheddable", -1)];

pub(crate) fn read_model(spec: &mut Fields<'_>) -> Option<InferenceModel> {
    let name = spec.required_value("modelName", "write the model name in client requests", |f| {
        f.text_up_to(256).map(|text| f.locate(text.into()))
    });
    let priority = spec.value_or("criticality", 0, |f| f.choice(&CRITICALITIES));
    let targets = spec.get("targetModels").map(|f| read_targets(&f, 10, "name"));
    let pool = read_pool_ref(spec);
    Some(InferenceModel { name: name?, priority, targets: targets.unwrap_or_default(), pool: pool? })
}

pub(crate) fn read_objective(version: &str, spec: &mut Fields<'_>) -> Option<InferenceObjective> {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let priority = spec.value_or("priority", 0, |f| i32::try_from(f.integer(range)?).ok());
    if let Some(field) = spec.get("criticality")
        && let Some(priority) = field.choice(&CRITICALITIES)
    {
        field.error("is the former name of priority", format!("write priority: {priority}"));
    }
    let fix =
        "write an InferenceModelRewrite; a request selects its objective by x-gateway-inference-objective";
    spec.refuse("modelName", "an InferenceObjective applies to no model by name", fix);
    spec.refuse("targetModels", "an InferenceObjective replaces no model name", fix);
    Some(InferenceObjective { priority, pools: read_pool_targets(version, spec)? })
}

pub(crate) fn read_rewrite(version: &str, spec: &mut Fields<'_>) -> Option<InferenceModelRewrite> {
    let pools = read_pool_targets(version, spec);
    let rules = spec.required("rules", "write rules with targets").map(|f| f.list(64, read_rule));
    Some(InferenceModelRewrite { pools: pools?, rules: rules? })
}

/// Reads `poolRefs` and `poolSelector` of version v1, or `poolRef` of the versions before.
fn read_pool_targets(version: &str, spec: &mut Fields<'_>) -> Option<PoolTargets> {
    let no_labels = spec.location();
    if version != "v1" {
        for name in ["poolRefs", "poolSelector"] {
            let fix = "write poolRef: {name: …}, or apiVersion: llm-d.ai/v1";
            spec.refuse(name, "is a field of llm-d.ai/v1", fix);
        }
        if !spec.is_sound("poolRefs") || !spec.is_sound("poolSelector") {
            spec.ignore("poolRef");
            return None;
        }
        let labels = Located { value: BTreeMap::new(), location: no_labels };
        return Some(PoolTargets { refs: vec![read_pool_ref(spec)?], labels });
    }
    const FIX: &str = "write poolRefs: [{name: …}]";
    spec.refuse("poolRef", "is the name before llm-d.ai/v1", FIX);
    let refs = spec.get("poolRefs");
    let selector = spec.get("poolSelector");
    if refs.is_none() && selector.is_none() && spec.is_sound("poolRef") {
        spec.error_in("poolRefs", "is missing", FIX);
    }
    let refs = refs.map(|f| f.non_empty_list(16, FIX, read_pool_name)).unwrap_or_default();
    let labels = selector.and_then(|field| {
        let labels = field.fields(|fields| {
            fields.refuse("matchExpressions", "is not supported", "write matchLabels");
            fields.required("matchLabels", "write at least one label").map(|f| read_labels(&f))
        });
        Some(field.locate(labels.flatten()?))
    });
    let labels = labels.unwrap_or_else(|| Located { value: BTreeMap::new(), location: no_labels });
    spec.is_sound("poolRef").then_some(PoolTargets { refs, labels })
}

/// Reads the `poolRef` of an object.
pub(crate) fn read_pool_ref(spec: &mut Fields<'_>) -> Option<PoolRef> {
    let field = spec.required("poolRef", "name the InferencePool: poolRef: {name: …}")?;
    read_pool_name(&field)
}

fn read_pool_name(field: &Field<'_>) -> Option<PoolRef> {
    field.fields(|fields| {
        if let Some(group) = fields.get("group") {
            let known = |text: &str| text == POOL_GROUP || text == POOL_GROUP_EXPERIMENTAL;
            group.text_where(known, "the group of InferencePool, inference.networking.k8s.io");
        }
        fields.optional("kind", |f| f.text_where(|text| text == "InferencePool", "InferencePool"));
        let name = fields.required("name", "name the InferencePool")?;
        name.text_where(is_dns_name, "the name of a pool").map(|text| name.locate(text.into()))
    })?
}

fn read_rule(field: &Field<'_>) -> Option<RewriteRule> {
    field.fields(|fields| {
        let matches = fields.get("matches");
        let listed = matches.as_ref().map(|f| f.list(64, read_match)).unwrap_or_default();
        let targets = fields.get("targets");
        // The name of `targets` up to v1.2 of the extension.
        let split = fields.get("split");
        if let (Some(_), Some(split)) = (&targets, &split) {
            split.error("is the former name of targets, which is also present", "remove split");
        }
        let Some(targets) = targets.or(split) else {
            fields.error_in("targets", "is missing", "write at least one target");
            return None;
        };
        let read = read_targets(&targets, 64, "modelRewrite");
        if read.items.is_empty() && targets.is_sound() {
            targets.error("is empty", "write at least one target");
        }
        let matches_all = listed.is_empty() || listed.iter().any(Option::is_none);
        let names = listed.into_iter().flatten().collect();
        Some(RewriteRule { names, matches_all, targets: read, location: field.location() })
    })?
}

/// Reads a match: `Some(None)` for every model name, `None` where it is not usable.
fn read_match(field: &Field<'_>) -> Option<Option<Located<Arc<str>>>> {
    field.fields(|fields| {
        let Some(model) = fields.get("model") else { return Some(None) };
        model.fields(|fields| {
            fields.optional("type", |f| f.choice(&[("Exact", ())]));
            let value = fields.required("value", "write the model's name")?;
            value.text_up_to(256).map(|text| Some(value.locate(text.into())))
        })?
    })?
}

/// Maximum length of a target model name in bytes.
const MAX_TARGET_NAME: usize = 253;

/// Reads weighted targets. Either all have a weight, or none has one and all get the same share.
fn read_targets(field: &Field<'_>, max: usize, name_field: &'static str) -> Targets {
    let targets = field.list(max, |item| {
        item.fields(|fields| {
            let name =
                fields.required_value(name_field, "name the target model", |f| f.text_up_to(MAX_TARGET_NAME));
            let weight = fields.optional("weight", |f| f.integer(1..=1_000_000));
            let weight = weight?.and_then(|weight| u32::try_from(weight).ok());
            Some((Arc::<str>::from(name?), weight))
        })?
    });
    let with_weight = targets.iter().filter(|(_, weight)| weight.is_some()).count();
    if with_weight != 0 && with_weight != targets.len() && field.is_sound() {
        field.error("only some targets have a weight", "give all targets a weight, or none");
    }
    targets.into_iter().map(|(name, weight)| (name, weight.unwrap_or(1))).collect()
}
