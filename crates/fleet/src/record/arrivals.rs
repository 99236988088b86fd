//! An event log as a workload: who asked for what, when, and what came of it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use pointsman_core::{Completion, Event, FailureCause, Rejection, RequestFacts, RequestId, Time, Usage};

use super::line::{FORMAT, Line, RecordedEffect};
use super::read::{ReplayError, read_log};

/// A request as an event log tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedArrival {
    /// The state scheduler that it came to; `facts.pool` says which InferencePool of it.
    pub pool: u32,
    /// When, since the first arrival of the log.
    pub at: Duration,
    /// What it asked for. Its block hashes are scrambled with a key of the log: equal where the prompts were, and
    /// without meaning elsewhere. Endpoints in `subset` are the recorded run's.
    pub facts: RequestFacts,
    /// Output tokens, as the engine counted them or else as far as the door saw them; none where nobody saw any.
    pub output_tokens: Option<u32>,
    /// What the engine reported at the end.
    pub usage: Usage,
    /// From its arrival to its first output token, where that was seen.
    pub first_token_after: Option<Duration>,
    /// From its arrival to its end, where the log tells it.
    pub ended_after: Option<Duration>,
    /// How it ended.
    pub ending: RecordedEnding,
}

/// How a request of an event log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedEnding {
    /// The log ends before the request did.
    Open,
    /// Its answer came to this end.
    Answered(Completion),
    /// It was not served.
    Rejected(Rejection),
    /// Its last attempt failed for this cause, and could not be repeated.
    Failed(FailureCause),
    /// Nobody waited for it any more.
    Aborted,
}

/// The requests of an event log, in order of arrival. Where a state scheduler's log has a gap, what it held then stays
/// [`RecordedEnding::Open`], and what it got later is unknown.
///
/// # Errors
/// When the log cannot be read.
pub fn arrivals(reader: impl BufRead) -> Result<Vec<RecordedArrival>, ReplayError> {
    let mut reading = Reading::default();
    let mut lines = read_log(reader);
    while let Some(line) = lines.next() {
        let (line, number) = (line?, lines.number());
        let pool = line.pool();
        if !matches!(line, Line::Header { .. } | Line::Gap { .. }) && !reading.now.contains_key(&pool) {
            return Err(ReplayError::NoHeader { line: number, pool });
        }
        match line {
            Line::Header { format, build, .. } if format != FORMAT => {
                return Err(ReplayError::Format { line: number, found: format, build });
            }
            Line::Header { .. } => drop(reading.now.insert(pool, Time::ZERO)),
            Line::Event { now, event, .. } => reading.event(pool, now, *event),
            Line::Effects { effects, .. } => {
                for effect in effects {
                    let effect = serde_json::from_value(effect)
                        .map_err(|error| ReplayError::Line { line: number, reason: error.to_string() })?;
                    if let RecordedEffect::Reject { request, rejection } = effect {
                        reading.rejected(pool, request, rejection);
                    }
                }
            }
            Line::Gap { .. } => {}
        }
    }
    Ok(reading.end())
}

#[derive(Default)]
struct Reading {
    found: Vec<RecordedArrival>,
    /// Arrival times, beside `found`.
    times: Vec<Time>,
    /// Where the requests stand that have not ended.
    open: BTreeMap<RequestId, usize>,
    /// The last event's time of each state scheduler: when its effects happened.
    now: BTreeMap<u32, Time>,
}

impl Reading {
    fn event(&mut self, pool: u32, now: Time, event: Event) {
        self.now.insert(pool, now);
        match event {
            Event::Arrived { request, facts } => {
                self.open.insert(request, self.found.len());
                self.times.push(now);
                self.found.push(RecordedArrival {
                    pool,
                    at: Duration::ZERO,
                    facts,
                    output_tokens: None,
                    usage: Usage::default(),
                    first_token_after: None,
                    ended_after: None,
                    ending: RecordedEnding::Open,
                });
            }
            Event::FirstToken { request } => {
                if let Some((arrived, arrival)) = self.of(request) {
                    arrival.first_token_after = Some(now.since(arrived));
                    arrival.output_tokens = arrival.output_tokens.max(Some(1));
                }
            }
            Event::Progress { request, output_tokens } => {
                if let Some((_, arrival)) = self.of(request) {
                    arrival.output_tokens = arrival.output_tokens.max(Some(output_tokens));
                }
            }
            Event::Finished { request, completion, usage } => {
                if let Some((_, arrival)) = self.of(request) {
                    arrival.usage = usage;
                    arrival.output_tokens = usage.output_tokens.or(arrival.output_tokens);
                }
                self.ended(request, now, RecordedEnding::Answered(completion));
            }
            Event::AttemptFailed { request, cause, repeat: false, .. } => {
                self.ended(request, now, RecordedEnding::Failed(cause));
            }
            Event::Aborted { request } => self.ended(request, now, RecordedEnding::Aborted),
            Event::AttemptFailed { .. }
            | Event::CachesRead { .. }
            | Event::ServedElsewhere { .. }
            | Event::EndpointUp { .. }
            | Event::EndpointDraining { .. }
            | Event::EndpointDown { .. }
            | Event::Load { .. }
            | Event::Probed { .. }
            | Event::PoolPolicyChanged { .. }
            | Event::AdaptersDeclared { .. }
            | Event::Timer => {}
        }
    }

    fn rejected(&mut self, pool: u32, request: RequestId, rejection: Rejection) {
        let now = self.now.get(&pool).copied().unwrap_or_default();
        self.ended(request, now, RecordedEnding::Rejected(rejection));
    }

    fn of(&mut self, request: RequestId) -> Option<(Time, &mut RecordedArrival)> {
        let place = *self.open.get(&request)?;
        Some((*self.times.get(place)?, self.found.get_mut(place)?))
    }

    fn ended(&mut self, request: RequestId, now: Time, ending: RecordedEnding) {
        if let Some((arrived, arrival)) = self.of(request) {
            arrival.ended_after = Some(now.since(arrived));
            arrival.ending = ending;
        }
        self.open.remove(&request);
    }

    fn end(mut self) -> Vec<RecordedArrival> {
        // The schedulers of a fleet have one clock; their lines are mixed and not quite in order of time.
        let first = self.times.iter().copied().min().unwrap_or_default();
        for (arrival, time) in self.found.iter_mut().zip(&self.times) {
            arrival.at = time.since(first);
        }
        self.found.sort_by_key(|arrival| arrival.at);
        self.found
    }
}
