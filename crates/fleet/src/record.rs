//! The event log: what went into each state scheduler and what came out, for replay.
//!
//! One JSON object per line. Lines of several state schedulers are mixed; `pool` says whose a line is. A scheduler's lines
//! are in order: its header, then for each event the event and what the core answered.
//!
//! The log leaves through a bounded channel to one thread, so that writing never holds up a request. Where the writer
//! falls behind, the scheduler's log ends with a gap mark, and replay stops there and says so.

mod arrivals;
mod line;
mod pseudonymizer;
mod read;
mod replay;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use pointsman_core::{Effect, Event, SchedulerConfig, Time};

pub use arrivals::{RecordedArrival, RecordedEnding, arrivals};
pub use line::{FORMAT, Line, RecordedEffect};
pub use read::{LogLines, ReplayError, read_log};
pub use replay::{Divergence, PoolReplay, ReplayReport, replay};

pub(crate) use pseudonymizer::Pseudonymizer;
use writer::{Entry, Writer};

/// So many events may wait for the writer.
const QUEUE: usize = 65_536;

/// Why an event log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made.
    #[error("{path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No thread for the writer.
    #[error("no thread to write it: {0}")]
    Thread(std::io::Error),
}

/// An event log being written.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: SyncSender<Entry>,
    writer: Writer,
    pseudonymizer: Arc<Pseudonymizer>,
}

impl Recorder {
    /// Makes the file, in place of one that is there.
    pub(crate) fn start(path: &Path) -> Result<Self, RecordError> {
        let file = std::fs::File::create(path)
            .map_err(|source| RecordError::Create { path: path.to_owned(), source })?;
        let (sender, receiver) = std::sync::mpsc::sync_channel(QUEUE);
        let writer = Writer::start(file, receiver).map_err(RecordError::Thread)?;
        Ok(Self { sender, writer, pseudonymizer: Arc::new(Pseudonymizer::new()) })
    }

    /// The log of a new state scheduler.
    pub(crate) fn pool(&self, pool: u32, config: &SchedulerConfig) -> PoolLog {
        let (sender, pseudonymizer) = (self.sender.clone(), Arc::clone(&self.pseudonymizer));
        let mut log = PoolLog { pool, seq: 0, lost: Arc::default(), sender, pseudonymizer };
        self.writer.watch(pool, &log.lost);
        log.send(Entry::Header { pool, seed: config.seed, decisions: config.decisions });
        log
    }

    /// Waits until everything sent so far is in the file.
    pub(crate) async fn close(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let sender = self.sender.clone();
        // The channel may be full, and waiting for room must not hold up the runtime.
        let sent = tokio::task::spawn_blocking(move || sender.send(Entry::Flush(done)).is_ok());
        if sent.await.unwrap_or(false) {
            drop(wait.await);
        }
    }
}

/// The log of one state scheduler; written to under its lock, which is what makes the order right.
#[derive(Debug)]
pub(crate) struct PoolLog {
    pool: u32,
    seq: u64,
    lost: Arc<AtomicBool>,
    sender: SyncSender<Entry>,
    pseudonymizer: Arc<Pseudonymizer>,
}

impl PoolLog {
    /// What arriving requests go through before the scheduler sees them.
    pub(crate) const fn pseudonymizer(&self) -> &Arc<Pseudonymizer> {
        &self.pseudonymizer
    }

    pub(crate) fn event(&mut self, now: Time, event: &Event) {
        if !self.lost.load(Ordering::Relaxed) {
            self.seq += 1;
            self.send(Entry::Event { pool: self.pool, seq: self.seq, now, event: Box::new(event.clone()) });
        }
    }

    pub(crate) fn effects(&mut self, effects: &[Effect]) {
        if !effects.is_empty() && !self.lost.load(Ordering::Relaxed) {
            self.send(Entry::Effects { pool: self.pool, seq: self.seq, effects: effects.to_vec() });
        }
    }

    /// After a loss nothing more is sent: a replay could not use it.
    fn send(&mut self, entry: Entry) {
        match self.sender.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.store(true, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests;
