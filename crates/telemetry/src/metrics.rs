//! Prometheus metrics.
//!
//! Where the Gateway API Inference Extension has a metric for a fact, its name and buckets are used, so that its
//! dashboards and alerts work unchanged; all others are named `pointsman_*`. `docs/metrics.md` lists them all.
//!
//! Every label set is bounded. External names become labels in three places: pools, declared (model, target model)
//! pairs and endpoints. Each has a limit, beyond which series share the name [`OTHER`] or [`UNDECLARED`]. All other
//! label values come from closed enums.

mod buckets;
mod exposition;
mod families;
mod family;
mod labels;
mod pool;
mod process;
mod request;
mod sample;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use exposition::Exposition;
pub use labels::{OTHER, UNDECLARED};
pub use pool::{EndpointSeries, PoolSeries};
pub use request::{Outcome, RequestRecord, RequestSeries, Running};
pub use sample::{EndpointSample, GatewaySample, PoolSample};

pub use families::BuildInfo;
use families::Families;
use family::{read, write};

/// Limit on the pools with series of their own.
const MAX_POOLS: usize = 256;

/// All metrics of the process. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    families: Arc<Families>,
    registry: RwLock<Registry>,
    pools: RwLock<BTreeMap<Arc<str>, Arc<PoolSeries>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("pools", &read(&self.inner.pools).len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new(build: &BuildInfo) -> Self {
        let families = Arc::new(Families::default());
        let mut registry = families.register(build);
        registry.register_collector(Box::new(process::ProcessCollector::start()));
        let registry = RwLock::new(registry);
        Self { inner: Arc::new(Inner { families, registry, pools: RwLock::default() }) }
    }

    /// The series of a pool, by its `namespace/name`. Beyond 256 pools, all further ones share the series of the
    /// pool [`OTHER`].
    #[must_use]
    pub fn pool(&self, name: &str) -> Arc<PoolSeries> {
        if let Some(pool) = read(&self.inner.pools).get(name) {
            return Arc::clone(pool);
        }
        let mut pools = write(&self.inner.pools);
        let name: Arc<str> = if pools.len() < MAX_POOLS { name.into() } else { OTHER.into() };
        let make = || Arc::new(PoolSeries::new(Arc::clone(&name), Arc::clone(&self.inner.families)));
        Arc::clone(pools.entry(Arc::clone(&name)).or_insert_with(make))
    }

    /// Drops all series of a pool.
    pub fn remove_pool(&self, name: &str) {
        if let Some(pool) = write(&self.inner.pools).remove(name) {
            pool.leave();
            self.inner.families.remove_pool(name);
        }
    }

    /// The series of one (pool, model, target model); see [`PoolSeries::request`].
    #[must_use]
    pub fn request(&self, pool: &str, model: &str, target: &str) -> Arc<RequestSeries> {
        self.pool(pool).request(model, target)
    }

    /// Counts a request that was refused before it reached a pool. `reason` is the value of the response header
    /// `x-pointsman-reason`.
    pub fn refused(&self, reason: &'static str) {
        self.inner.families.outcome("", "rejected", reason).inc();
    }

    /// Gauge of open client connections, which the caller increments and decrements.
    #[must_use]
    pub fn client_connections(&self) -> Gauge {
        self.inner.families.client_connections.clone()
    }

    /// Sets the generation of the configuration in force, and the number of objects with errors in the newest one.
    pub fn configuration(&self, generation: u64, errors: usize) {
        let families = &self.inner.families;
        families.configuration_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        families.configuration_errors.set(i64::try_from(errors).unwrap_or(i64::MAX));
    }

    /// Counts a reload of certificate files.
    pub fn certificate_reloaded(&self, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.inner.families.certificate_reloads.get(&labels::Reload { result }).inc();
    }

    /// Counter of trace spans that were not exported, because the queue was full or the collector did not take them.
    #[must_use]
    pub fn dropped_spans(&self) -> Counter {
        self.inner.families.dropped_spans.clone()
    }

    /// Calls `collect` at each scrape for the current state of every pool.
    pub fn register_collector(&self, collect: Box<dyn Fn() -> Vec<PoolSample> + Send + Sync>) {
        write(&self.inner.registry).register_collector(Box::new(sample::PoolCollector(collect)));
    }

    /// Calls `collect` at each scrape for the current state of the gateway.
    pub fn register_gateway(&self, collect: Box<dyn Fn() -> GatewaySample + Send + Sync>) {
        write(&self.inner.registry).register_collector(Box::new(sample::GatewayCollector(collect)));
    }

    /// The metrics page in a format.
    #[must_use]
    pub fn render(&self, exposition: Exposition) -> String {
        exposition.render(&read(&self.inner.registry))
    }
}
