//! The owner of all tasks of a fleet.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The number of engines that are scraped or asked for their models at one time.
const MAX_SCRAPES: usize = 64;

/// Spawns tasks that end when the fleet stops, and waits for them then.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    scrapes: Arc<Semaphore>,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            scrapes: Arc::new(Semaphore::new(MAX_SCRAPES)),
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

    /// A permit to scrape an engine or ask for its models, which bounds how many of these run at one time. Probes need
    /// none, because they must not wait.
    pub(crate) async fn scrape_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.scrapes.acquire().await.ok()
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
