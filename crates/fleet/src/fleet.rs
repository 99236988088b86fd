//! The fleet: all pools of the process, and the tasks that scrape and probe their endpoints.

mod access;
mod apply;
mod debug;
mod follow;
mod groups;
mod registered;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use pointsman_config::World;
use pointsman_core::Time;
use pointsman_telemetry::Metrics;
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::connect::AccessError;
use crate::decisions::DecisionLog;
use crate::generation::Generation;
use crate::monitor::MonitorSettings;
use crate::record::{RecordError, Recorder};
use crate::scheduler::RequestCounts;
use crate::tasks::Tasks;

use apply::Registry;

/// Options of a fleet.
#[derive(Clone, Debug, Default)]
pub struct FleetOptions {
    /// The seed of the schedulers' random numbers. The same seed and events give the same decisions.
    pub seed: u64,
    /// The number of requests whose latest placement decisions are kept for [`Fleet::debug_decisions`]. With 0 none are
    /// kept, and decisions are not recorded at all. A placement among 100 endpoints takes about 20 kB.
    pub decisions: usize,
    /// The file to write the event log to.
    pub record: Option<PathBuf>,
    /// How engines are scraped and probed.
    pub monitor: MonitorSettings,
}

/// Why a fleet cannot start, or a configuration cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The event log cannot be written.
    #[error("event log: {0}")]
    Record(#[from] RecordError),
    /// A pool's certificate authorities or key cannot be used.
    #[error("pool {pool}: {source}")]
    Access {
        /// The pool.
        pool: String,
        /// The cause.
        source: AccessError,
    },
    /// [`Fleet::start`] is called outside of a tokio runtime.
    #[error("no tokio runtime")]
    NoRuntime,
}

/// A handle to the fleet; clones share it. The tasks of the fleet end with [`Fleet::stop`].
#[derive(Clone, Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: FleetOptions,
    clock: Clock,
    metrics: Metrics,
    current: ArcSwap<Generation>,
    registry: Mutex<Registry>,
    requests: Arc<RequestCounts>,
    recorder: Option<Recorder>,
    decisions: Option<Arc<DecisionLog>>,
    tasks: Tasks,
}

impl Fleet {
    /// Starts a fleet on the current tokio runtime, as [`Fleet::start_on`] does.
    ///
    /// # Errors
    /// When there is no current runtime, or the event log cannot be created.
    pub fn start(options: FleetOptions, metrics: Metrics) -> Result<Self, FleetError> {
        let runtime = Handle::try_current().map_err(|_| FleetError::NoRuntime)?;
        Self::start_on(runtime, options, metrics)
    }

    /// Starts a fleet without pools; [`Fleet::apply`] adds them.
    ///
    /// Scrapes, probes and timers run on `runtime`, which needs tokio's I/O and time drivers. Everything else, placement
    /// included, works on threads without a runtime: a synchronous front door starts a runtime of one thread for its
    /// fleet, places with [`Ticket::try_placed`](crate::Ticket::try_placed), and stops with
    /// `runtime.block_on(fleet.stop())`.
    ///
    /// # Errors
    /// When the event log cannot be created.
    pub fn start_on(runtime: Handle, options: FleetOptions, metrics: Metrics) -> Result<Self, FleetError> {
        let recorder = options.record.as_deref().map(Recorder::start).transpose()?;
        let empty = Generation { number: 0, world: World::default(), pools: Vec::new(), problems: 0 };
        let shared = Arc::new(Shared {
            registry: Mutex::new(Registry::default()),
            clock: Clock::start(),
            current: ArcSwap::from_pointee(empty),
            requests: Arc::default(),
            recorder,
            decisions: NonZeroUsize::new(options.decisions)
                .map(|capacity| Arc::new(DecisionLog::new(capacity))),
            tasks: Tasks::new(runtime),
            options,
            metrics,
        });
        debug::register(&shared);
        shared.tasks.spawn(shared.tasks.token(), access::follow(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Puts a configuration in force. Endpoints that stay keep their ID and their state; those that are removed drain. No
    /// request is dropped. Reads the files of [`pointsman_config::EngineAccess`], so it may block for a moment.
    ///
    /// # Errors
    /// When a pool's certificate authorities or key cannot be used. The previous configuration stays in force.
    pub fn apply(&self, world: World, problems: usize) -> Result<Arc<Generation>, FleetError> {
        let mut registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.apply(&self.shared, world, problems)
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.shared.current.load_full()
    }

    /// The configuration in force, without a change of its reference count. Must not be held across an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.shared.current.load()
    }

    /// The time on the fleet's clock, for [`Activity`](crate::Activity).
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// The fleet's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// The metrics the fleet reports to.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The number of requests in flight, over all pools, including pools that were removed from the configuration.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.requests.in_flight()
    }

    /// Waits until no request is in flight, at most for `timeout`. Returns whether none is.
    pub async fn drain(&self, timeout: Duration) -> bool {
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        let idle = async {
            while self.in_flight() > 0 {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(timeout, idle).await.is_ok()
    }

    /// Ends all tasks of the fleet, waits for them, and closes the event log. Placement still works until the last handle
    /// is dropped, but nothing is scraped or probed.
    pub async fn stop(&self) {
        self.shared.tasks.stop().await;
        if let Some(recorder) = &self.shared.recorder {
            recorder.close().await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without `stop` nobody waits for the tasks, but they must not outlive the fleet.
        self.tasks.cancel();
    }
}
