//! Worker threads, each with a runtime of its own that serves whole connections.
//!
//! Envoy opens a connection per worker thread and sends all messages of a call through one connection, so that work
//! stealing between threads balances nothing. With tokio's multi-threaded runtime it took a third of the picker's CPU.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The worker threads.
#[derive(Debug)]
pub(crate) struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads, at least one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut workers = Self {
            handles: Vec::new(),
            threads: Vec::new(),
            next: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let stop = workers.stop.clone();
            let thread = std::thread::Builder::new().name(format!("extproc-{number}"));
            workers.threads.push(thread.spawn(move || runtime.block_on(stop.cancelled()))?);
        }
        Ok(workers)
    }

    /// The next thread, round robin.
    pub(crate) fn next(&self) -> Option<&Handle> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles.get(number.checked_rem(self.handles.len())?)
    }
}

impl Drop for Workers {
    /// Ends the threads, and with them the tasks that still run there.
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A task's panic does not reach its thread, so the join cannot fail.
            let _ = thread.join();
        }
    }
}
