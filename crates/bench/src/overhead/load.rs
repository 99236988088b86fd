use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman_report::Samples;
use tokio::task::JoinSet;

use super::{OverheadError, OverheadOptions, Phase};
use crate::client::Client;
use crate::run::{LoadOptions, run_plan};
use crate::workload::{
    Arrivals, GenerationApi, Lengths, Plan, Source, WeightedModel, Workload, WorkloadError,
};

/// A small prompt: about 1 KB of body.
const SMALL_PROMPT: u32 = 230;

/// How long a server may take to answer its first request.
const READY_BUDGET: Duration = Duration::from_secs(15);

/// Requests in flight in the closed loop.
const IN_FLIGHT: usize = 64;

/// Streams at once; with an event every 10 ms each, 1,500 events per second.
const STREAMS: f64 = 15.0;

/// What one arm's slice of load did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    /// Requests that were answered whole.
    pub(crate) completed: u64,
    /// Requests that were not.
    pub(crate) failed: u64,
    /// How long the slice took.
    pub(crate) elapsed: Duration,
    /// End-to-end latencies in milliseconds; none in the closed loop.
    pub(crate) e2e: Samples,
}

/// The plan of one slice, the same for every arm; none for the closed loop.
pub(super) fn plan(
    phase: Phase,
    slice: usize,
    options: OverheadOptions,
) -> Result<Option<Plan>, WorkloadError> {
    let workload = match phase {
        Phase::Paced => workload(Arrivals::Poisson { rate: 1_000.0 }, options.paced_slice, SMALL_PROMPT),
        Phase::Saturated => return Ok(None),
        Phase::Prompts400Kb => workload(Arrivals::Constant { rate: 10.0 }, options.large_slice, 100_000),
        Phase::Prompts1Mb => workload(Arrivals::Constant { rate: 5.0 }, options.large_slice, 250_000),
        Phase::Streams => {
            // All start within 150 ms, spread over the phases of the engines' 10 ms.
            let start = Arrivals::Constant { rate: STREAMS / 0.15 };
            let mut streams = workload(start, Duration::from_millis(151), SMALL_PROMPT);
            streams.stream_share = 1.0;
            streams.source = source(SMALL_PROMPT, options.stream_events);
            streams
        }
    };
    workload.plan(slice as u64 + 1).map(Some)
}

fn workload(arrivals: Arrivals, duration: Duration, prompt: u32) -> Workload {
    Workload {
        arrivals,
        duration,
        source: source(prompt, 12),
        models: vec![WeightedModel { name: "stub".into(), weight: 1.0 }],
        stream_share: 0.0,
        api: GenerationApi::ChatCompletions,
        ignore_eos: false,
    }
}

fn source(prompt: u32, output: u32) -> Source {
    Source::Generated {
        prompt: Lengths::Constant(prompt),
        output: Lengths::Constant(output),
        shared_prefix: None,
    }
}

/// Sends a plan in an open loop.
pub(crate) async fn open_loop(client: &Arc<Client>, plan: &Arc<Plan>) -> Result<Observed, OverheadError> {
    let options = LoadOptions { timeout: Duration::from_secs(30), ..LoadOptions::default() };
    let result = run_plan(plan, client, options, &Arc::default()).await?;
    let slice = result.slice();
    Ok(Observed {
        completed: slice.completed,
        failed: slice.errors + slice.rejected,
        elapsed: result.elapsed,
        e2e: slice.latencies.samples(pointsman_report::Measure::E2e).clone(),
    })
}

/// Keeps 64 small requests in flight for `length`.
pub(crate) async fn closed_loop(client: &Arc<Client>, length: Duration) -> Result<Observed, OverheadError> {
    let plan =
        workload(Arrivals::Constant { rate: 1.0 }, Duration::from_millis(1_001), SMALL_PROMPT).plan(1)?;
    let body = plan.requests.first().map(|request| plan.body(request, 0)).unwrap_or_default();
    let (start, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..IN_FLIGHT {
        workers.spawn(repeat(Arc::clone(client), body.clone(), start + length));
    }
    let (mut completed, mut failed) = (0, 0);
    while let Some(ended) = workers.join_next().await {
        let (answered, unanswered) = ended.unwrap_or_default();
        completed += answered;
        failed += unanswered;
    }
    Ok(Observed { completed, failed, elapsed: start.elapsed(), e2e: Samples::default() })
}

async fn repeat(client: Arc<Client>, body: Bytes, until: Instant) -> (u64, u64) {
    let (mut completed, mut failed) = (0, 0);
    while Instant::now() < until {
        if answered(&client, body.clone()).await {
            completed += 1;
        } else {
            failed += 1;
            // A server that refuses at once must not become a busy loop.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    (completed, failed)
}

/// Waits until a server answers a small request whole.
pub(crate) async fn wait_until_answered(
    client: &Arc<Client>,
    server: &'static str,
) -> Result<(), OverheadError> {
    let body = Bytes::from_static(
        br#"{"model":"stub","messages":[{"role":"user","content":"hi"}],"max_tokens":1,"stream":false}"#,
    );
    let deadline = Instant::now() + READY_BUDGET;
    while !answered(client, body.clone()).await {
        if Instant::now() > deadline {
            let cause = "it listens but answers no request".to_owned();
            return Err(OverheadError::Start { server, cause });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Sends one request and reads the answer; whether it was a whole one.
pub(crate) async fn answered(client: &Arc<Client>, body: Bytes) -> bool {
    let Ok(mut answer) = client.post(GenerationApi::ChatCompletions.path(), body).await else {
        return false;
    };
    let success = answer.status.is_success();
    while let Some(piece) = answer.chunk().await {
        if piece.is_err() {
            return false;
        }
    }
    answer.finish();
    success
}
