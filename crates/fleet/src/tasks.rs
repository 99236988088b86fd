//! The one owner of all tasks of a fleet.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks that end when the fleet stops, and waits for them then.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// A token that is cancelled with all others when the fleet stops, or by itself.
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

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
