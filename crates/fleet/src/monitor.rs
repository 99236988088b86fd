//! The tasks that keep one endpoint's state fresh: scraping, asking for models, probing.

mod probe;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pointsman_core::PaceBounds;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::endpoint::PoolEndpoint;
use crate::scheduler::SchedulerHandle;
use crate::tasks::Tasks;

/// How engines are asked for their state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The shortest interval between two scrapes of an endpoint: when it is busy. A page costs more than a request, and in
    /// between the core corrects the last reading by its own dispatches.
    pub scrape_shortest: Duration,
    /// The longest: when it is idle.
    pub scrape_longest: Duration,
    /// The time in which a scrape must be done.
    pub scrape_budget: Duration,
    /// The longest metrics page, in bytes.
    pub page_limit: usize,
    /// The pause between two probes of an endpoint that is out.
    pub probe_every: Duration,
    /// The time in which a probe must be answered.
    pub probe_budget: Duration,
    /// The pause between two questions for an endpoint's models.
    pub models_every: Duration,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        let PaceBounds { shortest, longest } = PaceBounds::default();
        Self {
            scrape_shortest: shortest,
            scrape_longest: longest,
            scrape_budget: Duration::from_secs(2),
            page_limit: 2 << 20,
            probe_every: Duration::from_secs(1),
            probe_budget: Duration::from_secs(2),
            models_every: Duration::from_secs(5),
        }
    }
}

/// The tasks of one endpoint; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Monitor {
    pool_endpoint: Arc<ArcSwap<PoolEndpoint>>,
    _stop: DropGuard,
}

/// What each of the tasks has.
#[derive(Clone, Debug)]
struct MonitorContext {
    pool_endpoint: Arc<ArcSwap<PoolEndpoint>>,
    scheduler: Arc<SchedulerHandle>,
    settings: MonitorSettings,
    tasks: Tasks,
}

impl Monitor {
    pub(crate) fn start(
        tasks: &Tasks,
        settings: &MonitorSettings,
        scheduler: &Arc<SchedulerHandle>,
        pool_endpoint: Arc<PoolEndpoint>,
    ) -> Self {
        let pool_endpoint = Arc::new(ArcSwap::new(pool_endpoint));
        let post = MonitorContext {
            pool_endpoint: Arc::clone(&pool_endpoint),
            scheduler: Arc::clone(scheduler),
            settings: settings.clone(),
            tasks: tasks.clone(),
        };
        let stop: CancellationToken = tasks.token();
        tasks.spawn(stop.clone(), probe::run(post.clone()));
        tasks.spawn(stop.clone(), watch::run(post));
        Self { pool_endpoint, _stop: stop.drop_guard() }
    }

    /// The endpoint's settings changed, or another of its pools comes first.
    pub(crate) fn turn_to(&self, pool_endpoint: Arc<PoolEndpoint>) {
        self.pool_endpoint.store(pool_endpoint);
    }
}
