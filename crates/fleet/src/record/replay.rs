//! Reading an event log, and doing it all again.

use std::collections::BTreeMap;
use std::io::BufRead;

use pointsman_core::{Effect, Event, Pool, PoolConfig, Time};
use serde_json::Value;

use super::line::{FORMAT, Line, RecordedEffect};

/// Longer lines are no lines of an event log: a megabyte of prompt has some ten thousand block hashes.
const MAX_LINE: u64 = 64 << 20;

/// Why an event log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The reader failed.
    #[error("line {line}: {source}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A line is none of an event log.
    #[error("line {line}: {source}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A line is absurdly long.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong {
        /// The line, from 1.
        line: u64,
    },
    /// The log was written in another form.
    #[error("format {found} is not {FORMAT}")]
    Format {
        /// Its form.
        found: u32,
    },
    /// A state machine's lines are not in order.
    #[error("pool {pool}: event {seq} is out of order")]
    Order {
        /// The state machine.
        pool: u32,
        /// The number where another was due.
        seq: u64,
    },
}

/// What came of doing it again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayReport {
    /// By state machine, in ascending order.
    pub pools: Vec<PoolReplay>,
}

impl ReplayReport {
    /// Whether every state machine decided everything as recorded, to the end of the log.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.pools.iter().all(|pool| pool.divergence.is_none() && !pool.gap)
    }
}

/// One state machine's part of a [`ReplayReport`].
#[derive(Clone, Debug, PartialEq)]
pub struct PoolReplay {
    /// The state machine.
    pub pool: u32,
    /// Events that were handled again.
    pub events: u64,
    /// Effects that came out as recorded.
    pub effects: u64,
    /// Whether the log has a gap, where its replay ended.
    pub gap: bool,
    /// The first event whose effects differ, where its replay ended.
    pub divergence: Option<Divergence>,
}

/// An event that the core answered otherwise than recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The event's number.
    pub seq: u64,
    /// The effects in the log.
    pub recorded: Vec<Value>,
    /// The effects now.
    pub replayed: Vec<Value>,
}

/// The lines of an event log. A last line without its end, as a killed process leaves it, is left out.
pub fn read_log(mut reader: impl BufRead) -> impl Iterator<Item = Result<Line, ReplayError>> {
    let mut number = 0;
    let mut text = Vec::new();
    std::iter::from_fn(move || {
        number += 1;
        text.clear();
        let mut bounded = std::io::Read::take(&mut reader, MAX_LINE);
        match bounded.read_until(b'\n', &mut text) {
            Err(source) => Some(Err(ReplayError::Read { line: number, source })),
            Ok(_) if text.last() == Some(&b'\n') => {
                let line = serde_json::from_slice(&text);
                Some(line.map_err(|source| ReplayError::Line { line: number, source }))
            }
            Ok(read) if u64::try_from(read).is_ok_and(|read| read >= MAX_LINE) => {
                Some(Err(ReplayError::TooLong { line: number }))
            }
            Ok(_) => None,
        }
    })
}

/// Feeds the recorded events to fresh state machines and compares what comes out, bit for bit.
///
/// # Errors
/// When the log cannot be read, or is not in order.
pub fn replay(reader: impl BufRead) -> Result<ReplayReport, ReplayError> {
    let mut machines = BTreeMap::new();
    for line in read_log(reader) {
        match line? {
            Line::Header { format, .. } if format != FORMAT => {
                return Err(ReplayError::Format { found: format });
            }
            Line::Header { pool, seed, decisions, .. } => {
                machines.insert(pool, Replayed::new(pool, PoolConfig { seed, decisions }));
            }
            Line::Event { pool, seq, now, event } => match machines.get_mut(&pool) {
                Some(machine) => machine.event(seq, now, *event)?,
                None => return Err(ReplayError::Order { pool, seq }),
            },
            Line::Effects { pool, seq, effects } => match machines.get_mut(&pool) {
                Some(machine) => machine.effects(seq, effects)?,
                None => return Err(ReplayError::Order { pool, seq }),
            },
            Line::Gap { pool, .. } => {
                if let Some(machine) = machines.get_mut(&pool) {
                    machine.gap();
                }
            }
        }
    }
    Ok(ReplayReport { pools: machines.into_values().map(Replayed::end).collect() })
}

struct Replayed {
    pool: Pool,
    report: PoolReplay,
    /// What the last event led to, until the log tells what it led to then.
    pending: Vec<Value>,
}

impl Replayed {
    fn new(pool: u32, config: PoolConfig) -> Self {
        let report = PoolReplay { pool, events: 0, effects: 0, gap: false, divergence: None };
        Self { pool: Pool::new(config), report, pending: Vec::new() }
    }

    const fn is_over(&self) -> bool {
        self.report.gap || self.report.divergence.is_some()
    }

    fn event(&mut self, seq: u64, now: Time, event: Event) -> Result<(), ReplayError> {
        // An event without effects has no line for them.
        self.compare(Vec::new());
        if self.is_over() {
            return Ok(());
        }
        if seq != self.report.events + 1 {
            return Err(ReplayError::Order { pool: self.report.pool, seq });
        }
        self.report.events = seq;
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
            return Err(ReplayError::Order { pool: self.report.pool, seq });
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
            self.report.effects += u64::try_from(recorded.len()).unwrap_or(u64::MAX);
        } else {
            self.report.divergence = Some(Divergence { seq: self.report.events, recorded, replayed });
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
