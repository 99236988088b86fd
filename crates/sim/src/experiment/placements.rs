//! `placements` and `bounds`: the arms of an experiment.

use std::sync::Arc;

use pointsman_config::read_placement_parameters;
use pointsman_core::{Placement, PoolPolicy, SaturationLimits};
use pointsman_yaml::{Field, Fields, ValueKind};

use super::values::mistake;
use super::{Arm, information};
use crate::scenario::{Bound, Information, Routing};

/// Placements of an experiment that names none.
const DEFAULT: [&str; 4] = ["kubernetes-service", "round-robin", "least-request", "pointsman"];

impl Routing {
    /// Every routing with its default parameters, bounds last.
    pub fn all() -> impl Iterator<Item = Self> {
        let pools =
            Placement::ALL.map(|placement| Self::Pool(PoolPolicy { placement, ..PoolPolicy::default() }));
        let services = [Self::ServicePerConnection, Self::ServicePerRequest];
        services.into_iter().chain(pools).chain(Bound::ALL.map(Self::Bound))
    }

    /// The routing of that name with its default parameters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|routing| routing.name() == name)
    }
}

pub(super) fn default(information: &Information) -> Vec<Arm> {
    let arm = |name: &str| Some(arm(Routing::named(name)?, information));
    DEFAULT.into_iter().filter_map(arm).collect()
}

fn arm(routing: Routing, information: &Information) -> Arm {
    Arm { name: routing.name().into(), routing, information: information.clone() }
}

/// Reads the placements.
pub(super) fn read(field: &Field<'_>, default: &Information, block_size: Option<u32>) -> Vec<Arm> {
    let mut known: Vec<Arm> = Vec::new();
    let arms = field.list(64, |item| {
        let arm = match item.kind() {
            ValueKind::Mapping => item.fields(|fields| read_arm(fields, default, block_size)).flatten()?,
            ValueKind::Number | ValueKind::String | ValueKind::List => arm(read_name(item)?, default),
        };
        if let Some(same) = known.iter().find(|same| same.name == arm.name) {
            return mistake(
                item,
                format!("{:?} is listed twice", same.name),
                "remove it, or give it a label of its own",
            );
        }
        let runs_alike = |same: &&Arm| same.routing == arm.routing && same.information == arm.information;
        if let Some(same) = known.iter().find(runs_alike) {
            let message = format!("differs from {:?} only in its label", same.name);
            return mistake(item, message, "remove it, or give it other parameters");
        }
        known.push(arm.clone());
        Some(arm)
    });
    if arms.is_empty() && field.is_sound() {
        field.error("has no entry", "write at least one, such as pointsman");
    }
    arms
}

fn names(bounds: bool) -> Vec<(&'static str, &'static str)> {
    let wanted = Routing::all().filter(|routing| matches!(routing, Routing::Bound(_)) == bounds);
    wanted.map(|routing| (routing.name(), routing.name())).collect()
}

fn read_name(field: &Field<'_>) -> Option<Routing> {
    if let Some(text) = field.text()
        && let Some(bound @ Routing::Bound(_)) = Routing::named(text)
    {
        let message = format!("{} is a bound, not a placement", bound.name());
        return mistake(field, message, "write it under bounds");
    }
    field.choice(&names(false)).and_then(Routing::named)
}

fn read_arm(fields: &mut Fields<'_>, default: &Information, block_size: Option<u32>) -> Option<Arm> {
    let name = fields.required("name", "write the placement's name, such as name: pointsman");
    let label = fields.get("label");
    let own = fields.get("information");
    let Some(routing) = name.and_then(|field| read_name(&field)) else {
        // Without a name, its parameters are unknown.
        fields.ignore_rest();
        return None;
    };
    let information = match own {
        Some(field) => information::read(&field, default, block_size)?,
        None => default.clone(),
    };
    let routing = match routing {
        Routing::Pool(policy) => {
            let limits = fields.get("saturation").and_then(|f| f.fields(read_saturation));
            let placement = read_placement_parameters(policy.placement, fields);
            Routing::Pool(PoolPolicy { placement, saturation: limits.unwrap_or(policy.saturation), ..policy })
        }
        Routing::ServicePerConnection | Routing::ServicePerRequest | Routing::Bound(_) => routing,
    };
    let name: Arc<str> = match label {
        Some(field) => field
            .text_where(is_label, "a name of letters, digits and - . _ / : with up to 63 of them")?
            .into(),
        None => routing.name().into(),
    };
    Some(Arm { name, routing, information })
}

fn is_label(text: &str) -> bool {
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"-._/:".contains(&b);
    (1..=63).contains(&text.len()) && text.bytes().all(is_sound)
}

fn read_saturation(fields: &mut Fields<'_>) -> SaturationLimits {
    let default = SaturationLimits::default();
    let waiting = fields.get("waiting").and_then(|f| f.u32_from(0)).unwrap_or(default.waiting);
    let kv_use = fields.get("kvUse").and_then(|f| f.share()).unwrap_or(default.kv_use);
    SaturationLimits { waiting, kv_use }
}

/// Reads the bounds.
pub(super) fn read_bounds(field: &Field<'_>, information: &Information) -> Vec<Arm> {
    let mut known: Vec<&str> = Vec::new();
    field.list(Bound::ALL.len(), |item| {
        let name = item.choice(&names(true))?;
        if known.contains(&name) {
            return mistake(item, "is listed twice", "remove it");
        }
        known.push(name);
        Some(arm(Routing::named(name)?, information))
    })
}

/// Index of the baseline among the placements.
pub(super) fn read_baseline(field: &Field<'_>, placements: &[Arm]) -> Option<usize> {
    let name = field.text()?;
    let index = placements.iter().position(|arm| *arm.name == *name);
    if index.is_none() {
        let known: Vec<&str> = placements.iter().map(|arm| &*arm.name).collect();
        field.error(
            format!("{name:?} is none of the placements"),
            format!("write one of {}", known.join(", ")),
        );
    }
    index
}
