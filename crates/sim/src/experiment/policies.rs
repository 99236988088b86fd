//! `policies` and `bounds`: who decides.

use std::sync::Arc;

use pointsman_config::document::{Field, Fields, Shape, read_parameters};
use pointsman_core::{Placement, PoolPolicy, SaturationLimits};

use super::{Entrant, information};
use crate::scenario::{Bound, Information, Routing};

/// What an experiment compares that names no policies.
const DEFAULT: [&str; 4] = ["kubernetes-service", "round-robin", "least-request", "pointsman"];

impl Routing {
    /// Every policy with its published parameters, and every bound behind them.
    pub fn all() -> impl Iterator<Item = Self> {
        let pools =
            Placement::ALL.map(|placement| Self::Pool(PoolPolicy { placement, ..PoolPolicy::default() }));
        let services = [Self::ServicePerConnection, Self::ServicePerRequest];
        services.into_iter().chain(pools).chain(Bound::ALL.map(Self::Bound))
    }

    /// The policy or bound of that name, with its published parameters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|routing| routing.name() == name)
    }
}

pub(super) fn default(information: &Information) -> Vec<Entrant> {
    let entrant = |name: &str| Some(entrant(Routing::named(name)?, information));
    DEFAULT.into_iter().filter_map(entrant).collect()
}

fn entrant(routing: Routing, information: &Information) -> Entrant {
    Entrant { name: routing.name().into(), routing, information: information.clone() }
}

/// Reads the policies.
pub(super) fn read(field: &Field<'_>, default: &Information, block_size: Option<u32>) -> Vec<Entrant> {
    let mut known: Vec<Entrant> = Vec::new();
    let entrants = field.list(64, |item| {
        let entrant = match item.shape() {
            Shape::Map => item.fields(|fields| read_entrant(fields, default, block_size)).flatten()?,
            Shape::Number | Shape::Text | Shape::List => entrant(read_name(item)?, default),
        };
        if let Some(same) = known.iter().find(|same| same.name == entrant.name) {
            item.error(
                format!("{:?} stands there twice", same.name),
                "remove it, or give it a label of its own",
            );
            return None;
        }
        let runs_alike =
            |same: &&Entrant| same.routing == entrant.routing && same.information == entrant.information;
        if let Some(same) = known.iter().find(runs_alike) {
            let message = format!("differs from {:?} in nothing but its label", same.name);
            item.error(message, "remove it, or give it other parameters");
            return None;
        }
        known.push(entrant.clone());
        Some(entrant)
    });
    if entrants.is_empty() && field.is_sound() {
        field.error("has no policy", "write at least one, such as pointsman");
    }
    entrants
}

fn names(bounds: bool) -> Vec<(&'static str, &'static str)> {
    let wanted = Routing::all().filter(|routing| matches!(routing, Routing::Bound(_)) == bounds);
    wanted.map(|routing| (routing.name(), routing.name())).collect()
}

fn read_name(field: &Field<'_>) -> Option<Routing> {
    if let Some(text) = field.text()
        && let Some(bound @ Routing::Bound(_)) = Routing::named(text)
    {
        let message = format!("{} is a bound: no router can be it", bound.name());
        field.error(message, "write it under bounds");
        return None;
    }
    field.choice(&names(false)).and_then(Routing::named)
}

fn read_entrant(fields: &mut Fields<'_>, default: &Information, block_size: Option<u32>) -> Option<Entrant> {
    let name = fields.required("name", "write the policy's name, such as name: pointsman");
    let label = fields.get("label");
    let own = fields.get("information");
    let Some(routing) = name.and_then(|field| read_name(&field)) else {
        // Which parameters there may be is not known.
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
            let placement = read_parameters(policy.placement, fields);
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
    Some(Entrant { name, routing, information })
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
pub(super) fn read_bounds(field: &Field<'_>, information: &Information) -> Vec<Entrant> {
    let mut known: Vec<&str> = Vec::new();
    field.list(Bound::ALL.len(), |item| {
        let name = item.choice(&names(true))?;
        if known.contains(&name) {
            item.error("stands there twice", "remove it");
            return None;
        }
        known.push(name);
        Some(entrant(Routing::named(name)?, information))
    })
}

/// The place of the baseline among the policies.
pub(super) fn read_baseline(field: &Field<'_>, policies: &[Entrant]) -> Option<usize> {
    let name = field.text()?;
    let place = policies.iter().position(|entrant| *entrant.name == *name);
    if place.is_none() {
        let known: Vec<&str> = policies.iter().map(|entrant| &*entrant.name).collect();
        field
            .error(format!("{name:?} is none of the policies"), format!("write one of {}", known.join(", ")));
    }
    place
}
