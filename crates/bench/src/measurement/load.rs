//! Loads and results that both overhead measurements share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman_report::Samples;
use pointsman_workload::Distribution;
use tokio::task::JoinSet;

use super::MeasurementError;
use crate::client::Client;
use crate::run::{LoadOptions, run_plan};
use crate::workload::{GenerationApi, OfferedLoad, Plan, Source, WeightedModel, Workload, WorkloadError};

/// Tokens of a small prompt: about 1 KB of body.
pub(crate) const SMALL_PROMPT: u32 = 230;

/// Time limit for a server's first response.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests in flight in a closed loop.
pub(crate) const IN_FLIGHT: usize = 64;

/// Results of one arm's slice of load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    /// Requests with a complete response.
    pub(crate) completed: u64,
    /// All other requests.
    pub(crate) failed: u64,
    /// Duration of the slice.
    pub(crate) elapsed: Duration,
    /// End-to-end latencies in milliseconds; none in the closed loop.
    pub(crate) e2e: Samples,
}

/// A workload of fixed lengths for the engine stubs: non-streaming responses of 12 tokens.
pub(crate) fn stub_workload(offered: OfferedLoad, duration: Duration, prompt_tokens: u32) -> Workload {
    Workload {
        offered,
        duration,
        source: fixed_lengths(prompt_tokens, 12),
        models: vec![WeightedModel { name: "stub".into(), weight: 1.0 }],
        stream_share: 0.0,
        api: GenerationApi::ChatCompletions,
        ignore_eos: false,
    }
}

/// Streams of small prompts that start one after the other at `rate` per second for `start`.
pub(crate) fn stub_streams(rate: f64, start: Duration, events: u32) -> Workload {
    Workload {
        source: fixed_lengths(SMALL_PROMPT, events),
        stream_share: 1.0,
        ..stub_workload(OfferedLoad::constant(rate), start, SMALL_PROMPT)
    }
}

/// 15 concurrent streams. With an event every 10 ms each they send 1,500 events per second, once all have started
/// within the first 150 ms.
pub(crate) fn concurrent_streams(events: u32) -> Workload {
    stub_streams(100.0, Duration::from_millis(150), events)
}

fn fixed_lengths(prompt_tokens: u32, output_tokens: u32) -> Source {
    Source::Generated {
        prompt: Distribution::Fixed(prompt_tokens.into()),
        output: Distribution::Fixed(output_tokens.into()),
        shared_prefix: None,
    }
}

/// The plan of one small request.
pub(crate) fn small_request() -> Result<Plan, WorkloadError> {
    stub_workload(OfferedLoad::constant(1.0), Duration::from_secs(1), SMALL_PROMPT).plan(1)
}

/// Sends a plan in an open loop.
pub(crate) async fn open_loop(client: &Arc<Client>, plan: &Arc<Plan>) -> Result<Observed, MeasurementError> {
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
pub(crate) async fn closed_loop(
    client: &Arc<Client>,
    length: Duration,
) -> Result<Observed, MeasurementError> {
    let plan = small_request()?;
    let body = plan.requests.first().map(|request| plan.body(request, 0)).unwrap_or_default();
    let (start, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..IN_FLIGHT {
        workers.spawn(send_until(Arc::clone(client), body.clone(), start + length));
    }
    let (mut completed, mut failed) = (0, 0);
    while let Some(ended) = workers.join_next().await {
        let (answered, unanswered) = ended.unwrap_or_default();
        completed += answered;
        failed += unanswered;
    }
    Ok(Observed { completed, failed, elapsed: start.elapsed(), e2e: Samples::default() })
}

async fn send_until(client: Arc<Client>, body: Bytes, until: Instant) -> (u64, u64) {
    let (mut completed, mut failed) = (0, 0);
    while Instant::now() < until {
        let success = answered_or_paused(&client, body.clone()).await;
        completed += u64::from(success);
        failed += u64::from(!success);
    }
    (completed, failed)
}

/// Waits until a server answers a small request completely.
pub(crate) async fn wait_until_answered(
    client: &Arc<Client>,
    server: &'static str,
) -> Result<(), MeasurementError> {
    let body = Bytes::from_static(
        br#"{"model":"stub","messages":[{"role":"user","content":"hi"}],"max_tokens":1,"stream":false}"#,
    );
    let deadline = Instant::now() + READY_TIMEOUT;
    while !answered(client, body.clone()).await {
        if Instant::now() > deadline {
            let cause = "it listens but answers no request".to_owned();
            return Err(MeasurementError::Start { server, cause });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// As [`answered`], with a pause after a failure: without it, a server that refuses at once makes a closed loop busy.
pub(crate) async fn answered_or_paused(client: &Arc<Client>, body: Bytes) -> bool {
    let success = answered(client, body).await;
    if !success {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    success
}

/// Sends one request and reads the response; returns whether it was complete and successful.
async fn answered(client: &Arc<Client>, body: Bytes) -> bool {
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
