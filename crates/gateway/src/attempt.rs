//! Attempts at engines, until one answers or no other may be made.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use http::response;
use hyper::body::Incoming;
use pointsman_core::{FailureCause, Rejection, ResponsePhase};
use pointsman_exchange::{Answer, HeadVerdict, Outgoing, Refusal};
use pointsman_fleet::{Clock, Placed, PoolEndpoint, PoolHandle};
use pointsman_telemetry::trace::{Attribute, Span, SpanName};
use tokio::time::{Instant, timeout_at};

use crate::client_body::{ClientBody, ClientBodyError};
use crate::forward::Template;
use crate::record::Record;
use crate::relay::First;
use crate::shared::Shared;
use crate::upstream::{self, AnswerBody, Answered, OutBody, SendCause, SendError};

/// A request on its way to a pool.
pub(crate) struct Attempts<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pool: &'a PoolHandle,
    pub(crate) outgoing: &'a Outgoing,
    pub(crate) template: Template,
    /// The client's body, where it streams through.
    pub(crate) body: Option<Box<ClientBody<Incoming>>>,
    /// The client asks for another protocol.
    pub(crate) upgrades: bool,
    /// The end of the time that the route allows.
    pub(crate) deadline: Option<Instant>,
}

/// The answer that goes to the client.
pub(crate) struct Chosen {
    /// The reservation; `None` where it was given up and the engine's own error is all there is.
    pub(crate) placed: Option<Placed>,
    pub(crate) got: Got,
}

/// An engine's answer, of which the head and the first bytes are here.
pub(crate) struct Got {
    pub(crate) endpoint: Arc<PoolEndpoint>,
    pub(crate) head: response::Parts,
    pub(crate) body: AnswerBody,
    pub(crate) first: Option<First>,
    pub(crate) answer: Answer,
}

/// What one attempt came to.
enum Tried {
    /// An answer to pass on.
    Good(Got),
    /// An answer that says that the engine failed; to be passed on where no other attempt is made.
    Bad(FailureCause, Got),
    /// No answer.
    Failed(FailureCause),
}

impl Attempts<'_> {
    /// Places the request and sends it, as often as it takes and may be.
    pub(crate) async fn run(mut self, record: &mut Record) -> Result<Chosen, Refusal> {
        let mut ticket = self.pool.place(self.outgoing.placement().clone());
        let mut bad: Option<Got> = None;
        loop {
            let asked = record.span().is_recorded().then(Instant::now);
            let placed = match self.in_time(ticket.placed()).await? {
                Ok(placed) => placed,
                Err(rejection) => return last_resort(rejection, bad),
            };
            record.attempts += 1;
            let mut span = record.span().child(SpanName::Attempt);
            if let Some(asked) = asked {
                span.set(Attribute::Endpoint(placed.endpoint().authority().into()));
                span.set(Attribute::Placement(asked.elapsed()));
            }
            let tried = self.attempt(&placed, &span).await?;
            let (cause, got) = match tried {
                Tried::Good(got) => return Ok(Chosen { placed: Some(placed), got }),
                Tried::Bad(cause, got) => (cause, Some(got)),
                Tried::Failed(cause) => (cause, None),
            };
            span.set(Attribute::Reason(cause.as_str()));
            let repeat = self.outgoing.may_repeat(cause);
            tracing::debug!(
                pool = self.pool.series().name(),
                endpoint = placed.endpoint().authority(),
                cause = cause.as_str(),
                repeat,
                "attempt failed"
            );
            bad = match got {
                Some(got) if !repeat => return Ok(Chosen { placed: Some(placed), got }),
                Some(got) => Some(got),
                None => bad,
            };
            ticket = placed.failed(cause, repeat);
        }
    }

    /// Awaits within the time that the route allows.
    async fn in_time<T>(&self, future: impl Future<Output = T>) -> Result<T, Refusal> {
        match self.deadline {
            None => Ok(future.await),
            Some(deadline) => timeout_at(deadline, future).await.map_err(|_| Refusal::RequestTimeout),
        }
    }

    /// One placement's attempt. A request lost on a kept connection, which the engine may have been closing, is sent
    /// to the same endpoint once more if it may be repeated at all: that says nothing of the engine's health.
    async fn attempt(&mut self, placed: &Placed, span: &Span) -> Result<Tried, Refusal> {
        let endpoint = placed.endpoint();
        let upstream = self.shared.upstreams.of(endpoint);
        if let Some(context) = span.traceparent()
            && let Ok(value) = http::HeaderValue::try_from(context.to_string())
        {
            self.template.set_traceparent(value);
        }
        let mut again = false;
        loop {
            let fresh = again;
            let body = self.next_body();
            let request = self.template.request(&upstream, body);
            let budget = Instant::now() + endpoint.timeouts.first_byte;
            let until = self.deadline.map_or(budget, |deadline| deadline.min(budget));
            let sent = pin!(async {
                let answered = if self.upgrades {
                    upstream::upgrade(&upstream, endpoint, request).await?
                } else {
                    upstream.send(endpoint, request, fresh).await?
                };
                self.first_bytes(endpoint, answered).await
            });
            let error = match first_bytes_or_stall(sent, until, endpoint, self.shared.fleet.clock()).await {
                Waited::Done(Ok(tried)) => return Ok(tried),
                Waited::Done(Err(error)) => error,
                Waited::OutOfTime if self.deadline == Some(until) => return Err(Refusal::RequestTimeout),
                Waited::OutOfTime => return Ok(Tried::Failed(FailureCause::FirstByteTimeout)),
                Waited::Stalled => return Ok(Tried::Failed(FailureCause::Stalled)),
            };
            match error.cause {
                SendCause::ClientBody(error) => return Err(refusal_of(error)),
                SendCause::Attempt(cause @ FailureCause::Lost)
                    if error.kept && !fresh && self.outgoing.may_repeat(cause) =>
                {
                    again = true;
                }
                SendCause::Attempt(cause) => return Ok(Tried::Failed(cause)),
            }
        }
    }

    fn next_body(&mut self) -> OutBody {
        match (self.outgoing.body(), self.body.take()) {
            (Some(held), _) => OutBody::held(held),
            (None, Some(body)) => OutBody::Stream(body),
            (None, None) => OutBody::Empty,
        }
    }

    /// Holds the head until the first bytes of the body are here, and judges both.
    async fn first_bytes(
        &self,
        endpoint: &Arc<PoolEndpoint>,
        answered: Answered,
    ) -> Result<Tried, SendError> {
        let Answered { head, body } = answered;
        let answer = self.outgoing.answer();
        let mut got = Got { endpoint: Arc::clone(endpoint), head, body, first: None, answer };
        let verdict = got.answer.head(got.head.status, &got.head.headers);
        if let HeadVerdict::Failure(cause) = verdict
            && self.outgoing.may_repeat(cause)
        {
            return Ok(Tried::Bad(cause, got));
        }
        if got.body.is_end() || got.head.status.is_informational() {
            return Ok(Tried::Good(got));
        }
        let frame = match poll_fn(|cx| got.body.poll_frame(cx)).await {
            None => return Ok(Tried::Good(got)),
            Some(Err(_)) => return Err(FailureCause::Lost.into()),
            Some(Ok(frame)) => frame,
        };
        let facts = frame.data_ref().map(|data| got.answer.chunk(data)).unwrap_or_default();
        got.first = Some((frame, facts));
        Ok(match facts.failure {
            Some(cause) if !facts.first_token => Tried::Bad(cause, got),
            Some(_) | None => Tried::Good(got),
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

/// No other attempt is made: the engine's own words say more than ours.
fn last_resort(rejection: Rejection, bad: Option<Got>) -> Result<Chosen, Refusal> {
    match bad {
        Some(got) => Ok(Chosen { placed: None, got }),
        None => Err(Refusal::Pool(rejection)),
    }
}

/// What a failed body of the client's is answered with.
pub(crate) const fn refusal_of(error: ClientBodyError) -> Refusal {
    match error {
        ClientBodyError::TooLarge { limit } => Refusal::BodyTooLarge { limit },
        ClientBodyError::Timeout => Refusal::BodyTimeout,
        ClientBodyError::Broken => Refusal::BodyIncomplete,
    }
}
