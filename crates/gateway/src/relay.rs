//! The body of an engine's response on its way to the client: passed on unchanged, and observed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use pointsman_core::{Completion, FailureCause, Time, Usage};
use pointsman_door::{Door, RequestContext};
use pointsman_exchange::{ChunkFacts, EngineResponse, Refusal, ResponseEnd, Verdict};
use pointsman_fleet::{Clock, Placed, PoolEndpoint, StreamActivity};
use pointsman_protocol::ErrorShape;
use pointsman_telemetry::Outcome;
use tokio::time::{Instant, Sleep};

use crate::upstream::UpstreamBody;

/// Time between the error event of a broken stream and the abort of its connection, so that the event is delivered.
const LINGER: Duration = Duration::from_millis(20);

/// How long the transport of a stream may go on after its end mark. Engines that keep it open have nothing more to say.
const AFTER_END: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are read from the engine while the client does not read.
const READ_AHEAD: u64 = 256 << 10;

/// A comment of an event stream, which clients ignore.
const HEARTBEAT: &[u8] = b": heartbeat\n\n";

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
    /// When the output of a stream must have begun; `None` once it has.
    pub(crate) output_by: Option<Instant>,
    /// The error format of the request's API.
    pub(crate) shape: ErrorShape,
    pub(crate) door: Arc<Door>,
    pub(crate) request: RequestContext,
}

/// The response body as the client's connection reads it.
#[derive(Debug)]
pub(crate) struct Relay {
    /// `None` once the client was given up.
    body: Option<UpstreamBody>,
    /// Frames that the client has not read yet.
    unread: VecDeque<Frame<Bytes>>,
    unread_bytes: u64,
    state: State,
    timer: Option<Pin<Box<Sleep>>>,
    activity: StreamActivity,
    /// When the response ends although its transport does not: its end mark has passed.
    over_by: Option<Instant>,
    /// When the last heartbeat was sent.
    heartbeat_at: Time,
    /// Whether reading stopped because the client does not read.
    paused: bool,
    clock: Clock,
    /// The task that reads.
    reader: Waker,
    /// When the client read last, by the clock of [`ReaderWatch`](crate::reader_watch::ReaderWatch).
    pub(crate) read_at: u64,
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
        let now = clock.now();
        let activity = StreamActivity::start(&context.endpoint.activity, now, context.output_by.is_some());
        let mut relay = Self {
            body: Some(body),
            unread: VecDeque::new(),
            unread_bytes: 0,
            state: State::Passing,
            timer: None,
            activity,
            over_by: None,
            heartbeat_at: now,
            paused: false,
            clock,
            reader: Waker::noop().clone(),
            read_at: 0,
            context,
        };
        match first {
            Some((frame, facts)) => {
                relay.record(length(&frame), facts);
                if !frame.is_trailers() || relay.end_with_trailers() {
                    relay.keep(frame);
                }
            }
            None if relay.engine_has_ended() => relay.end(ResponseEnd::Clean),
            None => {}
        }
        relay
    }

    fn engine_has_ended(&self) -> bool {
        self.body.as_ref().is_none_or(UpstreamBody::is_end)
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        self.unread_bytes += length(&frame) as u64;
        self.unread.push_back(frame);
    }

    /// Whether all frames have been read.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.unread.is_empty()
    }

    /// The length that has not been read, if the engine sent a content-length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let rest = self.body.as_ref().and_then(UpstreamBody::remaining);
        rest.map(|rest| self.unread_bytes + rest)
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if !self.reader.will_wake(cx.waker()) {
            self.reader.clone_from(cx.waker());
        }
        if let Some(frame) = self.unread.pop_front() {
            self.unread_bytes -= length(&frame) as u64;
            if self.unread.is_empty() {
                self.context.request.release_body();
            }
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

    /// Reads on while the client does not, so that the engine can end the response, and heeds the timeouts.
    pub(crate) fn go_on_unread(&mut self) {
        // Whatever wakes the task that polled last must still wake the client's.
        let reader = self.reader.clone();
        let mut cx = Context::from_waker(&reader);
        while matches!(self.state, State::Passing) {
            self.paused = self.unread_bytes >= READ_AHEAD
                || self.context.request.hold_body(self.unread_bytes + READ_AHEAD).is_err();
            if self.paused {
                // The engine waits for the client, so only the route's timeout counts.
                self.check_deadline();
                return;
            }
            match self.poll_passing(&mut cx) {
                Poll::Ready(Some(frame)) => self.keep(frame),
                Poll::Ready(None) => {}
                Poll::Pending => return,
            }
        }
    }

    /// Whether something waits for the client to read it.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || !matches!(self.state, State::Passing)
    }

    /// Ends the response because its client does not read, and frees what it holds.
    pub(crate) fn give_up_client(&mut self) {
        self.client_gone();
        self.body = None;
        self.unread = VecDeque::new();
        self.unread_bytes = 0;
        self.context.request.release();
        self.state = State::Aborting;
    }

    /// The next frame, or `None` when the state has changed.
    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if std::mem::take(&mut self.paused) {
            // The pause was the client's.
            self.activity.resume(&self.context.endpoint.activity, self.clock.now());
        }
        let polled = self.body.as_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx));
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                self.activity.on_chunk(&self.context.endpoint.activity, self.clock.now());
                Poll::Ready(Some(self.observe(frame)))
            }
            Poll::Ready(Some(Ok(trailers))) => {
                // Frees the connection, which has nothing more to send.
                _ = self.body.as_mut().map(|body| body.poll_frame(cx));
                Poll::Ready(self.end_with_trailers().then_some(trailers))
            }
            Poll::Ready(Some(Err(_))) => {
                self.end(ResponseEnd::Failed(FailureCause::Truncated));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.end(ResponseEnd::Clean);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_timer(cx),
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
            self.context.output_by = None;
            self.activity.on_output();
            self.context.request.first_token();
            self.context.placed.iter_mut().for_each(Placed::first_token);
        } else if facts.output_tokens > 0 {
            self.context.placed.iter_mut().for_each(|placed| placed.progress(facts.output_tokens));
        }
        if self.engine_has_ended() {
            self.end(ResponseEnd::Clean);
        } else {
            self.await_transport_end();
        }
    }

    /// Ends the response before its trailers, after which nobody polls again. Returns whether they are to be passed on: not
    /// where they would make an incomplete response look complete.
    fn end_with_trailers(&mut self) -> bool {
        self.end(ResponseEnd::Clean);
        matches!(self.state, State::Ended)
    }

    /// Gives the transport of a stream that has passed its end mark a moment to end.
    fn await_transport_end(&mut self) {
        let is_over = self.context.observer.as_ref().is_some_and(EngineResponse::is_over);
        if is_over && self.over_by.is_none() && self.remaining().is_none() {
            let over_by = Instant::now() + AFTER_END;
            self.over_by = Some(over_by);
            // Otherwise set when the transport is awaited.
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(over_by);
            }
        }
    }

    /// Ends the response at the route's timeout. Returns whether it did.
    fn check_deadline(&mut self) -> bool {
        let is_over = self.context.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_over {
            self.out_of_time();
        }
        is_over
    }

    /// Ready with a heartbeat, or when the stream was ended because it stalled or because its request ran out of time. The
    /// timer is set anew only when it fires, whatever the pace of the stream.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
            }
            let now = self.clock.now();
            if self.check_deadline() {
                return Poll::Ready(None);
            }
            if self.over_by.is_some_and(|over_by| over_by <= Instant::now()) {
                self.end(ResponseEnd::Clean);
                return Poll::Ready(None);
            }
            if self.context.output_by.is_some_and(|output_by| output_by <= Instant::now()) {
                self.end(ResponseEnd::Failed(FailureCause::FirstByteTimeout));
                return Poll::Ready(None);
            }
            let heartbeat = self.next_heartbeat(now);
            if heartbeat.is_some_and(|due| due <= now) {
                self.heartbeat_at = now;
                self.context.request.add_response_bytes(HEARTBEAT.len() as u64);
                return Poll::Ready(Some(Frame::data(Bytes::from_static(HEARTBEAT))));
            }
            let liveness = self.context.endpoint.timeouts.liveness();
            let Some(check) = self.activity.check(&self.context.endpoint.activity, now, &liveness) else {
                self.end(ResponseEnd::Failed(FailureCause::Stalled));
                return Poll::Ready(None);
            };
            let check = heartbeat.map_or(check, |due| due.min(check));
            let check = Instant::from_std(self.clock.instant(check));
            let limits = [self.context.deadline, self.context.output_by, self.over_by].into_iter().flatten();
            let wake = limits.fold(check, Instant::min);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(wake),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(wake))),
            }
        }
    }

    /// When the next heartbeat is due, if any. A client that does not read, or waits for the rest of an event, gets none for now.
    fn next_heartbeat(&self, now: Time) -> Option<Time> {
        let interval = self.context.endpoint.timeouts.heartbeat?;
        let due = self.activity.last_byte().max(self.heartbeat_at) + interval;
        let possible = self.unread.is_empty()
            && self.context.observer.as_ref().is_some_and(EngineResponse::takes_comments);
        Some(if possible { due } else { due.max(now + interval) })
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
        if self.context.observer.as_ref().is_some_and(EngineResponse::is_over) {
            return self.end(ResponseEnd::Clean);
        }
        let takes_events = self.context.observer.take().is_some_and(|observer| observer.takes_events());
        self.context.placed = None;
        let refusal = Refusal::RequestTimeout;
        let event = takes_events.then(|| refusal.event(self.context.shape));
        self.close(Outcome::Rejected(refusal.reason()), Usage::default(), event, true);
    }

    fn close(&mut self, outcome: Outcome, usage: Usage, error_event: Option<Bytes>, abort: bool) {
        // An event within a stated length would make the response look complete.
        let error_event = error_event.filter(|_| self.remaining().is_none());
        self.context.request.add_response_bytes(error_event.as_ref().map_or(0, Bytes::len) as u64);
        self.context.request.finish(outcome, usage);
        self.state = match (error_event, abort) {
            (Some(event), _) => State::ErrorEvent(event),
            (None, true) => State::Aborting,
            (None, false) => State::Ended,
        };
    }

    /// Reports what was observed of the response when the client left before its end.
    fn client_gone(&mut self) {
        if let Some(observer) = self.context.observer.take() {
            let usage = observer.end(ResponseEnd::ClientGone).usage;
            if let Some(placed) = self.context.placed.take() {
                placed.finish(Completion::ClientGone, usage);
            }
            self.context.request.finish(Outcome::Served(Completion::ClientGone), usage);
        }
    }
}

pub(crate) fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.client_gone();
    }
}
