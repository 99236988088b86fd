//! An event log as a workload: arrivals with their facts, token counts and ends.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use pointsman_core::{
    Completion, Effect, Event, FailureCause, Rejection, RequestFacts, RequestId, Time, Usage,
};

use super::line::{FORMAT, Line};
use super::read::{ReplayError, read_log};

/// A request of an event log.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedArrival {
    /// The number of its scheduler; `facts.pool` is its InferencePool there.
    pub scheduler: u32,
    /// The arrival time, counted from the first arrival of the log.
    pub at: Duration,
    /// The facts at arrival. Block hashes are pseudonyms under a key of the log: equal for equal blocks of one log, and
    /// meaningless elsewhere. Endpoints in `subset` are the recorded run's.
    pub facts: RequestFacts,
    /// Output tokens by the engine's usage, or else as far as the door counted them; `None` without either.
    pub output_tokens: Option<u32>,
    /// The usage that the engine reported.
    pub usage: Usage,
    /// Time from the arrival to the first output token, where the log has it.
    pub first_token_after: Option<Duration>,
    /// Time from the arrival to the end of the request, where the log has it.
    pub ended_after: Option<Duration>,
    /// The end of the request.
    pub ending: RecordedEnding,
}

/// The end of a request of an event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedEnding {
    /// The log ends before the request.
    Open,
    /// A response ended this way.
    Answered(Completion),
    /// It was rejected.
    Rejected(Rejection),
    /// Its last attempt failed for this cause and could not be retried.
    Failed(FailureCause),
    /// The client or the door abandoned it.
    Aborted,
}

/// The requests of an event log, in order of arrival. Requests that run when a scheduler's log has a gap stay
/// [`RecordedEnding::Open`]; later arrivals of that scheduler are unknown.
///
/// # Errors
/// When the log cannot be read.
pub fn arrivals(reader: impl BufRead) -> Result<Vec<RecordedArrival>, ReplayError> {
    let mut reading = Reading::default();
    let mut lines = read_log(reader);
    while let Some(line) = lines.next() {
        let (line, number) = (line?, lines.number());
        let scheduler = line.scheduler();
        if !matches!(line, Line::Header { .. } | Line::Gap { .. }) && !reading.now.contains_key(&scheduler) {
            return Err(ReplayError::NoHeader { line: number, scheduler });
        }
        match line {
            Line::Header { format, build, .. } if format != FORMAT => {
                return Err(ReplayError::Format { line: number, found: format, build });
            }
            Line::Header { .. } => drop(reading.now.insert(scheduler, Time::ZERO)),
            Line::Event { now, event, .. } => reading.event(scheduler, now, *event),
            Line::Effects { effects, .. } => {
                for effect in effects {
                    let effect = serde_json::from_value(effect)
                        .map_err(|error| ReplayError::Line { line: number, reason: error.to_string() })?;
                    if let Effect::Reject { request, rejection } = effect {
                        reading.rejected(scheduler, request, rejection);
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
    /// Arrival times, parallel to `found`.
    times: Vec<Time>,
    /// Positions in `found` of the requests that have not ended.
    open: BTreeMap<RequestId, usize>,
    /// The time of each scheduler's last event, which is the time of the effects that follow it.
    now: BTreeMap<u32, Time>,
}

impl Reading {
    fn event(&mut self, scheduler: u32, now: Time, event: Event) {
        self.now.insert(scheduler, now);
        match event {
            Event::Arrived { request, facts } => {
                self.open.insert(request, self.found.len());
                self.times.push(now);
                self.found.push(RecordedArrival {
                    scheduler,
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
            Event::AttemptFailed { request, cause, retry: false, .. } => {
                self.ended(request, now, RecordedEnding::Failed(cause));
            }
            Event::Aborted { request } => self.ended(request, now, RecordedEnding::Aborted),
            Event::AttemptFailed { .. }
            | Event::ErrorAnswered { .. }
            | Event::ServedElsewhere { .. }
            | Event::EndpointUp { .. }
            | Event::EndpointDraining { .. }
            | Event::EndpointDown { .. }
            | Event::Load { .. }
            | Event::Probed { .. }
            | Event::Unreachable { .. }
            | Event::PoolPolicyChanged { .. }
            | Event::AdaptersDeclared { .. }
            | Event::Timer => {}
        }
    }

    fn rejected(&mut self, scheduler: u32, request: RequestId, rejection: Rejection) {
        let now = self.now.get(&scheduler).copied().unwrap_or_default();
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
        // All schedulers of a fleet use one clock, but their lines are interleaved only roughly in order of time.
        let first = self.times.iter().copied().min().unwrap_or_default();
        for (arrival, time) in self.found.iter_mut().zip(&self.times) {
            arrival.at = time.since(first);
        }
        self.found.sort_by_key(|arrival| arrival.at);
        self.found
    }
}
