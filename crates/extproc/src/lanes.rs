//! Threads that each serve whole connections. A gateway opens a connection per worker thread, and a call's messages all
//! go through one connection, so nothing is gained by moving a call between threads; the moves would cost a third of the
//! picker's CPU.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads.
#[derive(Debug)]
pub(crate) struct Lanes {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    stop: CancellationToken,
}

impl Lanes {
    /// Starts so many threads, at least one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut lanes = Self {
            handles: Vec::new(),
            threads: Vec::new(),
            next: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            lanes.handles.push(runtime.handle().clone());
            let stop = lanes.stop.clone();
            let thread = std::thread::Builder::new().name(format!("extproc-{number}"));
            lanes.threads.push(thread.spawn(move || runtime.block_on(stop.cancelled()))?);
        }
        Ok(lanes)
    }

    /// The next thread in turn.
    pub(crate) fn next(&self) -> Option<&Handle> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles.get(number.checked_rem(self.handles.len())?)
    }
}

impl Drop for Lanes {
    /// What still runs on the threads is dropped with them.
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // A panic of a task does not reach its thread, so there is nothing to hand on.
            let _ = thread.join();
        }
    }
}
