//! Series of a pool and of its endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use pointsman_core::FailureCause;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::families::Families;
use super::family::{Presence, read, write};
use super::labels::{Cause, Endpoint, EndpointCause, Model, OTHER, Pool, UNDECLARED};
use super::request::{RequestSeries, Running};

/// Limit on the declared (model, target model) pairs of a pool with series of their own.
const MAX_MODELS: usize = 512;
/// Limit on the further declared pairs, which share one series.
const MAX_OTHERS: usize = 16_384;
/// Limit on the endpoints of a pool with series of their own.
pub(super) const MAX_ENDPOINTS: usize = 2048;

type Pairs = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<RequestSeries>>>;

/// The series of one pool.
#[derive(Debug)]
pub struct PoolSeries {
    name: Arc<str>,
    families: Arc<Families>,
    models: RwLock<Models>,
    endpoints: RwLock<BTreeMap<Arc<str>, Arc<EndpointSeries>>>,
    decision: Histogram,
    attempts: Counter,
    retries_denied: Counter,
    streams: Gauge,
    presence: Presence,
}

#[derive(Debug, Default)]
struct Models {
    declared: Declared,
    /// Declared pairs beyond the limit.
    others: Declared,
    series: Pairs,
}

/// The target models of each public model.
#[derive(Debug, Default)]
struct Declared {
    targets: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    pairs: usize,
}

impl Declared {
    fn has(&self, model: &str, target: &str) -> bool {
        self.targets.get(model).is_some_and(|targets| targets.contains(target))
    }

    fn insert(&mut self, model: &str, target: &str) {
        self.pairs += usize::from(self.targets.entry(model.into()).or_default().insert(target.into()));
    }
}

impl Models {
    /// Label values of a pair.
    fn labels<'a>(&self, model: &'a str, target: &'a str) -> (&'a str, &'a str) {
        if self.declared.has(model, target) {
            (model, target)
        } else if self.others.has(model, target) {
            (OTHER, OTHER)
        } else {
            (UNDECLARED, UNDECLARED)
        }
    }

    fn find(&self, model: &str, target: &str) -> Option<&Arc<RequestSeries>> {
        let (model, target) = self.labels(model, target);
        self.series.get(model)?.get(target)
    }
}

impl PoolSeries {
    pub(super) fn new(name: Arc<str>, families: Arc<Families>) -> Self {
        let pool = Pool { pool: Arc::clone(&name) };
        Self {
            decision: families.decision.get(&pool),
            attempts: families.attempts.get(&pool),
            retries_denied: families.retries_denied.get(&pool),
            streams: families.streams.get(&pool),
            models: RwLock::default(),
            endpoints: RwLock::default(),
            presence: Presence::default(),
            name,
            families,
        }
    }

    /// The pool is gone: no handle of it, its endpoints or its models creates a series any more.
    pub(super) fn leave(&self) {
        self.presence.leave();
        read(&self.endpoints).values().for_each(|endpoint| endpoint.presence.leave());
        read(&self.models).series.values().flat_map(BTreeMap::values).for_each(|series| series.leave());
    }

    /// The pool's `namespace/name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the (model, target model) pairs that may appear as labels: those of the configuration and the models that
    /// engines list. Series of other pairs are dropped. Pairs beyond 512 share the series of [`OTHER`].
    pub fn declare<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let (mut declared, mut others) = (Declared::default(), Declared::default());
        for (model, target) in pairs {
            if declared.has(model, target) || declared.pairs < MAX_MODELS {
                declared.insert(model, target);
            } else if others.pairs < MAX_OTHERS {
                others.insert(model, target);
            }
        }
        let mut models = write(&self.models);
        *models = Models { declared, others, series: std::mem::take(&mut models.series) };
        let Models { declared, series, .. } = &mut *models;
        let stays = |model: &str, target: Option<&str>| {
            [UNDECLARED, OTHER].contains(&model)
                || target.map_or(declared.targets.contains_key(model), |target| declared.has(model, target))
        };
        for (model, targets) in series.iter_mut() {
            targets.retain(|target, series| {
                let stays = stays(model, Some(target));
                if !stays {
                    series.leave();
                }
                stays
            });
        }
        series.retain(|_, targets| !targets.is_empty());
        self.families.remove_models(&|pool, model, target| pool != &*self.name || stays(model, target));
    }

    /// The series of a public model and its target model. All undeclared pairs share one series, so that clients
    /// cannot create labels. The handle may be kept until [`declare`](Self::declare) is called again.
    #[must_use]
    pub fn request(&self, model: &str, target: &str) -> Arc<RequestSeries> {
        if let Some(series) = read(&self.models).find(model, target) {
            return Arc::clone(series);
        }
        let mut models = write(&self.models);
        let (model, target) = models.labels(model, target);
        let (model, target): (Arc<str>, Arc<str>) = (model.into(), target.into());
        let targets = models.series.entry(Arc::clone(&model)).or_default();
        let series = targets.entry(Arc::clone(&target)).or_insert_with(|| {
            let labels = Model { model_name: model, target_model_name: target, pool: Arc::clone(&self.name) };
            // Of a pool that is gone nothing is registered.
            let families = if self.presence.is_gone() { Arc::default() } else { Arc::clone(&self.families) };
            Arc::new(RequestSeries::new(labels, families, self.presence.clone()))
        });
        Arc::clone(series)
    }

    /// Records the time that a placement decision took.
    pub fn decided(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.decision.observe(seconds);
        self.families.scheduler.observe(seconds);
    }

    /// Counts a retry; `cause` is the failure of the attempt before.
    pub fn retried(&self, cause: FailureCause) {
        let labels = Cause { pool: Arc::clone(&self.name), cause: cause.as_str() };
        if let Some(retries) = self.families.retries.get_of(&labels, &self.presence) {
            retries.inc();
        }
    }

    /// Counts an attempt that was not retried because the retry budget was exhausted.
    pub fn retry_denied(&self) {
        self.retries_denied.inc();
    }

    /// Counts a streaming response as in flight until the returned value is dropped.
    pub fn stream(&self) -> Running {
        Running::start(&self.streams)
    }

    /// The series of an endpoint, by its `host:port`. Beyond 2048 endpoints, all further ones share one series.
    #[must_use]
    pub fn endpoint(&self, address: &str) -> Arc<EndpointSeries> {
        if let Some(endpoint) = read(&self.endpoints).get(address) {
            return Arc::clone(endpoint);
        }
        let mut endpoints = write(&self.endpoints);
        let address: Arc<str> = if endpoints.len() < MAX_ENDPOINTS { address.into() } else { OTHER.into() };
        let make =
            || Arc::new(EndpointSeries::new(&self.name, &address, &self.families, self.attempts.clone()));
        Arc::clone(endpoints.entry(Arc::clone(&address)).or_insert_with(make))
    }

    /// Drops the series of an endpoint.
    pub fn remove_endpoint(&self, address: &str) {
        if let Some(endpoint) = write(&self.endpoints).remove(address) {
            endpoint.presence.leave();
            self.families.remove_endpoints(&|pool, endpoint| pool != &*self.name || endpoint != address);
        }
    }
}

/// The series of one endpoint of a pool.
#[derive(Debug)]
pub struct EndpointSeries {
    labels: Endpoint,
    families: Arc<Families>,
    pool_attempts: Counter,
    requests: Counter,
    scrapes: Counter,
    scrape_failures: Counter,
    presence: Presence,
}

impl EndpointSeries {
    fn new(pool: &Arc<str>, address: &Arc<str>, families: &Arc<Families>, pool_attempts: Counter) -> Self {
        let labels = Endpoint { pool: Arc::clone(pool), endpoint: Arc::clone(address) };
        Self {
            requests: families.endpoint_requests.get(&labels),
            scrapes: families.scrapes.get(&labels),
            scrape_failures: families.scrape_failures.get(&labels),
            families: Arc::clone(families),
            presence: Presence::default(),
            pool_attempts,
            labels,
        }
    }

    /// Counts an attempt.
    pub fn attempted(&self) {
        self.pool_attempts.inc();
        self.requests.inc();
    }

    /// Counts a failed attempt or a broken stream.
    pub fn failed(&self, cause: FailureCause) {
        if let Some(failures) = self.families.endpoint_failures.get_of(&self.cause(cause), &self.presence) {
            failures.inc();
        }
    }

    /// Counts an ejection from placement.
    pub fn ejected(&self, cause: FailureCause) {
        if let Some(ejections) = self.families.ejections.get_of(&self.cause(cause), &self.presence) {
            ejections.inc();
        }
    }

    /// Counts a scrape of the engine's metrics.
    pub fn scraped(&self, success: bool) {
        self.scrapes.inc();
        if !success {
            self.scrape_failures.inc();
        }
    }

    fn cause(&self, cause: FailureCause) -> EndpointCause {
        let Endpoint { pool, endpoint } = self.labels.clone();
        EndpointCause { pool, endpoint, cause: cause.as_str() }
    }
}
