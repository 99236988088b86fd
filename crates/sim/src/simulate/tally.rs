//! What a run came to, as it goes on.

use std::time::Duration;

use pointsman_core::{Time, seconds};

use super::agenda::{Agenda, Occasion};
use super::flights::Flight;
use super::servers::Server;
use crate::outcome::{End, LoadPoint, Outcome};
use crate::scenario::Scenario;

/// The most points of load that are kept for an engine; when there are more, every other one goes.
const MOST_POINTS: usize = 200;

/// The outcome in the making.
#[derive(Debug)]
pub(super) struct Tally {
    outcome: Outcome,
    warm_up: Time,
    last_end: Time,
    sample_every: Duration,
}

impl Tally {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let outcome = Outcome { engines: vec![Vec::new(); scenario.fleet.len()], ..Outcome::default() };
        let points = u32::try_from(MOST_POINTS).unwrap_or(1);
        Self {
            outcome,
            warm_up: Time::ZERO + scenario.warm_up,
            last_end: Time::ZERO + scenario.warm_up,
            sample_every: (scenario.duration / points).max(Duration::from_millis(1)),
        }
    }

    /// A job came to its end.
    pub(super) fn ended(&mut self, now: Time, flight: &Flight, end: End, cached: u32) {
        if flight.job.arrival < self.warm_up {
            return;
        }
        self.last_end = self.last_end.max(now);
        self.outcome.jobs.push((flight.job.arrival, end));
        if let End::Answered { .. } = end {
            self.outcome.prompt_tokens += u64::from(flight.job.prompt_tokens);
            self.outcome.cached_tokens += u64::from(cached);
        }
    }

    /// Notes down the engines' load, and when to do so next.
    pub(super) fn sample(&mut self, now: Time, servers: &[Server], agenda: &mut Agenda) {
        for (points, server) in self.outcome.engines.iter_mut().zip(servers) {
            points.push(load_point(now, server));
        }
        if self.outcome.engines.first().is_some_and(|points| points.len() >= MOST_POINTS) {
            for points in &mut self.outcome.engines {
                let mut keep = false;
                points.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.sample_every *= 2;
        }
        agenda.plan(now + self.sample_every, Occasion::Sample);
    }

    /// The outcome; what is still under way has not ended.
    pub(super) fn finish<'a>(
        mut self,
        left: impl Iterator<Item = &'a Flight>,
        servers: &[Server],
        now: Time,
    ) -> Outcome {
        for flight in left {
            self.ended(now, flight, End::Unfinished, 0);
        }
        for server in servers {
            let (preemptions, adapter_loads) = server.lifetime_totals();
            self.outcome.preemptions += preemptions;
            self.outcome.adapter_loads += adapter_loads;
        }
        self.outcome.seconds = seconds(self.last_end.since(self.warm_up));
        self.outcome
    }
}

/// How a job that was answered ended.
#[expect(clippy::cast_possible_truncation, reason = "a float has digits enough for milliseconds of a run")]
pub(super) fn answered(now: Time, flight: &Flight) -> End {
    let arrival = flight.job.arrival;
    let milliseconds = |at: Time| (seconds(at.since(arrival)) * 1e3) as f32;
    End::Answered {
        ttft_ms: milliseconds(flight.first_token.unwrap_or(now)),
        e2e_ms: milliseconds(now),
        output_tokens: flight.job.output_tokens,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "plots need no more digits")]
fn load_point(now: Time, server: &Server) -> LoadPoint {
    let gauges = server.engine.gauges();
    LoadPoint {
        at: seconds(now.since(Time::ZERO)) as f32,
        requests: gauges.running + gauges.waiting,
        waiting: gauges.waiting,
        kv_use: gauges.kv_usage as f32,
    }
}
