//! Token counts of a request's sequences, from the driver task to the request's task.
//!
//! Only counts are passed: the outputs are known beforehand, so nothing is queued and a slow reader costs no memory.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Shared counts of one sequence.
#[derive(Debug, Default)]
struct SequenceCounts {
    generated: AtomicU32,
    cached: AtomicU32,
    finished: AtomicBool,
}

/// The progress of all sequences of one request, and the task that waits for it.
#[derive(Debug)]
pub(crate) struct RequestProgress {
    sequences: Box<[SequenceCounts]>,
    waker: AtomicWaker,
}

/// A snapshot of one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceProgress {
    /// Output tokens so far.
    pub(crate) generated: u32,
    /// Prompt tokens found in the prefix cache; known from the first token on.
    pub(crate) cached: u32,
    /// Whether the sequence is finished; its counts are then final.
    pub(crate) finished: bool,
}

impl RequestProgress {
    pub(crate) fn new(sequences: usize) -> Self {
        Self {
            sequences: (0..sequences).map(|_| SequenceCounts::default()).collect(),
            waker: AtomicWaker::new(),
        }
    }

    /// Stores the progress of one sequence. [`Self::wake`] notifies the reader.
    pub(super) fn store(&self, index: usize, progress: SequenceProgress) {
        if let Some(counts) = self.sequences.get(index) {
            counts.cached.store(progress.cached, Ordering::Relaxed);
            counts.generated.store(progress.generated, Ordering::Release);
            if progress.finished {
                counts.finished.store(true, Ordering::Release);
            }
        }
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The progress of one sequence.
    pub(crate) fn sequence(&self, index: usize) -> SequenceProgress {
        self.sequences.get(index).map_or_else(SequenceProgress::default, |counts| {
            // In this order: a count read after `finished` is final.
            let finished = counts.finished.load(Ordering::Acquire);
            let generated = counts.generated.load(Ordering::Acquire);
            SequenceProgress { generated, cached: counts.cached.load(Ordering::Relaxed), finished }
        })
    }

    /// Registers the task to be woken at the next progress. Counts must be read after this call, not before.
    pub(crate) fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Ready when every sequence is finished.
    pub(crate) fn poll_finished(&self, context: &Context<'_>) -> Poll<()> {
        self.register(context);
        if self.sequences.iter().all(|counts| counts.finished.load(Ordering::Acquire)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
