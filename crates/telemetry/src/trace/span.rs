//! Spans: made by the doors, filled with attributes from a closed list, handed to the exporter at their end.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::context::TraceContext;

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanName {
    /// One request, from the client's head to the end of its answer. Kind: server.
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

/// What a span may say. The list is closed so that no request text can slip in; names are OpenTelemetry's where its
/// semantic conventions have one.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// The pool's `namespace/name`.
    Pool(Arc<str>),
    /// The public model name.
    Model(Arc<str>),
    /// The model that the engine is asked for.
    TargetModel(Arc<str>),
    /// The endpoint's `host:port`.
    Endpoint(Arc<str>),
    /// The HTTP status of the answer.
    Status(u16),
    /// How it ended; `complete` and `client_gone` are no errors.
    Outcome(&'static str),
    /// Why it failed or was refused. It marks the span as an error.
    Reason(&'static str),
    /// Prompt tokens.
    InputTokens(u32),
    /// Of those, tokens from the engine's prefix cache.
    CachedTokens(u32),
    /// Output tokens.
    OutputTokens(u32),
    /// From arrival to the first output token.
    FirstToken(Duration),
    /// Time to choose an endpoint, waiting included.
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

/// Makes spans. Cloning shares the exporter.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    recording: Option<Arc<Recording>>,
}

/// What spans of a tracer with an exporter share.
#[derive(Debug)]
struct Recording {
    finished: mpsc::Sender<Finished>,
    dropped: Counter,
    ids: Ids,
    /// Share of new traces to record, as a threshold for 64 random bits.
    threshold: u64,
}

impl Tracer {
    /// A tracer that records nothing and allocates nothing; a client's `traceparent` passes unchanged.
    #[must_use]
    pub const fn disabled() -> Self {
        Self { recording: None }
    }

    pub(super) fn recording(finished: mpsc::Sender<Finished>, dropped: Counter, share: f64) -> Self {
        let ids = Ids::default();
        Self { recording: Some(Arc::new(Recording { finished, dropped, ids, threshold: threshold(share) })) }
    }

    /// Starts a span. The parent's decision to record is followed; without a parent, the configured share of traces
    /// is recorded.
    pub fn start(&self, parent: Option<TraceContext>, name: SpanName) -> Span {
        let Some(recording) = &self.recording else { return Span(State::Off) };
        let (trace, sampled) = match parent {
            Some(parent) => (parent.trace, parent.sampled),
            None => {
                let low = recording.ids.next();
                // The low half decides, as in OpenTelemetry's ratio sampler.
                (u128::from(recording.ids.next()) << 64 | u128::from(low), low <= recording.threshold)
            }
        };
        if !sampled {
            // A parent that is not recorded passes on as it came; a new trace tells the engine not to record either.
            let context = TraceContext { trace, span: recording.ids.next(), sampled };
            return Span(if parent.is_some() { State::Off } else { State::Unsampled(context) });
        }
        let context = TraceContext { trace, span: recording.ids.next(), sampled };
        let finished = Finished {
            name,
            context,
            parent: parent.map(|parent| parent.span),
            start: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::with_capacity(8),
        };
        Span(State::On(Box::new(Live {
            recording: Arc::clone(recording),
            started: Instant::now(),
            finished,
        })))
    }
}

/// A span under way; dropping it ends it.
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
    /// What to send upstream as `traceparent`; `None` to leave the client's header as it is.
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceContext> {
        match &self.0 {
            State::Off | State::Ended => None,
            State::Unsampled(context) => Some(*context),
            State::On(live) => Some(live.finished.context),
        }
    }

    /// A span below this one.
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

    /// Whether the span is recorded, so that attributes that cost something to make are worth it.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        matches!(self.0, State::On(_))
    }

    /// Adds an attribute; past 32 of them nothing is added.
    pub fn set(&mut self, attribute: Attribute) {
        if let State::On(live) = &mut self.0
            && live.finished.attributes.len() < 32
        {
            live.finished.attributes.push(attribute);
        }
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

const fn threshold(share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is what is meant"
    )]
    let threshold = (share * 18_446_744_073_709_551_615.0) as u64;
    threshold
}

/// Random numbers for ids, from a seed of the operating system; not secret, only unlikely to repeat.
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
    /// Never 0, which trace context forbids.
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
    fn without_an_exporter_the_clients_header_is_left_alone() {
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
    fn a_parent_that_is_not_recorded_passes_on_as_it_came() {
        let (tracer, mut finished, _) = tracer(1.0, 4);
        let span = tracer.start(Some(parent(false)), SpanName::Request);
        assert_eq!(span.traceparent(), None);
        drop(span);
        assert!(finished.try_recv().is_err());
    }

    #[test]
    fn new_traces_are_recorded_by_share_and_say_so_upstream() {
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
    fn spans_past_the_queue_are_counted_as_dropped() {
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
