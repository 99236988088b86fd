//! Doing all of an event log again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::BufRead;

use pointsman_core::{Effect, Event, Scheduler, SchedulerConfig, Time};
use serde_json::Value;

use super::line::{FORMAT, Line, RecordedEffect};
use super::read::{ReplayError, read_log};

/// What came of doing it again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayReport {
    /// By state scheduler, in ascending order.
    pub pools: Vec<PoolReplay>,
    /// Whole lines that were read.
    pub lines: u64,
    /// Whether the log ends within a line, as a killed process leaves it; that line is not looked at.
    pub cut_off: bool,
}

impl ReplayReport {
    /// Whether every state scheduler decided everything as recorded, to the end of the log.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.pools.iter().all(|pool| pool.divergence.is_none() && !pool.gap)
    }

    /// The first event of the log that the core answered otherwise, and its state scheduler.
    #[must_use]
    pub fn first_divergence(&self) -> Option<(u32, &Divergence)> {
        let found = self.pools.iter().filter_map(|pool| Some((pool.pool, pool.divergence.as_ref()?)));
        found.min_by_key(|(_, divergence)| divergence.line)
    }
}

/// One state scheduler's part of a [`ReplayReport`].
#[derive(Clone, Debug, PartialEq)]
pub struct PoolReplay {
    /// The state scheduler.
    pub pool: u32,
    /// The version of Pointsman that wrote the log; empty where it was lost.
    pub build: String,
    /// Events that were handled again.
    pub events: u64,
    /// Effects that came out as recorded.
    pub effects: u64,
    /// Dispatches and rejections among them.
    pub decisions: u64,
    /// Whether the log has a gap, where its replay ended.
    pub gap: bool,
    /// The first event whose effects differ, where its replay ended.
    pub divergence: Option<Divergence>,
}

/// An event that the core answered otherwise than recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The event's line in the log, from 1.
    pub line: u64,
    /// The event's number.
    pub seq: u64,
    /// When it happened.
    pub now: Time,
    /// The effects in the log.
    pub recorded: Vec<Value>,
    /// The effects now.
    pub replayed: Vec<Value>,
}

/// Feeds the recorded events to fresh state schedulers and compares what comes out, bit for bit.
///
/// # Errors
/// When the log cannot be read, or is not in order.
pub fn replay(reader: impl BufRead) -> Result<ReplayReport, ReplayError> {
    let mut schedulers = BTreeMap::new();
    let mut lines = read_log(reader);
    while let Some(line) = lines.next() {
        let (line, number) = (line?, lines.number());
        let pool = line.pool();
        if let Line::Header { format, build, seed, decisions, .. } = line {
            if format != FORMAT {
                return Err(ReplayError::Format { line: number, found: format, build });
            }
            let config = SchedulerConfig { seed, decisions };
            if schedulers.insert(pool, Replayed::new(pool, build, config)).is_some() {
                return Err(ReplayError::SecondHeader { line: number, pool });
            }
            continue;
        }
        let scheduler = match (schedulers.entry(pool), &line) {
            (Entry::Occupied(scheduler), _) => scheduler.into_mut(),
            // The header itself was lost.
            (Entry::Vacant(place), Line::Gap { .. }) => place.insert(Replayed::new(
                pool,
                String::new(),
                SchedulerConfig { seed: 0, decisions: false },
            )),
            (Entry::Vacant(_), _) => return Err(ReplayError::NoHeader { line: number, pool }),
        };
        scheduler.line = number;
        match line {
            Line::Header { .. } => {}
            Line::Event { seq, now, event, .. } => scheduler.event(seq, now, *event)?,
            Line::Effects { seq, effects, .. } => scheduler.effects(seq, effects)?,
            Line::Gap { .. } => scheduler.gap(),
        }
    }
    let pools = schedulers.into_values().map(Replayed::end).collect();
    Ok(ReplayReport { pools, lines: lines.number(), cut_off: lines.is_cut_off() })
}

struct Replayed {
    pool: Scheduler,
    report: PoolReplay,
    /// The line that is read.
    line: u64,
    /// The last event's line and time.
    event: (u64, Time),
    /// What the last event led to, until the log tells what it led to then.
    pending: Vec<Value>,
}

impl Replayed {
    fn new(pool: u32, build: String, config: SchedulerConfig) -> Self {
        let report =
            PoolReplay { pool, build, events: 0, effects: 0, decisions: 0, gap: false, divergence: None };
        Self { pool: Scheduler::new(config), report, line: 0, event: (0, Time::ZERO), pending: Vec::new() }
    }

    const fn is_over(&self) -> bool {
        self.report.gap || self.report.divergence.is_some()
    }

    const fn out_of_order(&self, seq: u64) -> ReplayError {
        ReplayError::Order { line: self.line, pool: self.report.pool, seq }
    }

    fn event(&mut self, seq: u64, now: Time, event: Event) -> Result<(), ReplayError> {
        // An event without effects has no line for them.
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
        self.pool.handle(now, event, &mut effects);
        self.pending = effects
            .iter()
            .map(|effect| serde_json::to_value(RecordedEffect::from(effect)).unwrap_or(Value::Null))
            .collect();
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

    /// The effects of the last event may be among what was lost.
    fn gap(&mut self) {
        self.pending.clear();
        self.report.gap = true;
    }

    /// The effects of the last event may not have been written any more.
    fn end(self) -> PoolReplay {
        self.report
    }
}

fn is_decision(effect: &Value) -> bool {
    ["Dispatch", "Reject"].iter().any(|kind| effect.get(kind).is_some())
}
