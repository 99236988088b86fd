//! Watches the responses whose client does not read. hyper asks for a body's next frame only while the client takes bytes,
//! so nothing that a body does when it is asked, such as heeding its timeouts, can be relied upon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use slab::Slab;

use crate::relay::{Aborted, Relay, length};

/// Interval of the watch: the unit of its clock.
const INTERVAL: Duration = Duration::from_secs(1);
/// Intervals without a read after which a response goes on without its client.
const UNREAD: u64 = 2;

/// The responses that are being passed on.
#[derive(Debug, Default)]
pub(crate) struct ReaderWatch {
    /// Intervals since the start.
    now: AtomicU64,
    responses: Mutex<Slab<Weak<Mutex<Relay>>>>,
}

/// A response under watch.
#[derive(Debug)]
pub(crate) struct WatchedRelay {
    relay: Arc<Mutex<Relay>>,
    /// Its place in the watch.
    key: usize,
    watch: Arc<ReaderWatch>,
    /// Whether the client has read everything.
    is_end: bool,
    /// The length still to be read, if the engine stated one.
    remaining: Option<u64>,
}

impl ReaderWatch {
    /// Watches a response until it is dropped.
    pub(crate) fn watch(self: &Arc<Self>, mut relay: Relay) -> WatchedRelay {
        relay.read_at = self.now.load(Ordering::Relaxed);
        let (is_end, remaining) = (relay.is_end(), relay.remaining());
        let relay = Arc::new(Mutex::new(relay));
        let key = lock(&self.responses).insert(Arc::downgrade(&relay));
        WatchedRelay { relay, key, watch: Arc::clone(self), is_end, remaining }
    }

    /// Watches for as long as it is polled. A client that takes nothing for `patience` is given up.
    pub(crate) async fn run(&self, patience: impl Fn() -> Duration) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            self.check(patience().as_secs().max(UNREAD));
        }
    }

    fn check(&self, patience: u64) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let responses: Vec<_> =
            lock(&self.responses).iter().filter_map(|(_, relay)| relay.upgrade()).collect();
        for response in responses {
            // Whoever holds the lock is the client's connection, which reads.
            let mut relay = match response.try_lock() {
                Ok(relay) => relay,
                Err(TryLockError::Poisoned(error)) => error.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let unread = now.saturating_sub(relay.read_at);
            if unread >= UNREAD {
                relay.go_on_unread();
            }
            if unread >= patience && relay.has_unread() {
                relay.give_up_client();
            }
        }
    }
}

impl WatchedRelay {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let mut relay = lock(&self.relay);
        relay.read_at = self.watch.now.load(Ordering::Relaxed);
        let polled = relay.poll_frame(cx);
        if let Poll::Ready(read) = &polled {
            self.is_end = relay.is_end();
            if let (Some(remaining), Some(Ok(frame))) = (&mut self.remaining, read) {
                *remaining = remaining.saturating_sub(length(frame) as u64);
            }
        }
        polled
    }

    /// Whether the client has read everything.
    pub(crate) const fn is_end(&self) -> bool {
        self.is_end
    }

    /// The length still to be read, if the engine stated one.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for WatchedRelay {
    fn drop(&mut self) {
        lock(&self.watch.responses).try_remove(self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
