//! One call of `Process`: runs a session on the messages of its stream.
//!
//! The answers are a stream that reads requests when it is asked for more, so one task serves a call, nothing is
//! queued besides what one message leads to, and a gateway that stops reading is not read from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use pointsman_core::Rejection;
use pointsman_exchange::Refusal;
use pointsman_fleet::Placed;
use tokio::time::{Instant, Sleep};
use tonic::{Status, Streaming};

use crate::live::{LiveGuard, LivePool};
use crate::record::Record;
use crate::session::{Next, Patience, Session, SessionOptions};
use crate::shared::Shared;
use crate::wire::{Event, HttpHeaders, ProcessingRequest, ProcessingResponse};
use pointsman_fleet::Share;
use pointsman_telemetry::trace::{SpanName, TraceContext};

/// The header that carries a trace (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// When a request that the pool held too long may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Placement = Pin<Box<dyn Future<Output = Result<Placed, Rejection>> + Send>>;

/// A call in progress; as a stream, its answers.
pub(crate) struct Process(Option<Box<Call>>);

struct Call {
    shared: Arc<Shared>,
    incoming: Streaming<ProcessingRequest>,
    session: Session<LivePool>,
    pool: Arc<pointsman_fleet::PoolHandle>,
    record: Record,
    /// Answers, and how many of them were sent.
    out: Vec<ProcessingResponse>,
    sent: usize,
    placement: Option<Placement>,
    timer: Option<(Patience, Pin<Box<Sleep>>)>,
    held: Share,
    slot: Share,
    end: Option<Result<(), Status>>,
}

impl Process {
    pub(crate) fn start(shared: &Arc<Shared>, incoming: Streaming<ProcessingRequest>) -> Self {
        let Some(pool) = shared.live_pool() else {
            // The gateway treats this as a picker that is away, which for its pool it is.
            shared.tell_broken(&"the pool is not configured");
            return Self(None);
        };
        let options = SessionOptions { limits: shared.limits(), ..shared.session };
        let handle = Arc::clone(pool.handle());
        Self(Some(Box::new(Call {
            session: Session::new(pool, options, shared.draw()),
            incoming,
            pool: handle,
            record: Record::start(),
            out: Vec::new(),
            sent: 0,
            placement: None,
            timer: None,
            held: shared.held.share(),
            slot: shared.streams.share(),
            end: None,
            shared: Arc::clone(shared),
        })))
    }
}

impl Stream for Process {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Some(call) => call.poll_answer(cx),
            None => Poll::Ready(Some(Err(Status::unavailable("the pool is not configured")))),
        }
    }
}

impl Call {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ProcessingResponse, Status>>> {
        loop {
            if let Some(answer) = self.out.get_mut(self.sent) {
                self.sent += 1;
                return Poll::Ready(Some(Ok(std::mem::take(answer))));
            }
            self.out.clear();
            self.sent = 0;
            match &mut self.end {
                Some(end) => {
                    let end = std::mem::replace(end, Ok(()));
                    return Poll::Ready(end.err().map(Err));
                }
                None => {
                    if self.step(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Takes the next thing that happened.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(placement) = &mut self.placement
            && let Poll::Ready(placed) = placement.as_mut().poll(cx)
        {
            self.placement = None;
            let endpoint = placed.as_ref().ok().map(|placed| placed.endpoint().authority());
            self.record.answered(endpoint);
            let next = self.session.placed(placed.map(LiveGuard), &mut self.out);
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
                self.settle();
                self.end = Some(Ok(()));
                Poll::Ready(())
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn take(&mut self, message: ProcessingRequest) {
        if self.timer.as_ref().is_some_and(|(patience, _)| *patience == Patience::Body) {
            self.timer = None;
        }
        if let Some(config) = &message.protocol_config {
            self.shared.tell_modes(config);
        }
        if let Some(Event::RequestHeaders(head)) = &message.request {
            self.record.traced(self.shared.tracer.start(parent(head), SpanName::Request));
        }
        if self.slot.is_empty() && !self.slot.grow_to(1, self.most_requests()) {
            return self.refuse(&Refusal::Busy);
        }
        let next = self.session.message(message, &mut self.out);
        self.follow(next);
        match self.session.held_bytes() {
            0 => self.held.give_back(),
            held => {
                let most = self.shared.fleet.load().world.gateway.max_held_bytes;
                if !self.held.grow_to(held, most) {
                    self.refuse(&Refusal::Busy);
                }
            }
        }
    }

    fn most_requests(&self) -> u64 {
        self.shared.fleet.load().world.gateway.max_requests.into()
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.placement = None;
        let next = self.session.refuse(refusal, &mut self.out);
        self.follow(next);
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::Read => {}
            Next::Ask(asking) => {
                self.record.asked(&self.pool, &asking, self.session.held_bytes() > 0);
                self.placement = Some(Box::pin(self.pool.place(asking.facts).placed()));
            }
            Next::Withdraw => self.placement = None,
            Next::Over => self.end = Some(Ok(())),
            Next::Broken(why) => {
                self.shared.tell_broken(&why);
                self.placement = None;
                self.session.close();
                self.end = Some(Err(Status::failed_precondition(why.to_string())));
            }
        }
        self.settle();
    }

    /// Reports what is known by now.
    fn settle(&mut self) {
        self.record.streaming(&self.pool, self.session.is_streaming());
        if self.session.first_token_seen() {
            self.record.first_token();
        }
        if let Some(summary) = self.session.take_summary() {
            let bytes = (self.session.request_bytes(), self.session.response_bytes());
            self.record.finish(&self.pool, &summary, bytes);
        }
    }

    /// Nothing happened: waits, for as long as the session's patience lasts.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.session.patience();
        let (span, refusal) = match patience {
            Patience::Unlimited => {
                self.timer = None;
                return Poll::Pending;
            }
            Patience::Body => (self.shared.body_patience, Refusal::BodyTimeout),
            Patience::Pool => {
                let rejection = Rejection::Saturated { retry_after: RETRY_AFTER };
                (self.shared.pick_patience, Refusal::Pool(rejection))
            }
        };
        let timer = match &mut self.timer {
            Some((armed, timer)) if *armed == patience => timer,
            slot => &mut slot.insert((patience, Box::pin(tokio::time::sleep_until(Instant::now() + span)))).1,
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        self.refuse(&refusal);
        Poll::Ready(())
    }
}

/// The trace that the client, or the gateway, goes on with.
fn parent(head: &HttpHeaders) -> Option<TraceContext> {
    let fields = &head.headers.as_ref()?.headers;
    let field = fields.iter().find(|field| field.key == TRACEPARENT)?;
    TraceContext::parse(field.bytes())
}

impl Drop for Call {
    /// The gateway broke the stream off.
    fn drop(&mut self) {
        self.session.close();
        self.settle();
    }
}
