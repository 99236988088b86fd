//! Records the outcome of a run.

use std::time::Duration;

use pointsman_core::{Time, seconds};

use super::active_jobs::ActiveJob;
use super::event_queue::{EventQueue, ScheduledEvent};
use super::servers::Server;
use crate::outcome::{End, LoadPoint, Outcome};
use crate::scenario::Scenario;

/// Most load samples per engine. At this number every other sample is dropped and the interval doubles.
const MOST_SAMPLES: usize = 200;

/// Builds the outcome of a run.
#[derive(Debug)]
pub(super) struct Recorder {
    outcome: Outcome,
    warm_up: Time,
    last_end: Time,
    sample_every: Duration,
}

impl Recorder {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let outcome = Outcome { engines: vec![Vec::new(); scenario.fleet.len()], ..Outcome::default() };
        let points = u32::try_from(MOST_SAMPLES).unwrap_or(1);
        Self {
            outcome,
            warm_up: Time::ZERO + scenario.warm_up,
            last_end: Time::ZERO + scenario.warm_up,
            sample_every: (scenario.duration / points).max(Duration::from_millis(1)),
        }
    }

    /// Records the end of a job.
    pub(super) fn record(&mut self, now: Time, job: &ActiveJob, end: End, cached: u32) {
        if job.spec.arrival < self.warm_up {
            return;
        }
        self.last_end = self.last_end.max(now);
        self.outcome.jobs.push((job.spec.arrival, end));
        if let End::Answered { .. } = end {
            self.outcome.prompt_tokens += u64::from(job.spec.prompt_tokens);
            self.outcome.cached_tokens += u64::from(cached);
        }
    }

    /// Samples the engines' load and schedules the next sample.
    pub(super) fn sample(&mut self, now: Time, servers: &[Server], queue: &mut EventQueue) {
        for (points, server) in self.outcome.engines.iter_mut().zip(servers) {
            points.push(load_point(now, server));
        }
        if self.outcome.engines.first().is_some_and(|points| points.len() >= MOST_SAMPLES) {
            for points in &mut self.outcome.engines {
                let mut keep = false;
                points.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.sample_every *= 2;
        }
        queue.schedule(now + self.sample_every, ScheduledEvent::Sample);
    }

    /// The outcome; jobs that are still active are unfinished.
    pub(super) fn finish<'a>(
        mut self,
        active: impl Iterator<Item = &'a ActiveJob>,
        servers: &[Server],
        now: Time,
    ) -> Outcome {
        for job in active {
            self.record(now, job, End::Unfinished, 0);
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

/// The end of a job with a complete response.
pub(super) fn answered(now: Time, job: &ActiveJob) -> End {
    let arrival = job.spec.arrival;
    let milliseconds = |at: Time| (seconds(at.since(arrival)) * 1e3) as f32;
    End::Answered {
        ttft_ms: milliseconds(job.first_token.unwrap_or(now)),
        e2e_ms: milliseconds(now),
        output_tokens: job.spec.output_tokens,
    }
}

fn load_point(now: Time, server: &Server) -> LoadPoint {
    let gauges = server.engine.gauges();
    LoadPoint {
        at: seconds(now.since(Time::ZERO)) as f32,
        requests: gauges.running + gauges.waiting,
        waiting: gauges.waiting,
        kv_use: gauges.kv_usage as f32,
    }
}
