//! The event log: the events and effects of each scheduler, for replay.
//!
//! One JSON object per line. Lines of several schedulers are interleaved; `scheduler` is the number of the one that a line
//! belongs to. The lines of one scheduler are in order: its header, then each event followed by its effects.
//!
//! Entries go through a bounded queue to one thread, so that writing never delays a request. If the queue is full,
//! the scheduler's log ends with a gap mark, and replay stops there and reports it.

mod arrivals;
mod line;
mod pseudonymizer;
mod queue;
mod read;
mod replay;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pointsman_core::{Effect, Event, SchedulerConfig, Time};

pub use arrivals::{RecordedArrival, RecordedEnding, arrivals};
pub use line::{FORMAT, Line};
pub use read::{LogLines, ReplayError, read_log};
pub use replay::{Divergence, ReplayReport, SchedulerReplay, replay};

pub(crate) use pseudonymizer::Pseudonymizer;
use queue::{LogSender, queue};
use writer::{LogEntry, Writer};

/// The number of entries that may wait for the writer.
const QUEUE: usize = 65_536;

/// Why an event log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be created.
    #[error("{path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("cannot start the writer's thread: {0}")]
    Thread(std::io::Error),
}

/// An event log being written.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: LogSender,
    writer: Writer,
    pseudonymizer: Arc<Pseudonymizer>,
}

impl Recorder {
    /// Creates or truncates the file.
    pub(crate) fn start(path: &Path) -> Result<Self, RecordError> {
        let file = std::fs::File::create(path)
            .map_err(|source| RecordError::Create { path: path.to_owned(), source })?;
        let (sender, receiver) = queue(QUEUE);
        let writer = Writer::start(file, receiver).map_err(RecordError::Thread)?;
        Ok(Self { sender, writer, pseudonymizer: Arc::new(Pseudonymizer::new()) })
    }

    /// The log of a new scheduler.
    pub(crate) fn log_of(&self, scheduler: u32, config: &SchedulerConfig) -> SchedulerLog {
        let (sender, pseudonymizer) = (self.sender.clone(), Arc::clone(&self.pseudonymizer));
        let mut log = SchedulerLog { scheduler, seq: 0, lost: Arc::default(), sender, pseudonymizer };
        self.writer.watch(scheduler, &log.lost);
        log.header(config);
        log
    }

    /// Waits until everything sent so far is in the file.
    pub(crate) async fn close(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let sender = self.sender.clone();
        // Sending blocks while the queue is full.
        let sent = tokio::task::spawn_blocking(move || sender.send(LogEntry::Flush(done)));
        if sent.await.unwrap_or(false) {
            drop(wait.await);
        }
    }
}

/// The log of one scheduler. Entries are sent under the scheduler's lock, which keeps them in order.
#[derive(Debug)]
pub(crate) struct SchedulerLog {
    scheduler: u32,
    seq: u64,
    lost: Arc<AtomicBool>,
    sender: LogSender,
    pseudonymizer: Arc<Pseudonymizer>,
}

impl SchedulerLog {
    /// Replaces the block hashes of arriving requests.
    pub(crate) const fn pseudonymizer(&self) -> &Arc<Pseudonymizer> {
        &self.pseudonymizer
    }

    fn header(&mut self, config: &SchedulerConfig) {
        let SchedulerConfig { seed, decisions } = *config;
        let (scheduler, build) = (self.scheduler, env!("CARGO_PKG_VERSION").into());
        self.send(LogEntry::Line(Line::Header { scheduler, format: FORMAT, build, seed, decisions }));
    }

    pub(crate) fn event(&mut self, now: Time, event: &Event) {
        if !self.lost.load(Ordering::Relaxed) {
            self.seq += 1;
            let (scheduler, seq, event) = (self.scheduler, self.seq, Box::new(event.clone()));
            self.send(LogEntry::Line(Line::Event { scheduler, seq, now, event }));
        }
    }

    pub(crate) fn effects(&mut self, effects: &[Effect]) {
        if !effects.is_empty() && !self.lost.load(Ordering::Relaxed) {
            let effects = effects.to_vec();
            self.send(LogEntry::Effects { scheduler: self.scheduler, seq: self.seq, effects });
        }
    }

    /// Sends an entry, unless one was lost before: a replay cannot continue after a gap.
    fn send(&mut self, entry: LogEntry) {
        if !self.sender.try_send(entry) {
            self.lost.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
