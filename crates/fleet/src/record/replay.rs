//! Replays an event log through the core and compares the effects.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::BufRead;

use pointsman_core::{Effect, Event, Scheduler, SchedulerConfig, Time};
use serde::Serialize;
use serde_json::Value;

use super::line::{FORMAT, Line};
use super::read::{ReplayError, read_log};

/// The result of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayReport {
    /// The schedulers, in ascending order of number.
    pub schedulers: Vec<SchedulerReplay>,
    /// The number of complete lines.
    pub lines: u64,
    /// Whether the log ends within a line, as a killed process leaves it. That line is skipped.
    pub cut_off: bool,
}

impl ReplayReport {
    /// Whether every effect was as recorded, to the end of the log.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.schedulers.iter().all(|scheduler| scheduler.divergence.is_none() && !scheduler.gap)
    }

    /// The first event of the log with other effects than recorded, and its scheduler.
    #[must_use]
    pub fn first_divergence(&self) -> Option<(u32, &Divergence)> {
        let diverged = self.schedulers.iter().filter_map(|it| Some((it.scheduler, it.divergence.as_ref()?)));
        diverged.min_by_key(|(_, divergence)| divergence.line)
    }
}

/// The replay of one scheduler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedulerReplay {
    /// The scheduler's number.
    pub scheduler: u32,
    /// The version of Pointsman that wrote the log; empty where the header was lost.
    #[serde(rename = "recorded_by")]
    pub build: String,
    /// The number of events replayed.
    pub events: u64,
    /// The number of effects that were as recorded.
    pub effects: u64,
    /// The number of dispatches and rejections among these effects.
    pub decisions: u64,
    /// Whether the replay ended at a gap mark.
    pub gap: bool,
    /// The first event with other effects than recorded. The replay ends there.
    pub divergence: Option<Divergence>,
}

/// An event with other effects than recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// The event's line in the log, from 1.
    pub line: u64,
    /// The event's number.
    #[serde(rename = "event")]
    pub seq: u64,
    /// The time of the event.
    #[serde(rename = "time_ns")]
    pub now: Time,
    /// The recorded effects.
    pub recorded: Vec<Value>,
    /// The effects of the replay.
    pub replayed: Vec<Value>,
}

/// Handles the recorded events in new schedulers and compares the serialized effects.
///
/// # Errors
/// When the log cannot be read, or is not in order.
pub fn replay(reader: impl BufRead) -> Result<ReplayReport, ReplayError> {
    let mut schedulers = BTreeMap::new();
    let mut lines = read_log(reader);
    while let Some(line) = lines.next() {
        let (line, at) = (line?, lines.number());
        let number = line.scheduler();
        if let Line::Header { format, build, seed, decisions, .. } = line {
            if format != FORMAT {
                return Err(ReplayError::Format { line: at, found: format, build });
            }
            let config = SchedulerConfig { seed, decisions };
            if schedulers.insert(number, Replayed::new(number, build, config)).is_some() {
                return Err(ReplayError::SecondHeader { line: at, scheduler: number });
            }
            continue;
        }
        let scheduler = match (schedulers.entry(number), &line) {
            (Entry::Occupied(scheduler), _) => scheduler.into_mut(),
            // The header was lost, too.
            (Entry::Vacant(place), Line::Gap { .. }) => {
                let config = SchedulerConfig { seed: 0, decisions: false };
                place.insert(Replayed::new(number, String::new(), config))
            }
            (Entry::Vacant(_), _) => return Err(ReplayError::NoHeader { line: at, scheduler: number }),
        };
        scheduler.line = at;
        match line {
            Line::Header { .. } => {}
            Line::Event { seq, now, event, .. } => scheduler.event(seq, now, *event)?,
            Line::Effects { seq, effects, .. } => scheduler.effects(seq, effects)?,
            Line::Gap { .. } => scheduler.gap(),
        }
    }
    let schedulers = schedulers.into_values().map(|it| it.report).collect();
    Ok(ReplayReport { schedulers, lines: lines.number(), cut_off: lines.is_cut_off() })
}

/// A scheduler while its events are replayed.
struct Replayed {
    core: Scheduler,
    report: SchedulerReplay,
    /// The number of the line being read.
    line: u64,
    /// The line and the time of the last event.
    event: (u64, Time),
    /// The effects of the last event, to be compared with the recorded ones. Effects that the log does not have because it
    /// ends are never compared.
    pending: Vec<Value>,
}

impl Replayed {
    fn new(scheduler: u32, build: String, config: SchedulerConfig) -> Self {
        let report = SchedulerReplay {
            scheduler,
            build,
            events: 0,
            effects: 0,
            decisions: 0,
            gap: false,
            divergence: None,
        };
        Self { core: Scheduler::new(config), report, line: 0, event: (0, Time::ZERO), pending: Vec::new() }
    }

    const fn is_over(&self) -> bool {
        self.report.gap || self.report.divergence.is_some()
    }

    const fn out_of_order(&self, seq: u64) -> ReplayError {
        ReplayError::Order { line: self.line, scheduler: self.report.scheduler, seq }
    }

    fn event(&mut self, seq: u64, now: Time, event: Event) -> Result<(), ReplayError> {
        // The event before had no line of effects, so it must have had none.
        self.compare(Vec::new());
        if self.is_over() {
            return Ok(());
        }
        if seq != self.report.events + 1 {
            return Err(self.out_of_order(seq));
        }
        self.report.events = seq;
        self.event = (self.line, now);
        let mut effects: Vec<Effect> = Vec::new();
        self.core.handle(now, event, &mut effects);
        self.pending =
            effects.iter().map(|effect| serde_json::to_value(effect).unwrap_or(Value::Null)).collect();
        Ok(())
    }

    fn effects(&mut self, seq: u64, recorded: Vec<Value>) -> Result<(), ReplayError> {
        if self.is_over() {
            return Ok(());
        }
        if seq != self.report.events {
            return Err(self.out_of_order(seq));
        }
        self.compare(recorded);
        Ok(())
    }

    fn compare(&mut self, recorded: Vec<Value>) {
        let replayed = std::mem::take(&mut self.pending);
        if self.is_over() {
            return;
        }
        if replayed == recorded {
            self.report.effects += recorded.len() as u64;
            self.report.decisions += recorded.iter().filter(|effect| is_decision(effect)).count() as u64;
        } else {
            let (line, now) = self.event;
            let seq = self.report.events;
            self.report.divergence = Some(Divergence { line, seq, now, recorded, replayed });
        }
    }

    /// The last event's effects are not compared, because they may be lost.
    fn gap(&mut self) {
        self.pending.clear();
        self.report.gap = true;
    }
}

fn is_decision(effect: &Value) -> bool {
    ["Dispatch", "Reject"].iter().any(|kind| effect.get(kind).is_some())
}
