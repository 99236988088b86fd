//! The body of an engine's response on its way to the client: passed on unchanged, and observed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pointsman_core::{Completion, FailureCause, Usage};
use pointsman_door::{Door, RequestContext};
use pointsman_exchange::{ChunkFacts, EngineResponse, Refusal, ResponseEnd, Verdict};
use pointsman_fleet::{Clock, Placed, PoolEndpoint, StreamActivity};
use pointsman_protocol::ErrorShape;
use pointsman_telemetry::Outcome;
use tokio::time::{Instant, Sleep};

use crate::upstream::UpstreamBody;

/// Time between the error event of a broken stream and the abort of its connection, so that the event is delivered.
const LINGER: Duration = Duration::from_millis(20);

/// A body frame that was read before the response head was passed on, and the facts learned from it.
pub(crate) type FirstFrame = (Frame<Bytes>, ChunkFacts);

/// The response is incomplete, and the connection is to be aborted.
#[derive(Debug, thiserror::Error)]
#[error("the response was aborted")]
pub(crate) struct Aborted;

/// The request that a relay serves.
#[derive(Debug)]
pub(crate) struct RelayContext {
    /// The reserved load; `None` for the error response of an attempt that failed.
    pub(crate) placed: Option<Placed>,
    pub(crate) endpoint: Arc<PoolEndpoint>,
    /// `None` after the end of the response.
    pub(crate) observer: Option<EngineResponse>,
    /// When the route's timeout ends.
    pub(crate) deadline: Option<Instant>,
    /// The error format of the request's API.
    pub(crate) shape: ErrorShape,
    pub(crate) door: Arc<Door>,
    pub(crate) request: RequestContext,
}

/// The response body as the client's connection reads it.
#[derive(Debug)]
pub(crate) struct Relay {
    body: UpstreamBody,
    first: Option<FirstFrame>,
    state: State,
    timer: Option<Pin<Box<Sleep>>>,
    activity: StreamActivity,
    clock: Clock,
    context: RelayContext,
}

#[derive(Debug)]
enum State {
    /// Frames of the engine pass.
    Passing,
    /// The stream broke, and this event is to be sent.
    ErrorEvent(Bytes),
    /// The event was sent, and the connection is aborted after [`LINGER`].
    Lingering,
    /// The connection is to be aborted.
    Aborting,
    Ended,
}

impl Relay {
    /// `first` is the frame that was read before.
    pub(crate) fn new(context: RelayContext, body: UpstreamBody, first: Option<FirstFrame>) -> Self {
        let clock = context.door.fleet.clock();
        let activity = StreamActivity::start(&context.endpoint.activity, clock.now());
        let mut relay = Self { body, first, state: State::Passing, timer: None, activity, clock, context };
        if relay.first.is_none() && relay.body.is_end() {
            relay.end(ResponseEnd::Clean);
        }
        relay
    }

    /// Whether all frames have been read.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.first.is_none()
    }

    /// The remaining length, if the engine sent a content-length.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|(frame, _)| frame.data_ref()).map_or(0, Bytes::len) as u64;
        match self.body.remaining() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::default(),
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some((frame, facts)) = self.first.take() {
            self.record(frame.data_ref().map_or(0, Bytes::len), facts);
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            match &mut self.state {
                State::Passing => {
                    if let Some(frame) = ready!(self.poll_passing(cx)) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                State::ErrorEvent(event) => {
                    let event = std::mem::take(event);
                    self.state = State::Lingering;
                    self.timer = Some(Box::pin(tokio::time::sleep(LINGER)));
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                State::Lingering => {
                    if let Some(timer) = &mut self.timer {
                        ready!(timer.as_mut().poll(cx));
                    }
                    self.state = State::Aborting;
                }
                State::Aborting => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(Aborted)));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// The next frame, or `None` when the state has changed.
    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_data() {
                    self.activity.on_chunk(&self.context.endpoint.activity, self.clock.now());
                }
                Poll::Ready(Some(self.observe(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                self.end(ResponseEnd::Failed(FailureCause::Truncated));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.end(ResponseEnd::Clean);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_timer(cx).map(|()| None),
        }
    }

    fn observe(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let (Some(data), Some(observer)) = (frame.data_ref(), &mut self.context.observer) {
            let facts = observer.chunk(data);
            self.record(data.len(), facts);
        }
        frame
    }

    /// Reports the facts of a chunk to the scheduler and the request's record, and ends the response after its last chunk.
    fn record(&mut self, length: usize, facts: ChunkFacts) {
        self.context.request.add_response_bytes(length as u64);
        if facts.first_token {
            self.context.request.first_token();
            self.context.placed.iter_mut().for_each(Placed::first_token);
        } else if facts.output_tokens > 0 {
            self.context.placed.iter_mut().for_each(|placed| placed.progress(facts.output_tokens));
        }
        if self.body.is_end() {
            self.end(ResponseEnd::Clean);
        }
    }

    /// Ready when the stream was ended because it stalled or because its request ran out of time. The timer is set
    /// anew only when it fires, whatever the pace of the stream.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
            }
            let now = self.clock.now();
            let deadline = self.context.deadline;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.out_of_time();
                return Poll::Ready(());
            }
            let liveness = self.context.endpoint.timeouts.liveness();
            let Some(check) = self.activity.check(&self.context.endpoint.activity, now, &liveness) else {
                self.end(ResponseEnd::Failed(FailureCause::Stalled));
                return Poll::Ready(());
            };
            let check = Instant::from_std(self.clock.instant(check));
            let wake = deadline.map_or(check, |deadline| deadline.min(check));
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(wake),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(wake))),
            }
        }
    }

    fn end(&mut self, end: ResponseEnd) {
        let Some(observer) = self.context.observer.take() else { return };
        let Verdict { completion, usage, error_event, abort, stored_response } = observer.end(end);
        if let Some(id) = stored_response {
            self.context.door.remember_response(&id, self.context.endpoint.id);
        }
        if let Some(placed) = self.context.placed.take() {
            placed.finish(completion, usage);
        }
        self.close(Outcome::Served(completion), usage, error_event, abort);
    }

    /// Ends the response at the route's timeout, which does not count against the endpoint.
    fn out_of_time(&mut self) {
        let is_stream = self.context.observer.take().is_some_and(|observer| observer.is_stream());
        self.context.placed = None;
        let refusal = Refusal::RequestTimeout;
        let event = is_stream.then(|| refusal.event(self.context.shape));
        self.close(Outcome::Rejected(refusal.reason()), Usage::default(), event, true);
    }

    fn close(&mut self, outcome: Outcome, usage: Usage, error_event: Option<Bytes>, abort: bool) {
        self.context.request.add_response_bytes(error_event.as_ref().map_or(0, Bytes::len) as u64);
        self.context.request.finish(outcome, usage);
        self.state = match (error_event, abort) {
            (Some(event), _) => State::ErrorEvent(event),
            (None, true) => State::Aborting,
            (None, false) => State::Ended,
        };
    }
}

impl Drop for Relay {
    /// Reports what was observed of the response if the client disconnected before its end.
    fn drop(&mut self) {
        if let Some(observer) = self.context.observer.take() {
            let usage = observer.end(ResponseEnd::ClientGone).usage;
            if let Some(placed) = self.context.placed.take() {
                placed.finish(Completion::ClientGone, usage);
            }
            self.context.request.finish(Outcome::Served(Completion::ClientGone), usage);
        }
    }
}
