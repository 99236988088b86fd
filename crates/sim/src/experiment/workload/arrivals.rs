//! `workload.arrivals`: the arrival process.

use pointsman_workload::Arrivals;
use pointsman_yaml::{Field, Fields, ValueKind};

use crate::experiment::values::{mistake, time_span};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Poisson,
    Constant,
    Gamma,
    Bursts,
    Recorded,
}

const ARRIVALS: [(&str, Kind); 5] = [
    ("poisson", Kind::Poisson),
    ("constant", Kind::Constant),
    ("gamma", Kind::Gamma),
    ("bursts", Kind::Bursts),
    ("recorded", Kind::Recorded),
];

/// Reads the arrival process. `has_trace` tells whether a trace can provide arrivals.
pub(super) fn read(field: &Field<'_>, has_trace: bool) -> Option<Arrivals> {
    let arrivals = match field.kind() {
        ValueKind::Mapping => field.fields(read_kind).flatten(),
        ValueKind::Number | ValueKind::String | ValueKind::List => match field.choice(&ARRIVALS)? {
            Kind::Poisson => Some(Arrivals::Poisson),
            Kind::Constant => Some(Arrivals::Constant),
            Kind::Recorded => Some(Arrivals::Recorded),
            Kind::Gamma => mistake(field, "gamma needs cv", "write arrivals: {kind: gamma, cv: 3}"),
            Kind::Bursts => {
                let fix = "write arrivals: {kind: bursts, on: 10s, off: 30s, factor: 5}";
                mistake(field, "bursts need on, off and factor", fix)
            }
        },
    }?;
    if arrivals == Arrivals::Recorded && !has_trace {
        return mistake(field, "there is no trace to take arrivals from", "write trace, or other arrivals");
    }
    Some(arrivals)
}

fn read_kind(fields: &mut Fields<'_>) -> Option<Arrivals> {
    let kind = fields.required("kind", "write kind: poisson, constant, gamma, bursts or recorded");
    let Some(kind) = kind.and_then(|field| field.choice(&ARRIVALS)) else {
        fields.ignore_rest();
        return None;
    };
    if kind != Kind::Gamma {
        fields.refuse("cv", "has no effect: only gamma arrivals have it", "remove it, or write kind: gamma");
    }
    if kind != Kind::Bursts {
        for name in ["on", "off", "factor"] {
            fields.refuse(name, "has no effect: only bursts have it", "remove it, or write kind: bursts");
        }
    }
    match kind {
        Kind::Poisson => Some(Arrivals::Poisson),
        Kind::Constant => Some(Arrivals::Constant),
        Kind::Recorded => Some(Arrivals::Recorded),
        Kind::Gamma => {
            let cv = fields.required("cv", "write cv: 3").and_then(|f| f.number(0.01..=100.0))?;
            Some(Arrivals::Gamma { cv })
        }
        Kind::Bursts => {
            let on = fields.required("on", "write on: 10s").and_then(|f| time_span(&f));
            let off = fields.required("off", "write off: 30s").and_then(|f| time_span(&f));
            let factor = fields.required("factor", "write factor: 5").and_then(|f| f.number(1.001..=1e4));
            Some(Arrivals::Bursts { on: on?, off: off?, factor: factor? })
        }
    }
}
