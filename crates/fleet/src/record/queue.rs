//! The queue of entries before the writer's thread, bounded in entries and in bytes: an entry holds the block hashes of a
//! whole prompt, or the costs of all candidates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender};
use std::time::Duration;

use pointsman_core::{CostTerm, Effect, Event};

use super::line::Line;
use super::writer::LogEntry;

/// The memory that waiting entries may hold.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// The memory of an entry without what it points to.
const ENTRY_BYTES: usize = 512;

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct LogSender {
    sender: SyncSender<(LogEntry, Share)>,
    bytes: Arc<AtomicUsize>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct LogReceiver(Receiver<(LogEntry, Share)>);

/// An entry's part of the bytes, until it leaves the queue.
#[derive(Debug)]
struct Share {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A queue of at most `entries` entries and [`MAX_BYTES`].
pub(super) fn queue(entries: usize) -> (LogSender, LogReceiver) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(entries);
    (LogSender { sender, bytes: Arc::default() }, LogReceiver(receiver))
}

impl LogSender {
    /// Sends an entry if there is room for it. Returns whether there was.
    pub(super) fn try_send(&self, entry: LogEntry) -> bool {
        let share = self.share(bytes_of(&entry));
        let fits = self.bytes.load(Ordering::Relaxed) <= MAX_BYTES;
        fits && self.sender.try_send((entry, share)).is_ok()
    }

    /// Waits for room in the queue. Returns whether the writer is there.
    pub(super) fn send(&self, entry: LogEntry) -> bool {
        let sent: Result<(), SendError<_>> = self.sender.send((entry, self.share(0)));
        sent.is_ok()
    }

    fn share(&self, bytes: usize) -> Share {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { bytes, all: Arc::clone(&self.bytes) }
    }
}

impl LogReceiver {
    /// The next entry.
    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<LogEntry, RecvTimeoutError> {
        self.0.recv_timeout(timeout).map(|(entry, _)| entry)
    }

    /// The next entry, if one waits.
    pub(super) fn try_recv(&self) -> Option<LogEntry> {
        self.0.try_recv().ok().map(|(entry, _)| entry)
    }
}

/// An estimate of the memory that an entry holds.
fn bytes_of(entry: &LogEntry) -> usize {
    let held = match entry {
        LogEntry::Line(Line::Event { event, .. }) => event_bytes(event),
        LogEntry::Line(Line::Header { .. } | Line::Effects { .. } | Line::Gap { .. })
        | LogEntry::Flush(_) => 0,
        LogEntry::Effects { effects, .. } => effects.iter().map(effect_bytes).sum(),
    };
    ENTRY_BYTES + held
}

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Arrived { facts, .. } => {
            let cached = facts.exact_cached.as_ref().map_or(0, |cached| size_of_val::<[_]>(cached));
            let subset = facts.subset.as_ref().map_or(0, |subset| size_of_val::<[_]>(subset));
            size_of_val::<[_]>(&facts.blocks) + cached + subset
        }
        Event::Load { report, .. } => {
            report.adapters.as_ref().map_or(0, |adapters| size_of_val(adapters.active.as_slice()))
        }
        Event::AdaptersDeclared { adapters } => size_of_val(adapters.as_slice()),
        Event::EndpointUp { .. }
        | Event::EndpointDraining { .. }
        | Event::EndpointDown { .. }
        | Event::Probed { .. }
        | Event::Unreachable { .. }
        | Event::ErrorAnswered { .. }
        | Event::PoolPolicyChanged { .. }
        | Event::FirstToken { .. }
        | Event::Progress { .. }
        | Event::AttemptFailed { .. }
        | Event::ServedElsewhere { .. }
        | Event::Finished { .. }
        | Event::Aborted { .. }
        | Event::Timer => 0,
    }
}

fn effect_bytes(effect: &Effect) -> usize {
    let decision = match effect {
        Effect::Dispatch { decision, .. } => decision.as_ref(),
        Effect::Reject { .. }
        | Effect::WakeAt(_)
        | Effect::HealthChanged { .. }
        | Effect::EndpointGone { .. } => None,
    };
    let candidates = decision.map_or(&[][..], |decision| &decision.candidates);
    let terms: usize = candidates.iter().map(|candidate| candidate.terms.len()).sum();
    size_of::<Effect>() + size_of_val(candidates) + size_of::<CostTerm>() * terms
}

#[cfg(test)]
mod tests {
    use pointsman_core::{BlockHash, PoolId, RequestFacts, RequestId, Time};

    use super::*;

    #[test]
    fn entries_are_bounded_in_bytes() {
        let (sender, receiver) = queue(65_536);
        let facts =
            RequestFacts { blocks: vec![BlockHash(7); 100_000].into(), ..RequestFacts::unknown(PoolId(0)) };
        let entry = |number| {
            let event = Event::Arrived { request: RequestId(number), facts: facts.clone() };
            LogEntry::Line(Line::Event { scheduler: 0, seq: number, now: Time::ZERO, event: Box::new(event) })
        };
        let sent = (0..1_000).take_while(|number| sender.try_send(entry(*number))).count();
        assert_eq!(sent, MAX_BYTES / (800_000 + ENTRY_BYTES));
        assert!(receiver.try_recv().is_some());
        assert!(sender.try_send(entry(0)), "there is room again");
        assert!(!sender.try_send(entry(1)));
    }
}
