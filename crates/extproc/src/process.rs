//! One `Process` call: runs a session on the messages of its stream.
//!
//! The responses are a stream that reads requests when it is polled. So one task serves a call, only the responses to one
//! message are queued, and a gateway that stops reading is not read from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use pointsman_config::ClientTimeouts;
use pointsman_core::Rejection;
use pointsman_door::{REQUEST_ID, RequestContext, TRACEPARENT, request_id};
use pointsman_exchange::Refusal;
use pointsman_fleet::{Placed, PoolHandle};
use tokio::time::{Instant, Sleep};
use tonic::{Status, Streaming};

use crate::live::{LiveGuard, LivePool};
use crate::session::{DataPlane, Next, Session, SessionOptions, WaitingFor};
use crate::shared::Shared;
use crate::wire::{Event, HeaderValue, HttpHeaders, ProcessingRequest, ProcessingResponse};

/// `retry-after` of a request that was not placed within the timeout.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Placement = Pin<Box<dyn Future<Output = Result<Placed, Rejection>> + Send>>;

/// A call in progress, as the stream of its responses.
pub(crate) struct Process(Option<Box<Call>>);

struct Call {
    shared: Arc<Shared>,
    incoming: Streaming<ProcessingRequest>,
    session: Session<LivePool>,
    pool: Arc<PoolHandle>,
    /// `None` before the request's headers.
    context: Option<RequestContext>,
    /// The client's ID of the request.
    request_id: Option<Bytes>,
    /// Responses, of which the first `sent` were returned.
    out: Vec<ProcessingResponse>,
    sent: usize,
    placement: Option<Placement>,
    timer: Option<(WaitingFor, Pin<Box<Sleep>>)>,
    end: Option<Result<(), Status>>,
}

impl Process {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        plane: &Arc<DataPlane>,
        incoming: Streaming<ProcessingRequest>,
    ) -> Self {
        let Some(pool) = shared.live_pool() else {
            // The gateway treats this like a picker that cannot be reached.
            shared.log_aborted(&"the pool is not configured");
            return Self(None);
        };
        let options = SessionOptions { limits: shared.limits(), ..shared.session };
        Self(Some(Box::new(Call {
            pool: Arc::clone(&pool.handle),
            session: Session::new(pool, options, Arc::clone(plane)),
            incoming,
            context: None,
            request_id: None,
            out: Vec::new(),
            sent: 0,
            placement: None,
            timer: None,
            end: None,
            shared: Arc::clone(shared),
        })))
    }
}

impl Stream for Process {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Some(call) => call.poll_response(cx),
            None => Poll::Ready(Some(Err(Status::unavailable("the pool is not configured")))),
        }
    }
}

impl Call {
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ProcessingResponse, Status>>> {
        loop {
            if let Some(response) = self.out.get_mut(self.sent) {
                self.sent += 1;
                return Poll::Ready(Some(Ok(std::mem::take(response))));
            }
            self.out.clear();
            self.sent = 0;
            if let Some(end) = &mut self.end {
                return Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err));
            }
            ready!(self.step(cx));
        }
    }

    /// Processes the next placement, message or timeout.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(placement) = &mut self.placement
            && let Poll::Ready(result) = placement.as_mut().poll(cx)
        {
            self.placement = None;
            if let Some(context) = &mut self.context {
                context.placed(&result);
            }
            let next = self.session.placed(result.map(LiveGuard), &mut self.out);
            self.follow(next);
            return Poll::Ready(());
        }
        match Pin::new(&mut self.incoming).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => {
                self.take(message);
                Poll::Ready(())
            }
            Poll::Ready(None | Some(Err(_))) => {
                self.placement = None;
                self.session.close();
                self.report();
                self.end = Some(Ok(()));
                Poll::Ready(())
            }
            Poll::Pending => self.poll_timeout(cx),
        }
    }

    fn take(&mut self, message: ProcessingRequest) {
        if self.timer.as_ref().is_some_and(|(waiting_for, _)| *waiting_for == WaitingFor::Body) {
            self.timer = None;
        }
        if let Some(config) = &message.protocol_config {
            self.shared.log_modes(config);
        }
        if let Some(Event::RequestHeaders(head)) = &message.request
            && self.context.is_none()
            && let Err(refusal) = self.begin(head)
        {
            return self.refuse(&refusal);
        }
        if self.session.awaits_body() {
            self.follow_configuration();
        }
        let next = self.session.message(message, &mut self.out);
        self.follow(next);
        let Some(context) = &mut self.context else { return };
        match self.session.held_bytes() {
            0 => context.release_body(),
            held => {
                if let Err(refusal) = context.hold_body(held) {
                    self.refuse(&refusal);
                }
            }
        }
    }

    /// Turns to the configuration in force: a body may take minutes.
    fn follow_configuration(&mut self) {
        let generation = self.shared.door.fleet.load();
        let Some(handle) = generation.pools.iter().find(|pool| pool.name == self.shared.pool) else { return };
        if !Arc::ptr_eq(handle, &self.pool) {
            self.pool = Arc::clone(handle);
            self.session
                .set_pool(LivePool { handle: Arc::clone(handle), door: Arc::clone(&self.shared.door) });
        }
    }

    /// Starts the record of the request whose headers arrived.
    fn begin(&mut self, head: &HttpHeaders) -> Result<(), Refusal> {
        let fields = head.headers.as_ref().map(|map| map.headers.as_slice()).unwrap_or_default();
        let field = |name: &str| fields.iter().find(|field| field.key == name).map(HeaderValue::bytes);
        let traceparent = field(TRACEPARENT);
        self.request_id = field(REQUEST_ID).cloned();
        let door = &self.shared.door;
        let generation = door.fleet.load();
        let policy = &generation.world.gateway;
        let context = self.context.insert(door.begin(policy, traceparent.map(AsRef::as_ref)));
        if let Some(id) = self.request_id.clone().and_then(|id| http::HeaderValue::from_maybe_shared(id).ok())
        {
            context.set_request_id(request_id(Some(&id), door.draw()));
        }
        context.set_pool(&self.pool);
        context.admit(1)
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.placement = None;
        let next = self.session.refuse(refusal, &mut self.out);
        self.follow(next);
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::Read => {}
            Next::Place => {
                if let (Some(context), Some(request)) = (&mut self.context, self.session.waiting_request()) {
                    let ticket = context.place(&self.pool, request, || self.request_id.as_deref());
                    self.placement = Some(Box::pin(ticket.placed()));
                }
            }
            Next::Withdraw => self.placement = None,
            Next::End => self.end = Some(Ok(())),
            Next::Abort(violation) => {
                self.shared.log_aborted(&violation);
                self.placement = None;
                self.session.close();
                self.end = Some(Err(Status::failed_precondition(violation.to_string())));
            }
        }
        self.report();
    }

    /// Reports the session's progress to the request's record.
    fn report(&mut self) {
        let Some(context) = &mut self.context else { return };
        context.set_streaming(self.session.is_streaming());
        if self.session.first_token_seen() {
            context.first_token();
        }
        if let Some(summary) = self.session.take_summary() {
            if let Some(endpoint) = summary.endpoint.and_then(|id| self.pool.endpoint(id)) {
                context.served_by(endpoint);
            }
            context.set_status(summary.status);
            context.set_request_bytes(summary.request_bytes);
            context.add_response_bytes(summary.response_bytes);
            context.finish(summary.outcome, summary.usage);
        }
    }

    /// Refuses the request if the timeout of what the session waits for has passed.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waiting_for = self.session.waiting_for();
        let refusal = match waiting_for {
            WaitingFor::Message => {
                self.timer = None;
                return Poll::Pending;
            }
            WaitingFor::Body => Refusal::BodyTimeout,
            WaitingFor::Placement => Refusal::Pool(Rejection::Saturated { retry_after: RETRY_AFTER }),
        };
        if self.timer.as_ref().is_none_or(|(armed, _)| *armed != waiting_for) {
            self.timer = Some((waiting_for, Box::pin(tokio::time::sleep_until(self.deadline(waiting_for)))));
        }
        let Some((_, timer)) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        self.refuse(&refusal);
        Poll::Ready(())
    }
}

impl Call {
    /// When waiting ends that begins now.
    fn deadline(&self, waiting_for: WaitingFor) -> Instant {
        let now = Instant::now();
        match waiting_for {
            WaitingFor::Message | WaitingFor::Placement => now + self.shared.pick_timeout,
            WaitingFor::Body => {
                let ClientTimeouts { body, body_idle, .. } = self.shared.client_timeouts();
                let total = self.context.as_ref().map(|context| Instant::from_std(context.arrived()) + body);
                total.map_or(now + body_idle, |total| total.min(now + body_idle))
            }
        }
    }
}

impl Drop for Call {
    /// The gateway aborted the stream, or the response stream ended.
    fn drop(&mut self) {
        self.session.close();
        self.report();
        if let Some(context) = self.context.take() {
            context.discard(); // Without effect on a request that has ended.
        }
    }
}
