//! One request from sending to its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use pointsman_protocol::{Api, JsonScanner, SseScanner, StreamEnd, Usage};
use pointsman_report::Timing;

use crate::client::{Client, ResponseReader};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Complete and successful response.
    #[default]
    Ok,
    /// Status 429.
    Rejected,
    /// Any other status than 2xx.
    HttpError(u16),
    /// The response broke off, had no end mark, or reported a failure.
    BrokenResponse,
    /// Timeout.
    Timeout,
    /// No connection, or no response head.
    ConnectionFailed,
    /// Not sent, because the limit of requests in flight was reached. Then the generator, not the server, was the limit, and
    /// the run is not an open loop.
    NotSent,
}

/// The record of one request. Times count from the start of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestRecord {
    /// Planned send time.
    pub intended: Duration,
    /// Actual send time.
    pub sent: Duration,
    /// Time of the first token; `None` for non-streaming responses.
    pub first_token: Option<Duration>,
    /// Time of the outcome.
    pub end: Duration,
    /// Output tokens by the response's `usage`, else the number of events with text.
    pub output_tokens: u32,
    /// Prompt tokens by the response's `usage`; 0 without one.
    pub prompt_tokens: u64,
    /// Prompt tokens found in a prefix cache; `None` where the response does not report them.
    pub cached_tokens: Option<u64>,
    /// Gaps between tokens, if recorded.
    pub gaps: Vec<Duration>,
    /// The outcome.
    pub outcome: Outcome,
}

impl RequestRecord {
    pub(crate) fn failed(intended: Duration, sent: Duration, end: Duration, outcome: Outcome) -> Self {
        Self { intended, sent, end, outcome, ..Self::default() }
    }

    /// The timing for reports: latencies from the planned send time, infinite for failures.
    #[must_use]
    pub fn timing(&self) -> Timing {
        if self.outcome != Outcome::Ok {
            return Timing::Failed;
        }
        Timing::Answered {
            ttft: self.first_token.map(|at| at.saturating_sub(self.intended)),
            e2e: self.end.saturating_sub(self.intended),
            output_tokens: self.output_tokens,
        }
    }
}

/// A request to send.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    /// Start of the run.
    pub(crate) start: Instant,
    pub(crate) intended: Duration,
    pub(crate) timeout: Duration,
    pub(crate) record_gaps: bool,
}

/// Sends one request and reads its response to the end.
pub(crate) async fn perform(client: Arc<Client>, call: Call) -> RequestRecord {
    let (start, intended) = (call.start, call.intended);
    let sent = start.elapsed();
    let deadline = tokio::time::Instant::from_std(start + intended + call.timeout);
    let ended = tokio::time::timeout_at(deadline, exchange(&client, call)).await;
    match ended.unwrap_or(Err(Outcome::Timeout)) {
        Ok(record) => RequestRecord { intended, sent, end: start.elapsed(), ..record },
        Err(outcome) => RequestRecord::failed(intended, sent, start.elapsed(), outcome),
    }
}

impl RequestRecord {
    /// Replaces counted tokens by the usage that the response reports.
    fn apply_usage(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.output_tokens = u32::try_from(usage.completion_tokens).unwrap_or(u32::MAX);
            self.prompt_tokens = usage.prompt_tokens;
            self.cached_tokens = usage.cached_tokens;
        }
    }
}

/// The record of a successful request, without its times of sending and end.
async fn exchange(client: &Arc<Client>, call: Call) -> Result<RequestRecord, Outcome> {
    let Call { api, path, body, start, record_gaps, .. } = call;
    let mut response = client.post(path, body).await.map_err(|_| Outcome::ConnectionFailed)?;
    if !response.status.is_success() {
        let status = response.status;
        while let Some(Ok(_)) = response.chunk().await {}
        response.finish();
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Rejected,
            _ => Outcome::HttpError(status.as_u16()),
        });
    }
    let content_type = response.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let read = if content_type.starts_with(b"text/event-stream") {
        read_stream(&mut response, api, start, record_gaps).await?
    } else {
        read_response(&mut response).await?
    };
    response.finish();
    Ok(read)
}

async fn read_stream(
    response: &mut ResponseReader,
    api: Api,
    start: Instant,
    record_gaps: bool,
) -> Result<RequestRecord, Outcome> {
    let mut scanner = SseScanner::new(api.stream_format());
    let mut read = RequestRecord::default();
    let mut last_token = None;
    while let Some(piece) = response.chunk().await {
        let facts = scanner.push(&piece.map_err(|_| Outcome::BrokenResponse)?);
        if facts.token_events == 0 {
            continue;
        }
        let now = start.elapsed();
        read.first_token.get_or_insert(now);
        read.output_tokens = read.output_tokens.saturating_add(facts.token_events);
        if record_gaps {
            read.gaps.extend(last_token.map(|last| now.saturating_sub(last)));
            // Events in one chunk have no gap between them.
            let together = usize::try_from(facts.token_events - 1).unwrap_or(0);
            read.gaps.resize(read.gaps.len() + together, Duration::ZERO);
        }
        last_token = Some(now);
    }
    let (_, end) = scanner.finish();
    if end != StreamEnd::Complete {
        return Err(Outcome::BrokenResponse);
    }
    read.apply_usage(scanner.usage());
    Ok(read)
}

async fn read_response(response: &mut ResponseReader) -> Result<RequestRecord, Outcome> {
    let mut reader = JsonScanner::default();
    while let Some(piece) = response.chunk().await {
        reader.push(&piece.map_err(|_| Outcome::BrokenResponse)?);
    }
    let facts = reader.facts();
    if facts.failure.is_some() || !facts.complete {
        return Err(Outcome::BrokenResponse);
    }
    let mut read = RequestRecord::default();
    read.apply_usage(facts.usage);
    Ok(read)
}
