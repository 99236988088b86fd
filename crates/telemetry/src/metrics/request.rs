//! Series of requests by pool, model and target model.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Completion, Usage};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::families::Families;
use super::family::Presence;
use super::labels::{Model, ModelError, ModelRunning, Pool, RequestOutcome};

/// How a request of a pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was dispatched and ended like this.
    Served(Completion),
    /// It was refused; the reason is the value of the response header `x-pointsman-reason`.
    Rejected(&'static str),
}

impl Outcome {
    /// Value of the label and the log field `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served(Completion::Complete | Completion::Declined) => "complete",
            Self::Served(Completion::Broken(_)) => "broken",
            Self::Served(Completion::ClientGone) => "client_gone",
            Self::Rejected(_) => "rejected",
        }
    }

    /// Value of the label and the log field `reason`; empty without a failure.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Served(Completion::Complete | Completion::Declined | Completion::ClientGone) => "",
            Self::Served(Completion::Broken(cause)) => cause.as_str(),
            Self::Rejected(reason) => reason,
        }
    }
}

/// A finished request. Durations count from the arrival of its headers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRecord {
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status sent to the client; 0 where the client disconnected first.
    pub status: u16,
    /// Time to the end of the response.
    pub duration: Duration,
    /// Time to the end of the request body, where it was buffered.
    pub body_wait: Option<Duration>,
    /// Time to the first output token, where one was seen.
    pub first_token: Option<Duration>,
    /// Length of the request body in bytes.
    pub request_bytes: u64,
    /// Bytes of the response body that were sent.
    pub response_bytes: u64,
    /// Token counts, where known.
    pub usage: Usage,
}

/// The series of one (pool, model, target model).
#[derive(Debug)]
pub struct RequestSeries {
    model: Model,
    families: Arc<Families>,
    requests: Counter,
    complete: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    body_wait: Histogram,
    response_bytes: Histogram,
    input_tokens: Histogram,
    output_tokens: Histogram,
    ntpot: Histogram,
    running: Gauge,
    ttft: Histogram,
    tpot: Histogram,
    cached_tokens: Counter,
    presence: Presence,
    pool: Presence,
}

/// Counts one request as in progress until it is dropped.
#[derive(Debug)]
#[must_use = "the request counts as in progress only while this lives"]
pub struct Running(Gauge);

impl Running {
    pub(super) fn start(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RequestSeries {
    pub(super) fn new(model: Model, families: Arc<Families>, pool: Presence) -> Self {
        let running =
            ModelRunning { model_name: Arc::clone(&model.model_name), pool: Arc::clone(&model.pool) };
        Self {
            requests: families.requests.get(&model),
            complete: families.outcome(&model.pool, Outcome::Served(Completion::Complete).as_str(), ""),
            duration: families.duration.get(&model),
            request_bytes: families.request_bytes.get(&model),
            body_wait: families.body_wait.get(&Pool { pool: Arc::clone(&model.pool) }),
            response_bytes: families.response_bytes.get(&model),
            input_tokens: families.input_tokens.get(&model),
            output_tokens: families.output_tokens.get(&model),
            ntpot: families.ntpot.get(&model),
            running: families.running.get(&running),
            ttft: families.ttft.get(&model),
            tpot: families.tpot.get(&model),
            cached_tokens: families.cached_tokens.get(&model),
            presence: Presence::default(),
            pool,
            model,
            families,
        }
    }

    /// The model is declared no more: requests in progress create no series for it.
    pub(super) fn leave(&self) {
        self.presence.leave();
    }

    /// Label value of the public model: its declared name or [`UNDECLARED`](crate::UNDECLARED). Safe for logs.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model.model_name
    }

    /// Label value of the target model: its declared name or [`UNDECLARED`](crate::UNDECLARED). Safe for logs.
    #[must_use]
    pub fn target_model(&self) -> &str {
        &self.model.target_model_name
    }

    /// Counts a request as in progress until the returned value is dropped.
    pub fn start(&self) -> Running {
        Running::start(&self.running)
    }

    /// Records a finished request; call once per request.
    pub fn finish(&self, record: &RequestRecord) {
        self.requests.inc();
        let outcome = record.outcome;
        if outcome == Outcome::Served(Completion::Complete) {
            self.complete.inc();
        } else {
            let pool = Arc::clone(&self.model.pool);
            let labels = RequestOutcome { pool, outcome: outcome.as_str(), reason: outcome.reason() };
            if let Some(outcomes) = self.families.outcomes.get_of(&labels, &self.pool) {
                outcomes.inc();
            }
        }
        if let Some(error_code) = error_code(outcome, record.status) {
            let Model { model_name, target_model_name, pool } = self.model.clone();
            let labels = ModelError { model_name, target_model_name, error_code, pool };
            if let Some(errors) = self.families.request_errors.get_of(&labels, &self.presence) {
                errors.inc();
            }
        }
        self.request_bytes.observe(float(record.request_bytes));
        if let Some(wait) = record.body_wait {
            self.body_wait.observe(wait.as_secs_f64());
        }
        if let Outcome::Rejected(_) = record.outcome {
            return; // Fast refusals would distort the latency of served requests; the extension does the same.
        }
        self.duration.observe(record.duration.as_secs_f64());
        self.response_bytes.observe(float(record.response_bytes));
        if let Some(first) = record.first_token {
            self.ttft.observe(first.as_secs_f64());
        }
        self.count_tokens(record);
    }

    fn count_tokens(&self, record: &RequestRecord) {
        if let Some(tokens @ 1..) = record.usage.prompt_tokens {
            self.input_tokens.observe(f64::from(tokens));
        }
        if let Some(tokens @ 1..) = record.usage.cached_tokens {
            self.cached_tokens.inc_by(u64::from(tokens));
        }
        let Some(output @ 1..) = record.usage.output_tokens else { return };
        self.output_tokens.observe(f64::from(output));
        if record.outcome != Outcome::Served(Completion::Complete) {
            return; // A truncated response has another latency per token.
        }
        self.ntpot.observe(record.duration.as_secs_f64() / f64::from(output));
        if let (Some(first), 2..) = (record.first_token, output) {
            self.tpot.observe(record.duration.saturating_sub(first).as_secs_f64() / f64::from(output - 1));
        }
    }
}

/// The extension's error code (its package `pkg/epp/util/error`); `None` without an error. A client's disconnect is not
/// an error, because the extension's alert on the error rate would fire.
fn error_code(outcome: Outcome, status: u16) -> Option<&'static str> {
    match (outcome, status) {
        (Outcome::Served(Completion::ClientGone), _) => None,
        (Outcome::Served(Completion::Complete | Completion::Declined), 0..400) => None,
        (Outcome::Served(Completion::Complete | Completion::Declined), 400..500) => Some("BadRequest"),
        (Outcome::Served(Completion::Complete | Completion::Declined | Completion::Broken(_)), _) => {
            Some("ModelServerError")
        }
        (Outcome::Rejected(_), 429) => Some("InferencePoolResourceExhausted"),
        (Outcome::Rejected(_), 400..500) => Some("BadRequest"),
        (Outcome::Rejected(_), 503) => Some("ServiceUnavailable"),
        (Outcome::Rejected(_), 502 | 504) => Some("ModelServerError"),
        (Outcome::Rejected(_), _) => Some("Internal"),
    }
}

/// Rounds sizes beyond 2^53, far above every bucket.
pub(super) const fn float(bytes: u64) -> f64 {
    bytes as f64
}
