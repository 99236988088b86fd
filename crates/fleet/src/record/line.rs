//! The lines of an event log.

use pointsman_core::{Event, Time};
use serde::{Deserialize, Serialize};

/// The version of the format. It increases whenever lines of earlier logs can no longer be read, including by a change to
/// the core's events. Logs of other versions are refused.
pub const FORMAT: u32 = 3;

/// One line of an event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Fields")]
pub enum Line {
    /// The first line of a scheduler, which has no pools or endpoints at that point.
    Header {
        /// The scheduler's number.
        scheduler: u32,
        /// [`FORMAT`].
        format: u32,
        /// The version of Pointsman that wrote the log.
        build: String,
        /// The seed of its random numbers.
        seed: u64,
        /// Whether dispatches carry their [`Decision`](pointsman_core::Decision).
        decisions: bool,
    },
    /// An event that the scheduler handled.
    Event {
        /// The scheduler's number.
        scheduler: u32,
        /// The event's number in its scheduler, counted from 1.
        seq: u64,
        /// The time of the event.
        now: Time,
        /// The event. Block hashes are pseudonyms under a key of the file.
        event: Box<Event>,
    },
    /// The effects of the event with this number; left out where there were none.
    Effects {
        /// The scheduler's number.
        scheduler: u32,
        /// The event's number.
        seq: u64,
        /// Each an [`Effect`](pointsman_core::Effect), kept in its serialized form because replay compares that form.
        effects: Vec<serde_json::Value>,
    },
    /// Entries were lost. No lines of this scheduler follow.
    Gap {
        /// The scheduler's number.
        scheduler: u32,
        /// Always true.
        gap: bool,
    },
}

impl Line {
    /// The number of the scheduler that the line belongs to.
    #[must_use]
    pub const fn scheduler(&self) -> u32 {
        match self {
            Self::Header { scheduler, .. }
            | Self::Event { scheduler, .. }
            | Self::Effects { scheduler, .. }
            | Self::Gap { scheduler, .. } => *scheduler,
        }
    }
}

/// The fields of all lines. Reading them before choosing the variant parses each line once and keeps serde's error
/// messages, which an untagged enum drops.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    scheduler: u32,
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
        let scheduler = fields.scheduler;
        match fields {
            Fields { format: Some(format), build: Some(build), seed: Some(seed), decisions, .. } => {
                Ok(Self::Header { scheduler, format, build, seed, decisions: decisions.unwrap_or(false) })
            }
            Fields { seq: Some(seq), now: Some(now), event: Some(event), .. } => {
                Ok(Self::Event { scheduler, seq, now, event })
            }
            Fields { seq: Some(seq), effects: Some(effects), .. } => {
                Ok(Self::Effects { scheduler, seq, effects })
            }
            Fields { gap: Some(gap), .. } => Ok(Self::Gap { scheduler, gap }),
            _ => Err("neither a header nor an event, effects or a gap"),
        }
    }
}
