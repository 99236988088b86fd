//! The thread that writes the event log.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pointsman_core::{Effect, Event, Time};

use super::line::{FORMAT, Line, RecordedEffect};

/// A log that is looked at while it grows is at most this old.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// What goes through the channel.
#[derive(Debug)]
pub(super) enum Entry {
    Header {
        pool: u32,
        seed: u64,
        decisions: bool,
    },
    Event {
        pool: u32,
        seq: u64,
        now: Time,
        event: Box<Event>,
    },
    Effects {
        pool: u32,
        seq: u64,
        effects: Vec<Effect>,
    },
    /// Answered when everything before it is in the file.
    Flush(tokio::sync::oneshot::Sender<()>),
}

type Losses = Arc<Mutex<Vec<(u32, Arc<AtomicBool>)>>>;

/// The writer's handle: it ends when the last sender of its channel goes.
#[derive(Debug)]
pub(super) struct Writer {
    losses: Losses,
}

impl Writer {
    pub(super) fn start(file: File, entries: Receiver<Entry>) -> std::io::Result<Self> {
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

    /// Has a gap mark written once `lost` is set.
    pub(super) fn watch(&self, pool: u32, lost: &Arc<AtomicBool>) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).push((pool, Arc::clone(lost)));
    }
}

struct Thread {
    out: BufWriter<File>,
    losses: Losses,
    /// Machines whose gap mark is written: what may still come of them is left out.
    closed: BTreeSet<u32>,
}

impl Thread {
    fn run(&mut self, entries: &Receiver<Entry>) -> std::io::Result<()> {
        loop {
            match entries.recv_timeout(FLUSH_EVERY) {
                Ok(entry) => {
                    self.write(entry)?;
                    while let Ok(entry) = entries.try_recv() {
                        self.write(entry)?;
                    }
                    self.marks()?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.marks()?;
                    self.out.flush()?;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.marks()?;
                    return self.out.flush();
                }
            }
        }
    }

    fn write(&mut self, entry: Entry) -> std::io::Result<()> {
        let line = match entry {
            Entry::Header { pool, seed, decisions } => Line::Header {
                pool,
                format: FORMAT,
                build: env!("CARGO_PKG_VERSION").into(),
                seed,
                decisions,
            },
            Entry::Event { pool, seq, now, event } => Line::Event { pool, seq, now, event },
            Entry::Effects { pool, seq, effects } => {
                let effects = effects.iter().map(|effect| serde_json::to_value(RecordedEffect::from(effect)));
                Line::Effects { pool, seq, effects: effects.collect::<Result<_, _>>()? }
            }
            Entry::Flush(done) => {
                self.marks()?;
                self.out.flush()?;
                let _ = done.send(());
                return Ok(());
            }
        };
        if self.closed.contains(&line.pool()) { Ok(()) } else { self.line(&line) }
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    /// Marks the schedulers that lost something.
    fn marks(&mut self) -> std::io::Result<()> {
        let mut lost = Vec::new();
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).retain(|(pool, flag)| {
            let is_lost = flag.load(Ordering::Acquire);
            lost.extend(is_lost.then_some(*pool));
            !is_lost && Arc::strong_count(flag) > 1
        });
        self.closed.extend(&lost);
        lost.into_iter().try_for_each(|pool| self.line(&Line::Gap { pool, gap: true }))
    }
}
