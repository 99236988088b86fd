//! An engine's answer on its way to the client: passed on byte for byte, watched as it passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pointsman_core::{Completion, FailureCause, Usage};
use pointsman_exchange::{Answer, AnswerEnd, ChunkFacts, Verdict};
use pointsman_fleet::{Clock, Placed, PoolEndpoint, StreamActivity};
use pointsman_protocol::{ErrorBody, ErrorShape};
use pointsman_telemetry::{Outcome, Running};
use tokio::time::{Instant, Sleep};

use crate::record::Record;
use crate::reply::BrokenOff;
use crate::stored::Stored;
use crate::upstream::AnswerBody;

/// How long the last event of a broken stream has to leave before the connection is cut behind it.
const LINGER: Duration = Duration::from_millis(20);

/// A frame that was read while the head was held, and what it said.
pub(crate) type First = (Frame<Bytes>, ChunkFacts);

/// What a relay needs to know of its request.
#[derive(Debug)]
pub(crate) struct RelayOf {
    /// The reservation; `None` where it was given up, and the engine's own error answer is passed on.
    pub(crate) placed: Option<Placed>,
    /// The endpoint that answers.
    pub(crate) endpoint: Arc<PoolEndpoint>,
    /// The watch over the answer.
    pub(crate) answer: Answer,
    /// Counts the stream, where it is one.
    pub(crate) stream: Option<Running>,
    /// The end of the time that the route allows.
    pub(crate) deadline: Option<Instant>,
    /// The shape of errors.
    pub(crate) shape: ErrorShape,
    /// The fleet's clock.
    pub(crate) clock: Clock,
    /// Where stored responses are remembered.
    pub(crate) stored: Arc<Stored>,
}

/// The answer's body as the client's connection reads it.
#[derive(Debug)]
pub(crate) struct Relay {
    body: AnswerBody,
    first: Option<First>,
    state: State,
    timer: Option<Pin<Box<Sleep>>>,
    activity: StreamActivity,
    placed: Option<Placed>,
    endpoint: Arc<PoolEndpoint>,
    answer: Option<Answer>,
    _stream: Option<Running>,
    deadline: Option<Instant>,
    shape: ErrorShape,
    record: Record,
    clock: Clock,
    stored: Arc<Stored>,
}

#[derive(Debug)]
enum State {
    /// The engine's bytes pass.
    Passing,
    /// They broke off, and one event says so.
    LastEvent(Bytes),
    /// The event leaves.
    Lingering,
    /// The connection is cut.
    Cut,
    /// All is over.
    Over,
}

impl Relay {
    /// `first` is what was read while the head was held, with what it said.
    pub(crate) fn new(of: RelayOf, body: AnswerBody, first: Option<First>, record: Record) -> Self {
        let activity = StreamActivity::start(&of.endpoint.activity, of.clock.now());
        let mut relay = Self {
            body,
            first,
            state: State::Passing,
            timer: None,
            activity,
            placed: of.placed,
            endpoint: of.endpoint,
            answer: Some(of.answer),
            _stream: of.stream,
            deadline: of.deadline,
            shape: of.shape,
            record,
            clock: of.clock,
            stored: of.stored,
        };
        if relay.first.is_none() && relay.body.is_end() {
            relay.end(AnswerEnd::Clean);
        }
        relay
    }

    /// Whether nothing more will come.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(self.state, State::Over) && self.first.is_none()
    }

    /// The length, where the engine announced one.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|(frame, _)| frame.data_ref()).map_or(0, Bytes::len) as u64;
        match self.body.remaining() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::default(),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some((frame, facts)) = self.first.take() {
            self.note(frame.data_ref().map_or(0, Bytes::len), facts);
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            match &mut self.state {
                State::Passing => {
                    if let Some(frame) = ready!(self.poll_passing(cx)) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                State::LastEvent(event) => {
                    let event = std::mem::take(event);
                    self.state = State::Lingering;
                    self.timer = Some(Box::pin(tokio::time::sleep(LINGER)));
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                State::Lingering => {
                    if let Some(timer) = &mut self.timer {
                        ready!(timer.as_mut().poll(cx));
                    }
                    self.state = State::Cut;
                }
                State::Cut => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    /// The next frame, or `None` once the state has changed.
    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_data() {
                    self.activity.on_chunk(&self.endpoint.activity, self.clock.now());
                }
                Poll::Ready(Some(self.pass(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                self.end(AnswerEnd::Failed(FailureCause::Truncated));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.end(AnswerEnd::Clean);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_timer(cx).map(|()| None),
        }
    }

    /// Watches one frame pass.
    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let (Some(data), Some(answer)) = (frame.data_ref(), &mut self.answer) {
            let facts = answer.chunk(data);
            self.note(data.len(), facts);
        }
        frame
    }

    /// Tells core and record of a piece, and of the end if that was the last one.
    fn note(&mut self, length: usize, facts: ChunkFacts) {
        self.record.response_bytes += length as u64;
        if facts.first_token {
            self.record.first_token();
            self.placed.iter_mut().for_each(Placed::first_token);
        } else if facts.output_tokens > 0 {
            self.placed.iter_mut().for_each(|placed| placed.progress(facts.output_tokens));
        }
        if self.body.is_end() {
            self.end(AnswerEnd::Clean);
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
            let deadline = self.deadline;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.out_of_time();
                return Poll::Ready(());
            }
            let liveness = self.endpoint.timeouts.liveness();
            let Some(check) = self.activity.check(&self.endpoint.activity, now, &liveness) else {
                self.end(AnswerEnd::Failed(FailureCause::Stalled));
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

    /// The answer has ended, one way or another.
    fn end(&mut self, end: AnswerEnd) {
        let Some(answer) = self.answer.take() else { return };
        let Verdict { completion, usage, last_event, break_off, stored_response } = answer.end(end);
        if let Some(id) = stored_response {
            self.stored.remember(self.clock.now(), &id, self.endpoint.id);
        }
        if let Some(placed) = self.placed.take() {
            placed.finish(completion, usage);
        }
        self.close(Outcome::Served(completion), usage, last_event, break_off);
    }

    /// The route's time for the whole request is spent. That is no fault of the endpoint's.
    fn out_of_time(&mut self) {
        let is_stream = self.answer.take().is_some_and(|answer| answer.is_stream());
        self.placed = None;
        let text = "the request ran out of the time its route allows";
        let event = is_stream.then(|| ErrorBody::new(504, "request_timeout", text).event(self.shape));
        self.close(Outcome::Rejected("request_timeout"), Usage::default(), event, true);
    }

    fn close(&mut self, outcome: Outcome, usage: Usage, last_event: Option<Bytes>, break_off: bool) {
        self.record.response_bytes += last_event.as_ref().map_or(0, Bytes::len) as u64;
        self.record.finish(outcome, usage);
        self.state = match (last_event, break_off) {
            (Some(event), _) => State::LastEvent(event),
            (None, true) => State::Cut,
            (None, false) => State::Over,
        };
    }
}

impl Drop for Relay {
    /// The client went away before the end: what was seen until then still counts.
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let usage = answer.end(AnswerEnd::ClientGone).usage;
            if let Some(placed) = self.placed.take() {
                placed.finish(Completion::ClientGone, usage);
            }
            self.record.finish(Outcome::Served(Completion::ClientGone), usage);
        }
    }
}
