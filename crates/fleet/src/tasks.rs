//! The owner of all tasks of a fleet.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The number of engines whose pages or lists of models are read at one time.
const MAX_READS: usize = 64;

/// Spawns tasks that end when the fleet stops, and waits for them then.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    reads: Arc<Semaphore>,
    slow_reads: Arc<Semaphore>,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
            slow_reads: Arc::new(Semaphore::new(MAX_READS)),
        }
    }

    /// A token that is cancelled when the fleet stops, if not earlier.
    pub(crate) fn token(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Runs `task` until it ends or `until` is cancelled.
    pub(crate) fn spawn(&self, until: CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            let _ = until.run_until_cancelled(task).await;
        };
        drop(self.tracker.spawn_on(task, &self.runtime));
    }

    /// A permit to read a response body of an engine, which bounds how many are read at one time. It is taken once the head
    /// has arrived, so that engines that do not answer hold none, and engines that were too slow the last time have permits of
    /// their own, so that the others do not wait for them.
    pub(crate) async fn read_permit(&self, was_slow: bool) -> Option<SemaphorePermit<'_>> {
        let permits = if was_slow { &self.slow_reads } else { &self.reads };
        permits.acquire().await.ok()
    }

    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn stop(&self) {
        self.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Runs the connections of HTTP clients.
impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, connection: F) {
        self.spawn(self.token(), connection);
    }
}
