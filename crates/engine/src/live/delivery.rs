//! How tokens reach a request: as a count. What the tokens are is known beforehand, so nothing has to be queued and
//! a reader that falls behind costs no memory.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// One sequence's progress.
#[derive(Debug, Default)]
struct Count {
    generated: AtomicU32,
    cached: AtomicU32,
    finished: AtomicBool,
}

/// The progress of all sequences of one request, and the task that waits for it.
#[derive(Debug)]
pub(crate) struct Delivery {
    counts: Box<[Count]>,
    waker: AtomicWaker,
}

/// A look at one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Tokens so far.
    pub(crate) generated: u32,
    /// Prompt tokens found in the prefix cache; known from the first token on.
    pub(crate) cached: u32,
    /// Whether these are all.
    pub(crate) finished: bool,
}

impl Delivery {
    pub(crate) fn new(parts: usize) -> Self {
        Self { counts: (0..parts).map(|_| Count::default()).collect(), waker: AtomicWaker::new() }
    }

    /// Books progress of one sequence; the reader is not woken yet.
    pub(super) fn put(&self, index: usize, part: Part) {
        if let Some(count) = self.counts.get(index) {
            count.cached.store(part.cached, Ordering::Relaxed);
            count.generated.store(part.generated, Ordering::Release);
            if part.finished {
                count.finished.store(true, Ordering::Release);
            }
        }
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The sequence's progress. Counts of a finished one are final.
    pub(crate) fn part(&self, index: usize) -> Part {
        self.counts.get(index).map_or_else(Part::default, |count| {
            let finished = count.finished.load(Ordering::Acquire);
            let generated = count.generated.load(Ordering::Acquire);
            Part { generated, cached: count.cached.load(Ordering::Relaxed), finished }
        })
    }

    /// Has the task of `context` woken at the next progress. Look at the parts after this, not before.
    pub(crate) fn watch(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Ready when every sequence has all its tokens.
    pub(crate) fn poll_finished(&self, context: &Context<'_>) -> Poll<()> {
        self.watch(context);
        if self.counts.iter().all(|count| count.finished.load(Ordering::Acquire)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
