//! The fleet: all pools of the process, and the tasks that keep them informed.

mod access;
mod apply;
mod debug;
mod follow;
mod groups;
mod registered;

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
use crate::generation::Generation;
use crate::monitor::MonitorSettings;
use crate::record::{RecordError, Recorder};
use crate::scheduler::RequestCounts;
use crate::tasks::Tasks;

use apply::Registry;

/// How a fleet is run.
#[derive(Clone, Debug, Default)]
pub struct FleetOptions {
    /// Where the pools' random numbers start; the same seed and events give the same decisions.
    pub seed: u64,
    /// Whether each placement carries the record of what was weighed.
    pub decisions: bool,
    /// The file to write the event log to.
    pub record: Option<PathBuf>,
    /// How engines are asked for their state.
    pub monitor: MonitorSettings,
}

/// Why a fleet does not start, or a configuration is not taken.
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
        /// Why.
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
            tasks: Tasks::new(runtime),
            options,
            metrics,
        });
        debug::register(&shared);
        shared.tasks.spawn(shared.tasks.token(), access::follow(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Puts a configuration in force. Endpoints that stay keep their id and all that is known of them; those that are
    /// gone finish what they have. No request is dropped. Reads the files of [`pointsman_config::EngineAccess`], so
    /// it may block for a moment.
    ///
    /// # Errors
    /// When a pool's certificate authorities or key cannot be used; the configuration before stays in force.
    pub fn apply(&self, world: World, problems: usize) -> Result<Arc<Generation>, FleetError> {
        let mut registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.apply(&self.shared, world, problems)
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.shared.current.load_full()
    }

    /// The configuration in force, without touching its reference count: for a request's head. Not to be held across
    /// an await.
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

    /// Requests placed and not ended, over all pools, those included that are gone from the configuration.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.requests.in_flight()
    }

    /// Waits until no request is in flight, at most for `patience`; whether it came to that.
    pub async fn drain(&self, patience: Duration) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let idle = async {
            while self.in_flight() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(patience, idle).await.is_ok()
    }

    /// Ends all tasks of the fleet, waits for them, and closes the event log. Placing goes on working until the last
    /// handle is dropped, but nothing is scraped or probed any more.
    pub async fn stop(&self) {
        self.shared.tasks.stop().await;
        if let Some(recorder) = &self.shared.recorder {
            recorder.close().await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without a stop nobody waits for the tasks, but they must not go on for a fleet that is gone.
        self.tasks.cancel();
    }
}
