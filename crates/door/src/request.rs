//! One request in a front door, from its head to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pointsman_config::GatewayPolicy;
use pointsman_core::{Completion, FailureCause, RequestId, Usage};
use pointsman_exchange::{EngineRequest, Refusal};
use pointsman_fleet::{Placed, PlacementResult, PoolEndpoint, PoolHandle, Ticket};
use pointsman_protocol::Api;
use pointsman_telemetry::trace::{Attribute, Span, SpanName, TraceContext};
use pointsman_telemetry::{Outcome, RequestLog, RequestRecord, RequestSeries, Running};

use crate::budget::Share;
use crate::door::Door;

/// The header that carries the trace context (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
/// Longest [`REQUEST_ID`] in bytes that is kept.
const MAX_REQUEST_ID: usize = 128;
/// The header with the client's ID of a request.
pub const REQUEST_ID: &str = "x-request-id";

/// A request's share of the door's limits, and the facts that its metrics, log line and span report at its end.
/// Dropped without [`RequestContext::finish`], it reports that the client disconnected.
#[derive(Debug)]
pub struct RequestContext {
    door: Arc<Door>,
    arrived: Instant,
    span: Span,
    slot: Share,
    max_requests: u64,
    body: Share,
    max_body_bytes: u64,
    api: &'static str,
    pool: Option<Arc<PoolHandle>>,
    series: Option<(Arc<RequestSeries>, Running)>,
    stream: Option<Running>,
    /// When the scheduler was asked last.
    asked: Instant,
    placement: Option<Duration>,
    endpoint: Option<Arc<PoolEndpoint>>,
    request: Option<RequestId>,
    request_id: Option<HeaderValue>,
    attempts: u32,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
    body_wait: Option<Duration>,
    first_token: Option<Duration>,
    finished: bool,
}

/// The ID of a request: the client's `x-request-id` if it is short and printable, or a new one from a random number.
#[must_use]
pub fn request_id(client: Option<&HeaderValue>, draw: u64) -> HeaderValue {
    let is_fine = |id: &&HeaderValue| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.to_str().is_ok();
    let made =
        || HeaderValue::try_from(format!("{draw:016x}")).unwrap_or_else(|_| HeaderValue::from_static("0"));
    client.filter(is_fine).cloned().unwrap_or_else(made)
}

impl RequestContext {
    pub(crate) fn new(door: &Arc<Door>, policy: &GatewayPolicy, traceparent: Option<&[u8]>) -> Self {
        let arrived = Instant::now();
        Self {
            arrived,
            span: door.tracer.start(traceparent.and_then(TraceContext::parse), SpanName::Request),
            slot: door.requests.share(),
            max_requests: policy.max_requests.into(),
            body: door.body_bytes.share(),
            max_body_bytes: policy.max_held_bytes,
            api: "unknown",
            pool: None,
            series: None,
            stream: None,
            asked: arrived,
            placement: None,
            endpoint: None,
            request: None,
            request_id: None,
            attempts: 0,
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            body_wait: None,
            first_token: None,
            finished: false,
            door: Arc::clone(door),
        }
    }

    /// Counts the request as in flight. `of_connection` is the number of requests in flight on its connection, itself
    /// included.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at the limit of concurrent requests, or if the connection has more than four times as many as the
    /// limit leaves free: whatever one connection does, others get in (dynamic thresholds, Choudhury and Hahne, 1998).
    pub fn admit(&mut self, of_connection: u32) -> Result<(), Refusal> {
        let free = self.max_requests.saturating_sub(self.door.requests_in_flight());
        let is_fair = of_connection <= 1 || u64::from(of_connection) <= free.saturating_mul(4);
        (is_fair && self.slot.grow_to(1, self.max_requests)).then_some(()).ok_or(Refusal::Busy)
    }

    /// Counts the request as no longer in flight, and its buffered body as freed.
    pub fn release(&mut self) {
        self.slot.give_back();
        self.release_body();
    }

    /// Counts `bytes`, the length of the body so far, as buffered.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at the limit of buffered bytes of all requests.
    pub fn hold_body(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.body.grow_to(bytes, self.max_body_bytes).then_some(()).ok_or(Refusal::Busy)
    }

    /// Counts the buffered body as freed.
    pub fn release_body(&mut self) {
        self.body.give_back();
    }

    /// When the request's head arrived.
    #[must_use]
    pub const fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Sets the value of `x-request-id`.
    pub fn set_request_id(&mut self, id: HeaderValue) {
        self.request_id = Some(id);
    }

    /// The value of `x-request-id`, which every response carries.
    #[must_use]
    pub const fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// Sets the inference API.
    pub fn set_api(&mut self, api: Api) {
        self.api = api.name();
    }

    /// Sets the pool, for a door that knows it before [`RequestContext::place`].
    pub fn set_pool(&mut self, pool: &Arc<PoolHandle>) {
        self.pool = Some(Arc::clone(pool));
    }

    /// Sets the body's length in bytes.
    pub const fn set_request_bytes(&mut self, bytes: u64) {
        self.request_bytes = bytes;
    }

    /// The end of a buffered body has arrived.
    pub fn body_complete(&mut self) {
        self.body_wait.get_or_insert_with(|| self.arrived.elapsed());
    }

    /// Asks the pool for an endpoint. The request counts as one of the pool from here on. `client_id` is called for the
    /// client's `x-request-id` if the fleet keeps decisions.
    pub fn place<'a>(
        &mut self,
        pool: &Arc<PoolHandle>,
        request: &EngineRequest,
        client_id: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Ticket {
        if let Some(api) = request.route.api() {
            self.set_api(api);
        }
        if request.body().is_some() {
            self.body_complete();
        }
        let (model, target) = (request.model(), request.target());
        let series = pool.series.request(model.map_or("", |name| name), target.map_or("", |name| name));
        if self.span.is_recorded() {
            self.span.set(Attribute::Pool(pool.series.name().into()));
            self.span.set(Attribute::Model(series.model().into()));
            self.span.set(Attribute::TargetModel(series.target_model().into()));
        }
        let running = series.start();
        self.series = Some((series, running));
        self.set_pool(pool);
        self.asked = Instant::now();
        pool.place_with_id(request.placement.clone(), client_id)
    }

    /// Records the scheduler's answer to [`RequestContext::place`] or [`RequestContext::attempt_failed`].
    pub fn placed(&mut self, result: &PlacementResult) {
        self.placement = Some(self.asked.elapsed());
        if let Ok(placed) = result {
            self.attempts += 1;
            self.request = Some(placed.request());
            self.endpoint = Some(Arc::clone(placed.endpoint()));
        }
    }

    /// The span of the attempt at the endpoint that was placed last.
    pub fn attempt_span(&self) -> Span {
        let mut span = self.span.child(SpanName::Attempt);
        if span.is_recorded() {
            self.placement_attributes().for_each(|attribute| span.set(attribute));
        }
        span
    }

    /// Reports a failed attempt, of which nothing went to the client, and asks for the next endpoint if `retry`.
    pub fn attempt_failed(&mut self, placed: Placed, cause: FailureCause, retry: bool) -> Ticket {
        tracing::debug!(
            pool = self.pool.as_ref().map(|pool| pool.series.name()),
            endpoint = &*placed.endpoint().authority,
            cause = cause.as_str(),
            retry,
            "attempt failed"
        );
        self.asked = Instant::now();
        placed.failed(cause, retry)
    }

    /// Reports an engine's answer with an error for which the request may be to blame, and which is held back: `Ok` where
    /// another endpoint is to be asked.
    ///
    /// # Errors
    /// The guard, where the answer is to be passed on.
    pub fn error_answered(&mut self, placed: Placed, cause: FailureCause) -> Result<PlacementResult, Placed> {
        self.asked = Instant::now();
        placed.error_answered(cause)
    }

    /// Records that another endpoint serves the request than the one that was placed.
    pub fn served_by(&mut self, endpoint: &Arc<PoolEndpoint>) {
        self.endpoint = Some(Arc::clone(endpoint));
    }

    /// Sets the status that the client receives.
    pub const fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Counts the response as a stream in progress, or no longer.
    pub fn set_streaming(&mut self, streaming: bool) {
        if streaming != self.stream.is_some() {
            let pool = self.pool.as_ref().filter(|_| streaming);
            self.stream = pool.map(|pool| pool.series.stream());
        }
    }

    /// The first output token has arrived.
    pub fn first_token(&mut self) {
        self.first_token.get_or_insert_with(|| self.arrived.elapsed());
    }

    /// Adds to the length of the response body, in bytes.
    pub const fn add_response_bytes(&mut self, bytes: u64) {
        self.response_bytes += bytes;
    }

    /// Ends the request with a complete response of the door itself.
    pub fn complete(&mut self, status: u16) {
        self.status = status;
        self.finish(Outcome::Served(Completion::Complete), Usage::default());
    }

    /// Ends the request with a refusal.
    pub fn refuse(&mut self, refusal: &Refusal) {
        self.status = refusal.status().as_u16();
        self.finish(Outcome::Rejected(refusal.reason()), Usage::default());
    }

    /// Ends the request: writes metrics, log line and span. Later calls have no effect.
    pub fn finish(&mut self, outcome: Outcome, usage: Usage) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.stream = None;
        let series = self.series.take().map(|(series, _)| series);
        let series = series.or_else(|| Some(self.pool.as_ref()?.series.request("", "")));
        let record = RequestRecord {
            outcome,
            status: self.status,
            duration: self.arrived.elapsed(),
            body_wait: self.body_wait,
            first_token: self.first_token,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            usage,
        };
        self.log(series.as_deref(), &record);
        self.finish_span(&record);
        match (series, outcome) {
            (Some(series), _) => series.finish(&record),
            (None, Outcome::Rejected(reason)) => self.door.metrics.refused(reason),
            (None, Outcome::Served(_)) => {}
        }
    }

    /// Ends the record without a trace, since there was no request.
    pub fn discard(mut self) {
        self.finished = true;
    }

    fn log(&self, series: Option<&RequestSeries>, record: &RequestRecord) {
        RequestLog {
            pool: self.pool.as_ref().map(|pool| pool.series.name()),
            model: series.map(RequestSeries::model),
            target_model: series.map(RequestSeries::target_model),
            endpoint: self.endpoint.as_ref().map(|endpoint| &*endpoint.authority),
            request: self.request.map(|request| request.0),
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            api: self.api,
            attempts: self.attempts,
            placement: self.placement,
            record,
        }
        .write();
    }

    fn finish_span(&mut self, record: &RequestRecord) {
        if self.span.is_recorded() {
            self.placement_attributes().for_each(|attribute| self.span.set(attribute));
            self.span.set_record(record);
        }
    }

    fn placement_attributes(&self) -> impl Iterator<Item = Attribute> + use<> {
        let endpoint =
            self.endpoint.as_ref().map(|endpoint| Attribute::Endpoint((&*endpoint.authority).into()));
        endpoint.into_iter().chain(self.placement.map(Attribute::Placement))
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        self.finish(Outcome::Served(Completion::ClientGone), Usage::default());
    }
}
