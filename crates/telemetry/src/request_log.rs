//! The log line of a finished request.

use std::time::Duration;

use tracing::Level;

use crate::metrics::RequestRecord;

/// The `target` of the line, for filters such as `pointsman::request=debug`.
const TARGET: &str = "pointsman::request";

/// A finished request as its log line shows it. Names are those of the configuration; the ID alone may be
/// the client's own text.
#[derive(Clone, Copy, Debug)]
pub struct RequestLog<'a> {
    /// The pool's `namespace/name`; `None` where the request was refused before it reached a pool.
    pub pool: Option<&'a str>,
    /// The label of the public model, from [`RequestSeries::model`](crate::RequestSeries::model); `None` where the
    /// request reached no pool.
    pub model: Option<&'a str>,
    /// The label of the model that the engine was asked for, from
    /// [`RequestSeries::target_model`](crate::RequestSeries::target_model).
    pub target_model: Option<&'a str>,
    /// The `host:port` of the endpoint that served the request, or of the last one that was tried.
    pub endpoint: Option<&'a str>,
    /// The request's number in the fleet, by which `pointsman explain` finds it; `None` where it was not placed.
    pub request: Option<u64>,
    /// The request's `x-request-id`, of at most 128 printable characters.
    pub request_id: Option<&'a str>,
    /// The inference API, such as `chat_completions`.
    pub api: &'static str,
    /// Attempts made; 0 where the request was refused first.
    pub attempts: u32,
    /// Time from the placement request to its answer, waiting included; `None` where placement was not reached.
    pub placement: Option<Duration>,
    /// Outcome, latencies and token counts.
    pub record: &'a RequestRecord,
}

impl RequestLog<'_> {
    /// Writes the line `request finished` at debug level. Durations are in milliseconds; unknown facts are left out.
    pub fn write(&self) {
        if !tracing::enabled!(target: TARGET, Level::DEBUG) {
            return;
        }
        let RequestRecord { outcome, status, duration, body_wait, first_token, usage, .. } = *self.record;
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        tracing::debug!(
            target: TARGET,
            pool = self.pool,
            model = self.model,
            target_model = self.target_model,
            endpoint = self.endpoint,
            request = self.request,
            request_id = self.request_id,
            api = self.api,
            outcome = outcome.as_str(),
            reason = Some(outcome.reason()).filter(|reason| !reason.is_empty()),
            status,
            attempts = self.attempts,
            body_wait_ms = body_wait.map(milliseconds),
            placement_ms = self.placement.map(milliseconds),
            ttft_ms = first_token.map(milliseconds),
            e2e_ms = milliseconds(duration),
            input_tokens = usage.prompt_tokens,
            cached_tokens = usage.cached_tokens,
            output_tokens = usage.output_tokens,
            "request finished"
        );
    }
}
