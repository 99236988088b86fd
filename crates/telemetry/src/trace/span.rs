//! Spans with attributes from a closed list, which go to the exporter when they end.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::context::TraceContext;
use crate::metrics::RequestRecord;

/// Name and kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanName {
    /// One request, from its headers to the end of the response. Kind: server.
    Request,
    /// One attempt at an endpoint. Kind: client.
    Attempt,
}

impl SpanName {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "pointsman request",
            Self::Attempt => "pointsman attempt",
        }
    }
}

/// An attribute of a span. The list is closed so that no text of a request is exported.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// The pool's `namespace/name`.
    Pool(Arc<str>),
    /// The public model name.
    Model(Arc<str>),
    /// The model name sent to the engine.
    TargetModel(Arc<str>),
    /// The endpoint's `host:port`.
    Endpoint(Arc<str>),
    /// HTTP status of the response.
    Status(u16),
    /// Outcome of the request, as in [`Outcome::as_str`](crate::Outcome::as_str).
    Outcome(&'static str),
    /// Reason of a failure or refusal; it sets the span's status to error.
    Reason(&'static str),
    /// Prompt tokens.
    InputTokens(u32),
    /// Prompt tokens from the engine's prefix cache.
    CachedTokens(u32),
    /// Output tokens.
    OutputTokens(u32),
    /// Time from arrival to the first output token.
    FirstToken(Duration),
    /// Time to choose an endpoint, including waiting.
    Placement(Duration),
}

/// A span that ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: SpanName,
    pub(super) context: TraceContext,
    pub(super) parent: Option<u64>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) attributes: Vec<Attribute>,
}

/// Starts spans. Clones share the exporter.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    recording: Option<Arc<Recording>>,
}

/// State of a tracer that its spans share.
#[derive(Debug)]
struct Recording {
    finished: mpsc::Sender<Finished>,
    dropped: Counter,
    ids: Ids,
    /// Share of new traces to record, as an upper bound for 64 random bits.
    threshold: u64,
}

impl Tracer {
    /// A tracer that records nothing. A client's `traceparent` passes unchanged.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { recording: None }
    }

    pub(super) fn recording(finished: mpsc::Sender<Finished>, dropped: Counter, share: f64) -> Self {
        // The conversion saturates.
        let threshold = (share * 18_446_744_073_709_551_615.0) as u64;
        Self { recording: Some(Arc::new(Recording { finished, dropped, ids: Ids::default(), threshold })) }
    }

    /// Starts a span. It is recorded where the parent's sampled flag says so; without a parent, for the configured
    /// share of traces.
    pub fn start(&self, parent: Option<TraceContext>, name: SpanName) -> Span {
        let Some(recording) = &self.recording else { return Span(State::Off) };
        let (trace, sampled) = match parent {
            Some(parent) => (parent.trace, parent.sampled),
            None => {
                let low = recording.ids.next();
                // The low half of the trace id decides, as in OpenTelemetry's TraceIdRatioBased sampler.
                (u128::from(recording.ids.next()) << 64 | u128::from(low), low <= recording.threshold)
            }
        };
        let context = TraceContext { trace, span: recording.ids.next(), sampled };
        if !sampled {
            // The client's header already says not to record; a new trace sends the engine a header that does.
            return Span(if parent.is_some() { State::Off } else { State::Unsampled(context) });
        }
        let finished = Finished {
            name,
            context,
            parent: parent.map(|parent| parent.span),
            start: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::with_capacity(8),
        };
        let recording = Arc::clone(recording);
        Span(State::On(Box::new(Live { recording, started: Instant::now(), finished })))
    }
}

/// A span in progress; it ends when it is dropped.
#[derive(Debug)]
#[must_use = "the span ends when this is dropped"]
pub struct Span(State);

#[derive(Debug)]
enum State {
    Off,
    Unsampled(TraceContext),
    On(Box<Live>),
    Ended,
}

#[derive(Debug)]
struct Live {
    recording: Arc<Recording>,
    started: Instant,
    finished: Finished,
}

impl Span {
    /// The `traceparent` to send upstream; `None` to leave the client's header unchanged.
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceContext> {
        match &self.0 {
            State::Off | State::Ended => None,
            State::Unsampled(context) => Some(*context),
            State::On(live) => Some(live.finished.context),
        }
    }

    /// Starts a child span.
    pub fn child(&self, name: SpanName) -> Self {
        match &self.0 {
            State::Off | State::Ended => Self(State::Off),
            State::Unsampled(context) => Self(State::Unsampled(*context)),
            State::On(live) => {
                let tracer = Tracer { recording: Some(Arc::clone(&live.recording)) };
                tracer.start(Some(live.finished.context), name)
            }
        }
    }

    /// Whether attributes of the span are recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        matches!(self.0, State::On(_))
    }

    /// Adds an attribute; beyond 32, attributes are ignored.
    pub fn set(&mut self, attribute: Attribute) {
        if let State::On(live) = &mut self.0
            && live.finished.attributes.len() < 32
        {
            live.finished.attributes.push(attribute);
        }
    }

    /// Adds the attributes of a finished request: status, outcome, reason, token counts and time to the first token.
    pub fn set_record(&mut self, record: &RequestRecord) {
        if !self.is_recorded() {
            return;
        }
        self.set(Attribute::Status(record.status));
        self.set(Attribute::Outcome(record.outcome.as_str()));
        let reason = record.outcome.reason();
        let known = [
            (!reason.is_empty()).then_some(Attribute::Reason(reason)),
            record.usage.prompt_tokens.map(Attribute::InputTokens),
            record.usage.cached_tokens.map(Attribute::CachedTokens),
            record.usage.output_tokens.map(Attribute::OutputTokens),
            record.first_token.map(Attribute::FirstToken),
        ];
        known.into_iter().flatten().for_each(|attribute| self.set(attribute));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let State::On(live) = std::mem::replace(&mut self.0, State::Ended) else { return };
        let Live { recording, started, mut finished } = *live;
        finished.duration = started.elapsed();
        if recording.finished.try_send(finished).is_err() {
            recording.dropped.inc();
        }
    }
}

/// Random ids, seeded by the operating system. They need not be secret, only unlikely to repeat.
#[derive(Debug)]
struct Ids {
    seed: u64,
    count: AtomicU64,
    hasher: RandomState,
}

impl Default for Ids {
    fn default() -> Self {
        let hasher = RandomState::new();
        Self { seed: hasher.hash_one(SystemTime::now()), count: AtomicU64::new(0), hasher }
    }
}

impl Ids {
    /// A random id other than 0, which trace context forbids.
    fn next(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.hasher.hash_one((self.seed, count)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(sampled: bool) -> TraceContext {
        TraceContext { trace: 7, span: 8, sampled }
    }

    fn tracer(share: f64, queue: usize) -> (Tracer, mpsc::Receiver<Finished>, Counter) {
        let (sender, receiver) = mpsc::channel(queue);
        let dropped = Counter::default();
        (Tracer::recording(sender, dropped.clone(), share), receiver, dropped)
    }

    #[test]
    fn without_an_exporter_the_clients_header_is_unchanged() {
        let span = Tracer::disabled().start(Some(parent(true)), SpanName::Request);
        assert_eq!(span.traceparent(), None);
        assert_eq!(span.child(SpanName::Attempt).traceparent(), None);
        assert!(!span.is_recorded());
    }

    #[test]
    fn a_recorded_parent_gets_children_in_its_trace() {
        let (tracer, mut finished, _) = tracer(0.0, 4);
        let span = tracer.start(Some(parent(true)), SpanName::Request);
        let own = span.traceparent().unwrap();
        assert_eq!((own.trace, own.sampled), (7, true));
        assert_ne!(own.span, 8);
        let mut attempt = span.child(SpanName::Attempt);
        attempt.set(Attribute::Status(200));
        let sent = attempt.traceparent().unwrap();
        assert_ne!(sent.span, own.span);
        drop(attempt);
        drop(span);
        let (first, second) = (finished.try_recv().unwrap(), finished.try_recv().unwrap());
        assert_eq!((first.name, first.parent, first.context), (SpanName::Attempt, Some(own.span), sent));
        assert_eq!(first.attributes, [Attribute::Status(200)]);
        assert_eq!((second.name, second.parent), (SpanName::Request, Some(8)));
    }

    #[test]
    fn the_header_of_an_unsampled_parent_is_unchanged() {
        let (tracer, mut finished, _) = tracer(1.0, 4);
        let span = tracer.start(Some(parent(false)), SpanName::Request);
        assert_eq!(span.traceparent(), None);
        drop(span);
        assert!(finished.try_recv().is_err());
    }

    #[test]
    fn the_configured_share_of_new_traces_is_recorded() {
        let (all, _all_finished, _) = tracer(1.0, 4);
        assert!(all.start(None, SpanName::Request).traceparent().unwrap().sampled);
        let (none, mut finished, _) = tracer(0.0, 4);
        let span = none.start(None, SpanName::Request);
        let sent = span.child(SpanName::Attempt).traceparent().unwrap();
        assert!(!sent.sampled);
        assert_eq!(Some(sent), span.traceparent());
        drop(span);
        assert!(finished.try_recv().is_err());
        let (half, mut finished, dropped) = tracer(0.5, 4096);
        for _ in 0..2000 {
            drop(half.start(None, SpanName::Request));
        }
        let recorded = std::iter::from_fn(|| finished.try_recv().ok()).count();
        assert!((700..1300).contains(&recorded), "{recorded} of 2000");
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn spans_beyond_the_queue_are_counted_as_dropped() {
        let (tracer, _finished, dropped) = tracer(1.0, 2);
        for _ in 0..5 {
            drop(tracer.start(None, SpanName::Request));
        }
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn a_span_holds_a_bounded_number_of_attributes() {
        let (tracer, mut finished, _) = tracer(1.0, 1);
        let mut span = tracer.start(None, SpanName::Request);
        for status in 0..1000 {
            span.set(Attribute::Status(status));
        }
        drop(span);
        assert_eq!(finished.try_recv().unwrap().attributes.len(), 32);
    }
}
