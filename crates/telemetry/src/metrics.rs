//! The metrics that Pointsman publishes.
//!
//! Names come from two places. Where the Gateway API inference extension has a metric for a fact, its name and buckets
//! are used, so that its dashboards and alerts work unchanged; everything else is `pointsman_*`.
//!
//! Every label set is bounded. Names from outside enter at three places only: pools, declared (model, target) pairs
//! and endpoints; each place has a cap, behind which everything is counted under [`OTHER`]. All other labels come
//! from closed enums.

mod buckets;
mod exposition;
mod family;
mod labels;
mod pool;
mod process;
mod request;
mod sample;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use exposition::Exposition;
pub use pool::{EndpointSeries, PoolSeries};
pub use request::{Outcome, RequestRecord, RequestSeries, Running};
pub use sample::{EndpointSample, GatewaySample, PoolSample};

use family::{read, write};
use tables::Tables;

/// The label value that stands for all names past a cap.
pub const OTHER: &str = "other";
/// The label value for models that no configuration declares: a client can make up any number of them.
pub const UNDECLARED: &str = "undeclared";

/// The most pools with series of their own.
const MAX_POOLS: usize = 256;

/// What the running program is; the labels of its info metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version, as in `0.1.0`.
    pub version: &'static str,
    /// The commit it was built from; empty where unknown.
    pub commit: &'static str,
}

/// All metrics of the process. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    tables: Arc<Tables>,
    registry: RwLock<Registry>,
    pools: RwLock<BTreeMap<Arc<str>, Arc<PoolSeries>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("pools", &read(&self.inner.pools).len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Every family, empty but for the build's facts.
    #[must_use]
    pub fn new(build: &BuildInfo) -> Self {
        let tables = Arc::new(Tables::default());
        let mut registry = tables.register(build);
        registry.register_collector(Box::new(process::ProcessCollector::start()));
        let registry = RwLock::new(registry);
        Self { inner: Arc::new(Inner { tables, registry, pools: RwLock::default() }) }
    }

    /// The series of a pool, by its `namespace/name`. Made at the first call; past 256 pools, all further ones
    /// share the series of the pool [`OTHER`].
    #[must_use]
    pub fn pool(&self, name: &str) -> Arc<PoolSeries> {
        if let Some(pool) = read(&self.inner.pools).get(name) {
            return Arc::clone(pool);
        }
        let mut pools = write(&self.inner.pools);
        let name: Arc<str> = if pools.len() < MAX_POOLS { name.into() } else { OTHER.into() };
        let make = || Arc::new(PoolSeries::new(Arc::clone(&name), Arc::clone(&self.inner.tables)));
        Arc::clone(pools.entry(Arc::clone(&name)).or_insert_with(make))
    }

    /// Drops all series of a pool that is no longer configured.
    pub fn remove_pool(&self, name: &str) {
        let removed = write(&self.inner.pools).remove(name);
        if removed.is_some() {
            self.inner.tables.remove_pool(name);
        }
    }

    /// The series of one (pool, model, target model); see [`PoolSeries::request`].
    #[must_use]
    pub fn request(&self, pool: &str, model: &str, target: &str) -> Arc<RequestSeries> {
        self.pool(pool).request(model, target)
    }

    /// A request was refused before it belonged to a pool, for the reason that its answer's `x-pointsman-reason`
    /// names.
    pub fn refused(&self, reason: &'static str) {
        self.inner.tables.outcome("", "rejected", reason).inc();
    }

    /// Client connections open at this time: the caller adds and subtracts.
    #[must_use]
    pub fn client_connections(&self) -> Gauge {
        self.inner.tables.client_connections.clone()
    }

    /// A configuration was read: the generation now in force, and how many of its objects had errors.
    pub fn configuration(&self, generation: u64, errors: usize) {
        let tables = &self.inner.tables;
        tables.configuration_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        tables.configuration_errors.set(i64::try_from(errors).unwrap_or(i64::MAX));
    }

    /// The files of a certificate were read again, with or without success.
    pub fn certificate_reloaded(&self, success: bool) {
        self.inner.tables.certificate_reloads.get(&labels::Reload::new(success)).inc();
    }

    /// Trace spans that were dropped because the exporter could not keep up, or its endpoint did not answer.
    #[must_use]
    pub fn dropped_spans(&self) -> Counter {
        self.inner.tables.dropped_spans.clone()
    }

    /// Asks `collect` for every pool's momentary state at each scrape, so that gauges cost nothing between scrapes.
    pub fn register_collector(&self, collect: Box<dyn Fn() -> Vec<PoolSample> + Send + Sync>) {
        write(&self.inner.registry).register_collector(Box::new(sample::PoolCollector(collect)));
    }

    /// Asks `collect` for the gateway's momentary state at each scrape.
    pub fn register_gateway(&self, collect: Box<dyn Fn() -> GatewaySample + Send + Sync>) {
        write(&self.inner.registry).register_collector(Box::new(sample::GatewayCollector(collect)));
    }

    /// The page, in the format that the scraper asked for.
    #[must_use]
    pub fn render(&self, exposition: Exposition) -> String {
        exposition.render(&read(&self.inner.registry))
    }
}
