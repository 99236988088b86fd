//! The lines of an event log.

use std::sync::Arc;

use pointsman_core::{Decision, Effect, EndpointId, Event, Health, Rejection, RequestId, Time};
use serde::{Deserialize, Serialize};

/// The version of the lines' form: a log of another one is refused. It goes up whenever a line that was written before
/// can no longer be read, be it for a change in the core's events.
pub const FORMAT: u32 = 3;

/// One line of an event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Fields")]
pub enum Line {
    /// The first line of a state scheduler, which is empty at that point.
    Header {
        /// The state scheduler.
        pool: u32,
        /// [`FORMAT`].
        format: u32,
        /// The version of Pointsman that wrote the log.
        build: String,
        /// Where its random numbers start.
        seed: u64,
        /// Whether decisions carry their record.
        decisions: bool,
    },
    /// Something happened.
    Event {
        /// The state scheduler.
        pool: u32,
        /// Counts up by one from 1 within the state scheduler.
        seq: u64,
        /// When.
        now: Time,
        /// What. Block hashes are scrambled with a key of the file.
        event: Box<Event>,
    },
    /// What the core answered to the event with this number; left out where it answered nothing.
    Effects {
        /// The state scheduler.
        pool: u32,
        /// The event's number.
        seq: u64,
        /// The answer: each a [`RecordedEffect`], kept as it is written so that it is compared as it is written.
        effects: Vec<serde_json::Value>,
    },
    /// Events were lost: nothing more of this state scheduler follows.
    Gap {
        /// The state scheduler.
        pool: u32,
        /// Always true.
        gap: bool,
    },
}

impl Line {
    /// The state scheduler that the line belongs to.
    #[must_use]
    pub const fn pool(&self) -> u32 {
        match self {
            Self::Header { pool, .. }
            | Self::Event { pool, .. }
            | Self::Effects { pool, .. }
            | Self::Gap { pool, .. } => *pool,
        }
    }
}

/// What lines are made of. Read as such, a line is gone through once, and what is wrong with it can be named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    pool: u32,
    format: Option<u32>,
    build: Option<String>,
    seed: Option<u64>,
    decisions: Option<bool>,
    seq: Option<u64>,
    now: Option<Time>,
    event: Option<Box<Event>>,
    effects: Option<Vec<serde_json::Value>>,
    gap: Option<bool>,
}

impl TryFrom<Fields> for Line {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let pool = fields.pool;
        match fields {
            Fields { format: Some(format), build: Some(build), seed: Some(seed), decisions, .. } => {
                Ok(Self::Header { pool, format, build, seed, decisions: decisions.unwrap_or(false) })
            }
            Fields { seq: Some(seq), now: Some(now), event: Some(event), .. } => {
                Ok(Self::Event { pool, seq, now, event })
            }
            Fields { seq: Some(seq), effects: Some(effects), .. } => Ok(Self::Effects { pool, seq, effects }),
            Fields { gap: Some(gap), .. } => Ok(Self::Gap { pool, gap }),
            _ => Err("neither a header nor an event, effects or a gap"),
        }
    }
}

/// An [`Effect`] as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RecordedEffect {
    /// [`Effect::Dispatch`].
    Dispatch {
        /// The request.
        request: RequestId,
        /// Where to.
        endpoint: EndpointId,
        /// Where to next.
        fallbacks: Vec<EndpointId>,
        /// Why there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<Arc<Decision>>,
    },
    /// [`Effect::Reject`].
    Reject {
        /// The request.
        request: RequestId,
        /// Why.
        rejection: Rejection,
    },
    /// [`Effect::Evict`].
    Evict {
        /// The request.
        request: RequestId,
    },
    /// [`Effect::WakeAt`].
    WakeAt(Time),
    /// [`Effect::HealthChanged`].
    HealthChanged {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its new health.
        health: Health,
    },
}

impl From<&Effect> for RecordedEffect {
    fn from(effect: &Effect) -> Self {
        match effect {
            Effect::Dispatch { request, endpoint, fallbacks, decision } => Self::Dispatch {
                request: *request,
                endpoint: *endpoint,
                fallbacks: fallbacks.as_slice().to_vec(),
                decision: decision.clone(),
            },
            Effect::Reject { request, rejection } => {
                Self::Reject { request: *request, rejection: *rejection }
            }
            Effect::Evict { request } => Self::Evict { request: *request },
            Effect::WakeAt(time) => Self::WakeAt(*time),
            Effect::HealthChanged { endpoint, health } => {
                Self::HealthChanged { endpoint: *endpoint, health: *health }
            }
        }
    }
}
