//! The open loop: every request is sent at its planned time, whatever the outcome of earlier ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman_report::{Intervals, Latencies, RunReport, Samples, Slice};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::exchange::{Call, Outcome, RequestRecord, perform};
use crate::workload::Plan;

/// Options of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Limit of requests in flight; further ones are not sent and count as errors.
    pub max_in_flight: usize,
    /// Timeout from the planned send time to the last byte.
    pub timeout: Duration,
    /// Whether to record the gaps between tokens.
    pub record_gaps: bool,
    /// Makes this replay's prompts different from those of others: see [`Plan::body`].
    pub salt: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { max_in_flight: 10_000, timeout: Duration::from_secs(600), record_gaps: false, salt: 0 }
    }
}

/// Progress counters of a run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests of all plans started so far.
    pub planned: Counter,
    /// Requests that became due.
    pub sent: Counter,
    /// Requests with an outcome.
    pub finished: Counter,
    /// Requests without a complete response.
    pub failed: Counter,
}

/// A counter that tasks share.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The current count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to the count and returns the one before.
    pub(crate) fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed)
    }
}

/// Results of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadResult {
    /// A record per request, in the order of their ends.
    pub records: Vec<RequestRecord>,
    /// Time from the start to the last outcome.
    pub elapsed: Duration,
}

impl LoadResult {
    /// Number of requests by outcome.
    #[must_use]
    pub fn outcome_counts(&self) -> BTreeMap<Outcome, u64> {
        let mut tally = BTreeMap::new();
        for record in &self.records {
            *tally.entry(record.outcome).or_default() += 1;
        }
        tally
    }

    /// The generator's send lag in milliseconds, which is part of every latency.
    #[must_use]
    pub fn send_lag(&self) -> Samples {
        let lag = |record: &RequestRecord| record.sent.saturating_sub(record.intended).as_secs_f64() * 1e3;
        Samples::new(self.records.iter().map(lag).collect())
    }

    /// The run as a slice for statistics.
    #[must_use]
    pub fn slice(&self) -> Slice {
        let count = |wanted: fn(Outcome) -> bool| {
            self.records.iter().filter(|record| wanted(record.outcome)).count() as u64
        };
        let gaps = self.records.iter().flat_map(|record| record.gaps.iter().copied());
        Slice {
            latencies: Latencies::from_timings(self.records.iter().map(RequestRecord::timing))
                .with_gaps(gaps),
            completed: count(|outcome| outcome == Outcome::Ok),
            errors: count(|outcome| !matches!(outcome, Outcome::Ok | Outcome::Rejected)),
            rejected: count(|outcome| outcome == Outcome::Rejected),
            seconds: self.elapsed.as_secs_f64(),
        }
    }

    /// The run's report with the intervals of its quantiles.
    #[must_use]
    pub fn report(&self, name: &str) -> RunReport {
        let slice = self.slice();
        RunReport::new(name, &slice, Intervals::of_quantiles(&slice.latencies))
    }
}

/// Why a run could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the pacing thread: {0}")]
pub struct RunError(#[from] std::io::Error);

/// Runs a plan to its last outcome.
///
/// A dedicated thread paces requests, because the runtime's timer has a resolution of a millisecond; it also writes each body
/// before the request is due. Dropping the future cancels all requests in flight.
///
/// # Errors
/// When the pacing thread cannot start.
pub async fn run_plan(
    plan: &Arc<Plan>,
    client: &Arc<Client>,
    options: LoadOptions,
    progress: &Arc<Progress>,
) -> Result<LoadResult, RunError> {
    progress.planned.add(plan.requests.len() as u64);
    // Time for the pacing thread to start, so that the first request is not late.
    let start = Instant::now() + Duration::from_millis(5);
    let (due_sender, mut due) = mpsc::unbounded_channel();
    let paced = Arc::clone(plan);
    std::thread::Builder::new()
        .name("pacer".to_owned())
        .spawn(move || pace(&paced, start, options.salt, &due_sender))?;

    let mut result = LoadResult::default();
    let mut in_flight = JoinSet::new();
    let mut all_due = false;
    while !all_due || !in_flight.is_empty() {
        tokio::select! {
            next = due.recv(), if !all_due => match next {
                None => all_due = true,
                Some(Due { intended, .. }) if in_flight.len() >= options.max_in_flight => {
                    let now = start.elapsed();
                    let record = RequestRecord::failed(intended, now, now, Outcome::NotSent);
                    progress.sent.add(1);
                    finish_record(&mut result, progress, record);
                }
                Some(Due { intended, body }) => {
                    let call = Call {
                        api: plan.api.api(),
                        path: plan.api.path(),
                        body,
                        start,
                        intended,
                        timeout: options.timeout,
                        record_gaps: options.record_gaps,
                    };
                    progress.sent.add(1);
                    in_flight.spawn(perform(Arc::clone(client), call));
                }
            },
            Some(ended) = in_flight.join_next() => {
                // Tasks neither panic nor are aborted.
                if let Ok(record) = ended {
                    finish_record(&mut result, progress, record);
                }
            }
        }
    }
    result.elapsed = start.elapsed();
    Ok(result)
}

fn finish_record(result: &mut LoadResult, progress: &Progress, record: RequestRecord) {
    progress.finished.add(1);
    if record.outcome != Outcome::Ok {
        progress.failed.add(1);
    }
    result.records.push(record);
}

struct Due {
    intended: Duration,
    body: Bytes,
}

/// Sends each request to the loop when it is due; stops once the loop has ended.
fn pace(plan: &Plan, start: Instant, salt: u64, due: &mpsc::UnboundedSender<Due>) {
    for request in &plan.requests {
        let body = plan.body(request, salt);
        let wait = (start + request.at).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        if due.send(Due { intended: request.at, body }).is_err() {
            return;
        }
    }
}
