//! InferenceModel, InferenceObjective and InferenceModelRewrite.

use std::sync::Arc;

use super::kind::{POOL_GROUP, POOL_GROUP_EXPERIMENTAL};
use crate::decode::{Field, Fields, is_dns_name};
use crate::models::Targets;
use crate::problem::Located;

/// A reference to a pool of the same namespace, by name. Both groups are accepted, as the extension's own picker
/// compares names only.
pub(crate) type PoolRef = Located<Arc<str>>;

#[derive(Debug, PartialEq)]
pub(crate) struct InferenceModel {
    pub(crate) name: Located<Arc<str>>,
    pub(crate) priority: i32,
    pub(crate) targets: Targets,
    pub(crate) pool: PoolRef,
}

#[derive(Debug, PartialEq)]
pub(crate) struct InferenceObjective {
    pub(crate) priority: i32,
    pub(crate) pool: PoolRef,
}

#[derive(Debug, PartialEq)]
pub(crate) struct InferenceModelRewrite {
    pub(crate) pool: PoolRef,
    pub(crate) rules: Vec<RewriteRule>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct RewriteRule {
    /// Exact names; none for every name.
    pub(crate) names: Vec<Located<Arc<str>>>,
    /// Whether a match of the rule takes every name.
    pub(crate) every: bool,
    pub(crate) targets: Targets,
    pub(crate) spot: crate::problem::Spot,
}

/// Critical is above Standard is above Sheddable; the numbers are those of InferenceObjective's scale, on which
/// what is below zero may be shed.
const CRITICALITIES: [(&str, i32); 3] = [("Critical", 1), ("Standard", 0), ("Sheddable", -1)];

pub(crate) fn read_model(spec: &mut Fields<'_>) -> Option<InferenceModel> {
    let name = spec
        .required("modelName", "write the name that clients ask for")
        .and_then(|f| f.text_up_to(256).map(|text| f.locate(text.into())));
    let priority = spec.get("criticality").map_or(Some(0), |f| f.choice(&CRITICALITIES));
    let targets = spec.get("targetModels").map(|f| read_targets(&f, 10, "name", 253));
    let pool = read_pool_ref(spec);
    Some(InferenceModel {
        name: name?,
        priority: priority.unwrap_or(0),
        targets: targets.unwrap_or_default(),
        pool: pool?,
    })
}

pub(crate) fn read_objective(spec: &mut Fields<'_>) -> Option<InferenceObjective> {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let priority = spec.get("priority").map_or(Some(0), |f| f.integer(range));
    let pool = read_pool_ref(spec);
    Some(InferenceObjective {
        priority: priority.and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        pool: pool?,
    })
}

pub(crate) fn read_rewrite(spec: &mut Fields<'_>) -> Option<InferenceModelRewrite> {
    let pool = read_pool_ref(spec);
    let rules = spec.required("rules", "write rules with targets");
    let rules = rules.map(|f| f.list(64, read_rule));
    Some(InferenceModelRewrite { pool: pool?, rules: rules? })
}

/// The `poolRef` of an object.
pub(crate) fn read_pool_ref(spec: &mut Fields<'_>) -> Option<PoolRef> {
    let field = spec.required("poolRef", "name the InferencePool: poolRef: {name: …}")?;
    field.fields(|fields| {
        if let Some(group) = fields.get("group") {
            let known = |text: &str| text == POOL_GROUP || text == POOL_GROUP_EXPERIMENTAL;
            group.text_where(known, "the group of InferencePool, inference.networking.k8s.io");
        }
        if let Some(kind) = fields.get("kind") {
            kind.text_where(|text| text == "InferencePool", "InferencePool");
        }
        let name = fields.required("name", "name the InferencePool")?;
        name.text_where(is_dns_name, "the name of a pool").map(|text| name.locate(text.into()))
    })?
}

fn read_rule(field: &Field<'_>) -> Option<RewriteRule> {
    field.fields(|fields| {
        let matches = fields.get("matches");
        let listed = matches.as_ref().map(|f| f.list(64, read_match)).unwrap_or_default();
        let targets = fields.get("targets");
        // The field's name in the extension's v1.2.
        let split = fields.get("split");
        if let (Some(_), Some(split)) = (&targets, &split) {
            split.error("is the older name of targets, which is there too", "remove split");
        }
        let Some(targets) = targets.or(split) else {
            let spot = fields.spot();
            fields.report.error(
                spot.mark,
                &format!("{}.targets", spot.path),
                "is missing",
                "write at least one target",
            );
            return None;
        };
        let read = read_targets(&targets, 64, "modelRewrite", 253);
        if read.is_empty() && targets.is_sound() {
            targets.error("has no target", "write at least one");
        }
        let every = listed.is_empty() || listed.iter().any(Option::is_none);
        let names = listed.into_iter().flatten().collect();
        Some(RewriteRule { names, every, targets: read, spot: field.spot() })
    })?
}

/// A name, or `None` for every name; the outer `None` where it cannot be read.
#[expect(clippy::option_option, reason = "a match that names nothing differs from a match that is wrong")]
fn read_match(field: &Field<'_>) -> Option<Option<Located<Arc<str>>>> {
    field.fields(|fields| {
        let Some(model) = fields.get("model") else { return Some(None) };
        model.fields(|fields| {
            if let Some(kind) = fields.get("type") {
                kind.choice(&[("Exact", ())]);
            }
            let value = fields.required("value", "write the model's name")?;
            value.text_up_to(256).map(|text| Some(value.locate(text.into())))
        })?
    })?
}

/// Weighted targets: all of them have a weight, or none has one and each gets the same share.
fn read_targets(field: &Field<'_>, most: usize, name_field: &'static str, longest: usize) -> Targets {
    let targets = field.list(most, |item| {
        item.fields(|fields| {
            let name =
                fields.required(name_field, "name the target model").and_then(|f| f.text_up_to(longest));
            let weight = fields.get("weight").map(|f| f.integer(1..=1_000_000));
            let weight = match weight {
                None => None,
                Some(read) => Some(u32::try_from(read?).ok()?),
            };
            Some((Arc::<str>::from(name?), weight))
        })?
    });
    let with_weight = targets.iter().filter(|(_, weight)| weight.is_some()).count();
    if with_weight != 0 && with_weight != targets.len() && field.is_sound() {
        field.error("some targets have a weight and some have none", "give all of them a weight, or none");
    }
    Targets::new(targets.into_iter().map(|(name, weight)| (name, weight.unwrap_or(1))))
}
