//! The tasks that keep one endpoint's state fresh: scraping its metrics, listing its models, probing its health.

mod contact;
mod probe;
mod scraper;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pointsman_config::MetricsPage;
use pointsman_core::{PaceBounds, ProbePace};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::endpoint::PoolEndpoint;
use crate::scheduler::SchedulerHandle;
use crate::tasks::Tasks;

/// Pace and limits of scrapes and probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The shortest interval between two scrapes of an endpoint, for busy ones. A page costs an engine more than a request,
    /// and in between the scheduler corrects the last reading by its own dispatches.
    pub scrape_shortest: Duration,
    /// The longest interval between two scrapes, for idle endpoints.
    pub scrape_longest: Duration,
    /// The time in which a scrape must be complete.
    pub scrape_budget: Duration,
    /// The longest metrics page, in bytes. Of a longer one the start is read.
    pub page_limit: usize,
    /// Where metrics pages are, unless the configuration of an endpoint says otherwise.
    pub metrics: MetricsPage,
    /// The pace of active probes, and their timeout.
    pub probes: ProbePace,
    /// The interval between two requests for an endpoint's list of models.
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
            metrics: MetricsPage::default(),
            probes: ProbePace::default(),
            models_every: Duration::from_secs(5),
        }
    }
}

/// The tasks of one endpoint. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Monitor {
    pool_endpoint: Arc<ArcSwap<PoolEndpoint>>,
    _stop: DropGuard,
}

/// The context that an endpoint's tasks share.
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
        let context = MonitorContext {
            pool_endpoint: Arc::clone(&pool_endpoint),
            scheduler: Arc::clone(scheduler),
            settings: settings.clone(),
            tasks: tasks.clone(),
        };
        let stop: CancellationToken = tasks.token();
        tasks.spawn(stop.clone(), probe::run(context.clone()));
        tasks.spawn(stop.clone(), scraper::run(context));
        Self { pool_endpoint, _stop: stop.drop_guard() }
    }

    /// The endpoint's settings changed, or it is asked by way of another of its pools.
    pub(crate) fn update(&self, pool_endpoint: Arc<PoolEndpoint>) {
        self.pool_endpoint.store(pool_endpoint);
    }
}
