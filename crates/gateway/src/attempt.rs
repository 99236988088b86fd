//! Attempts at endpoints, until one responds or none may follow.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::response;
use pointsman_core::{FailureCause, ResponsePhase};
use pointsman_door::RequestContext;
use pointsman_exchange::{EngineRequest, EngineResponse, HeadVerdict, Refusal};
use pointsman_fleet::{Clock, Placed, PoolEndpoint, PoolHandle};
use pointsman_telemetry::trace::{Attribute, Span};
use tokio::time::{Instant, timeout, timeout_at};

use crate::relay::FirstFrame;
use crate::shared::Shared;
use crate::template::RequestTemplate;
use crate::upstream::{self, RequestBody, RestSlot, SendError, UpstreamBody, UpstreamResponse};

/// How long the head of a stream is held for the first bytes of its body, in which a failure can still be retried unnoticed.
/// Load balancers and clients that wait for a head give up after a few seconds, while a long prefill takes minutes.
const HEAD_HOLD: Duration = Duration::from_secs(1);

/// A request to be placed and sent.
pub(crate) struct Attempts<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pool: &'a Arc<PoolHandle>,
    pub(crate) engine_request: &'a EngineRequest,
    pub(crate) template: RequestTemplate,
    /// The client's body as far as it streams through.
    pub(crate) rest: Option<RestSlot>,
    /// Whether the client asks for a WebSocket.
    pub(crate) upgrades: bool,
    /// When the route's timeout for the request ends.
    pub(crate) deadline: Option<Instant>,
    /// The route's timeout for each attempt.
    pub(crate) backend_timeout: Option<Duration>,
}

/// The response to pass on to the client.
pub(crate) struct SelectedResponse {
    /// The reserved load; `None` if no attempt succeeded and this is the error response of a failed one.
    pub(crate) placed: Option<Placed>,
    pub(crate) response: StartedResponse,
}

/// An engine's response whose head and first body frame have arrived.
pub(crate) struct StartedResponse {
    pub(crate) endpoint: Arc<PoolEndpoint>,
    pub(crate) head: response::Parts,
    pub(crate) body: UpstreamBody,
    pub(crate) first: Option<FirstFrame>,
    pub(crate) observer: EngineResponse,
    /// When the route's timeout for the request or for this attempt ends.
    pub(crate) deadline: Option<Instant>,
    /// When the output must have begun, if that is a stream's.
    pub(crate) output_by: Instant,
}

/// The outcome of one attempt.
enum AttemptOutcome {
    /// A response to pass on.
    Response(StartedResponse),
    /// A response that reports a failure of the engine; it is passed on only if no retry follows.
    ErrorResponse(FailureCause, StartedResponse),
    /// An error response for which the request may be to blame; it is passed on unless another endpoint is to be asked.
    Doubtful(FailureCause, StartedResponse),
    /// No response.
    NoResponse(FailureCause),
}

impl Attempts<'_> {
    /// Places and sends the request, and retries failed attempts as far as the request and the pool's retry budget allow.
    pub(crate) async fn run(mut self, context: &mut RequestContext) -> Result<SelectedResponse, Refusal> {
        let ticket = context.place(self.pool, self.engine_request, || self.template.request_id());
        let mut result = self.before_deadline(ticket.placed()).await?;
        let mut last_error: Option<StartedResponse> = None;
        let (mut attempts, mut is_stale) = (0, false);
        loop {
            attempts += 1;
            let new_connection = is_stale || self.needs_new_connection(attempts);
            context.placed(&result);
            let placed = match (result, last_error) {
                (Ok(placed), error) => {
                    last_error = error;
                    placed
                }
                // The engine's own error says more than a refusal.
                (Err(_), Some(response)) => return Ok(SelectedResponse { placed: None, response }),
                (Err(rejection), None) => return Err(Refusal::Pool(rejection)),
            };
            let mut span = context.attempt_span();
            let (cause, response) = match self.attempt(&placed, &span, new_connection).await? {
                AttemptOutcome::Response(response) => {
                    return Ok(SelectedResponse { placed: Some(placed), response });
                }
                AttemptOutcome::ErrorResponse(cause, response) => (cause, Some(response)),
                AttemptOutcome::Doubtful(cause, response) => match context.error_answered(placed, cause) {
                    Ok(next) => {
                        span.set(Attribute::Reason(cause.as_str()));
                        result = next;
                        last_error = Some(response);
                        continue;
                    }
                    Err(placed) => return Ok(SelectedResponse { placed: Some(placed), response }),
                },
                AttemptOutcome::NoResponse(cause) => (cause, None),
            };
            span.set(Attribute::Reason(cause.as_str()));
            let retry = self.may_retry(cause);
            last_error = match response {
                Some(response) if !retry => return Ok(SelectedResponse { placed: Some(placed), response }),
                Some(response) => Some(response),
                None => last_error,
            };
            is_stale = cause == FailureCause::StaleConnection;
            let ticket = context.attempt_failed(placed, cause, retry);
            result = self.before_deadline(ticket.placed()).await?;
        }
    }

    fn may_retry(&self, cause: FailureCause) -> bool {
        let untouched = self.rest.as_ref().is_none_or(RestSlot::is_untouched);
        self.engine_request.may_retry(cause, untouched)
    }

    /// Whether this attempt needs a connection that the engine cannot be closing, since nothing would follow it.
    fn needs_new_connection(&self, attempt: u32) -> bool {
        !self.engine_request.may_retry(FailureCause::Lost, false)
            || !self.pool.retry_budget.may_follow(attempt)
    }

    async fn before_deadline<T>(&self, future: impl Future<Output = T>) -> Result<T, Refusal> {
        match self.deadline {
            None => Ok(future.await),
            Some(deadline) => timeout_at(deadline, future).await.map_err(|_| Refusal::RequestTimeout),
        }
    }

    /// Sends the request to one endpoint, with `new_connection` on none that was used before.
    async fn attempt(
        &mut self,
        placed: &Placed,
        span: &Span,
        new_connection: bool,
    ) -> Result<AttemptOutcome, Refusal> {
        let endpoint = placed.endpoint();
        let upstream = self.shared.upstreams.of(endpoint);
        if let Some(context) = span.traceparent()
            && let Ok(value) = http::HeaderValue::try_from(context.to_string())
        {
            self.template.set_traceparent(value);
        }
        let backend = self.backend_timeout.map(|timeout| Instant::now() + timeout);
        let deadline = [self.deadline, backend].into_iter().flatten().min();
        let body = RequestBody::new(self.engine_request.body(), self.rest.as_ref());
        let request = self.template.request(&upstream, body);
        let first_byte = Instant::now() + endpoint.timeouts.first_byte;
        let until = deadline.map_or(first_byte, |deadline| deadline.min(first_byte));
        let sent = pin!(async {
            let response = if self.upgrades {
                Box::pin(upstream::upgrade(&upstream, endpoint, request)).await?
            } else {
                upstream.send(endpoint, request, new_connection).await?
            };
            self.first_bytes(endpoint, response, deadline, first_byte).await
        });
        let cause = match first_bytes_or_stall(sent, until, endpoint, self.shared.door.fleet.clock()).await {
            Waited::Done(Ok(outcome)) => return Ok(outcome),
            Waited::Done(Err(SendError::ClientBody(refusal))) => return Err(refusal),
            Waited::Done(Err(SendError::Attempt(cause))) => return Ok(AttemptOutcome::NoResponse(cause)),
            Waited::OutOfTime if deadline == Some(until) => return Err(Refusal::RequestTimeout),
            Waited::OutOfTime => FailureCause::FirstByteTimeout,
            Waited::Stalled => FailureCause::Stalled,
        };
        upstream.no_response();
        Ok(AttemptOutcome::NoResponse(cause))
    }

    /// Waits for the first bytes of the body, so that a failure up to there can be retried, and judges head and bytes. The
    /// head of a stream is not held for longer than [`HEAD_HOLD`].
    async fn first_bytes(
        &self,
        endpoint: &Arc<PoolEndpoint>,
        response: UpstreamResponse,
        deadline: Option<Instant>,
        output_by: Instant,
    ) -> Result<AttemptOutcome, SendError> {
        let UpstreamResponse { head, body } = response;
        let observer = self.engine_request.response();
        let mut response = StartedResponse {
            endpoint: Arc::clone(endpoint),
            head,
            body,
            first: None,
            observer,
            deadline,
            output_by,
        };
        let verdict = response.observer.head(response.head.status, &response.head.headers);
        match verdict {
            HeadVerdict::Failure(cause) if self.may_retry(cause) => {
                return Ok(AttemptOutcome::ErrorResponse(cause, response));
            }
            HeadVerdict::Doubtful(cause) if self.may_retry(cause) => {
                return Ok(AttemptOutcome::Doubtful(cause, response));
            }
            HeadVerdict::Relay | HeadVerdict::Failure(_) | HeadVerdict::Doubtful(_) => {}
        }
        let owes_content = response.observer.owes_content();
        if response.body.is_end() && owes_content {
            return Err(FailureCause::Lost.into());
        }
        if response.body.is_end() || response.head.status.is_informational() {
            return Ok(AttemptOutcome::Response(response));
        }
        let first = poll_fn(|cx| response.body.poll_frame(cx));
        let first = if response.observer.is_stream() {
            match timeout(HEAD_HOLD, first).await {
                Ok(first) => first,
                Err(_) => return Ok(AttemptOutcome::Response(response)),
            }
        } else {
            first.await
        };
        let frame = match first {
            None if owes_content => return Err(FailureCause::Lost.into()),
            None => return Ok(AttemptOutcome::Response(response)),
            Some(Err(_)) => return Err(FailureCause::Lost.into()),
            Some(Ok(frame)) if frame.is_trailers() && owes_content => return Err(FailureCause::Lost.into()),
            Some(Ok(frame)) => frame,
        };
        let facts = frame.data_ref().map(|data| response.observer.chunk(data)).unwrap_or_default();
        response.first = Some((frame, facts));
        Ok(match facts.failure {
            Some(cause @ FailureCause::Declined) if !facts.first_token && self.may_retry(cause) => {
                AttemptOutcome::Doubtful(cause, response)
            }
            Some(FailureCause::Declined) => AttemptOutcome::Response(response),
            Some(cause) if !facts.first_token => AttemptOutcome::ErrorResponse(cause, response),
            Some(_) | None => AttemptOutcome::Response(response),
        })
    }
}

/// How waiting for the first bytes ended.
enum Waited<T> {
    Done(T),
    OutOfTime,
    Stalled,
}

/// Awaits the first bytes of a response until `until`, for as long as the attempt has not stalled.
async fn first_bytes_or_stall<F: Future>(
    mut sent: Pin<&mut F>,
    until: Instant,
    endpoint: &PoolEndpoint,
    clock: Clock,
) -> Waited<F::Output> {
    let mut now = clock.now();
    let phase = ResponsePhase::AwaitingFirstByte { sent: now };
    let liveness = endpoint.timeouts.liveness();
    while let Some(check) = endpoint.activity.check(now, phase, &liveness) {
        let wake = Instant::from_std(clock.instant(check)).min(until);
        if let Ok(done) = timeout_at(wake, sent.as_mut()).await {
            return Waited::Done(done);
        }
        if wake >= until {
            return Waited::OutOfTime;
        }
        now = clock.now();
    }
    Waited::Stalled
}
