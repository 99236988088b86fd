//! The thread that writes the event log.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pointsman_core::Effect;

use super::line::Line;
use super::queue::LogReceiver;

/// The longest time for which a written line stays in the buffer while no other comes.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// An entry on its way to the writer's thread.
#[derive(Debug)]
pub(super) enum LogEntry {
    Line(Line),
    /// Effects, which the writer's thread serializes.
    Effects {
        scheduler: u32,
        seq: u64,
        effects: Vec<Effect>,
    },
    /// Completed when all entries before it are in the file.
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// Schedulers with the flag that is set when an entry of theirs is lost.
type Losses = Arc<Mutex<Vec<(u32, Arc<AtomicBool>)>>>;

/// A handle to the writer's thread, which ends when the last sender of its channel is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    losses: Losses,
}

impl Writer {
    pub(super) fn start(file: File, entries: LogReceiver) -> std::io::Result<Self> {
        let losses = Losses::default();
        let mut thread = Thread {
            out: BufWriter::with_capacity(256 << 10, file),
            losses: Arc::clone(&losses),
            closed: BTreeSet::new(),
        };
        std::thread::Builder::new().name("event-log".into()).spawn(move || {
            if let Err(error) = thread.run(&entries) {
                tracing::error!(%error, "the event log cannot be written and ends here");
            }
        })?;
        Ok(Self { losses })
    }

    /// Writes a gap mark for the scheduler once `lost` is set.
    pub(super) fn watch(&self, scheduler: u32, lost: &Arc<AtomicBool>) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).push((scheduler, Arc::clone(lost)));
    }
}

struct Thread {
    out: BufWriter<File>,
    losses: Losses,
    /// Schedulers whose gap mark is written. Later entries of theirs are dropped.
    closed: BTreeSet<u32>,
}

impl Thread {
    fn run(&mut self, entries: &LogReceiver) -> std::io::Result<()> {
        loop {
            match entries.recv_timeout(FLUSH_EVERY) {
                Ok(entry) => {
                    self.write(entry)?;
                    while let Some(entry) = entries.try_recv() {
                        self.write(entry)?;
                    }
                    self.mark_gaps()?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.mark_gaps()?;
                    self.out.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.mark_gaps()?;
                    return self.out.flush();
                }
            }
        }
    }

    fn write(&mut self, entry: LogEntry) -> std::io::Result<()> {
        let line = match entry {
            LogEntry::Line(line) => line,
            LogEntry::Effects { scheduler, seq, effects } => {
                let effects = effects.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
                Line::Effects { scheduler, seq, effects }
            }
            LogEntry::Flush(done) => {
                self.mark_gaps()?;
                self.out.flush()?;
                let _ = done.send(());
                return Ok(());
            }
        };
        if self.closed.contains(&line.scheduler()) { Ok(()) } else { self.line(&line) }
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    /// Writes the gap mark of each scheduler that lost an entry.
    fn mark_gaps(&mut self) -> std::io::Result<()> {
        let mut lost = Vec::new();
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).retain(|(scheduler, flag)| {
            let is_lost = flag.load(Ordering::Acquire);
            lost.extend(is_lost.then_some(*scheduler));
            !is_lost && Arc::strong_count(flag) > 1
        });
        self.closed.extend(&lost);
        lost.into_iter().try_for_each(|scheduler| self.line(&Line::Gap { scheduler, gap: true }))
    }
}
