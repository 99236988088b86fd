//! The scenario of a run: engines, their failures, and the information that routers have.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{PROGRESS_EVERY, PaceBounds, PoolPolicy, Time};

use crate::engine::EngineProfile;

/// All of a run except its workload, rate and seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The engines.
    pub fleet: Vec<EngineSpec>,
    /// The router's information about them.
    pub information: Information,
    /// Jobs that arrive before this time are simulated but not counted.
    pub warm_up: Duration,
    /// Length of the arrival period.
    pub duration: Duration,
    /// Time after the arrival period in which jobs may still end; later ones are unfinished.
    pub drain: Duration,
    /// Whether routers compare all engines for each job, also in a fleet of which they would compare a sample.
    pub compare_all: bool,
}

/// One engine of the fleet.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// The engine profile.
    pub profile: Arc<EngineProfile>,
    /// Factor on its step times; 1 is the profile's speed.
    pub slowness: f64,
    /// When it becomes ready.
    pub joins: Time,
    /// Later changes in order of time.
    pub changes: Vec<(Time, Change)>,
}

/// A change of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Its step times become this multiple of the profile's.
    Slowness(f64),
    /// It dies: its requests fail, and it refuses connections until it restarts.
    Dies,
    /// It restarts as the same endpoint with an empty cache.
    Restarts,
    /// It stops responding without closing connections.
    Hangs,
    /// It continues where it hung.
    Resumes,
    /// It drains: it accepts no new requests, finishes the others, and leaves.
    Drains,
    /// Its gauges report an idle engine from now on.
    Lies,
}

/// The information that routers have about engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Information {
    /// Scrape interval of a busy engine; `None` without scrapes.
    pub scrape_every: Option<Duration>,
    /// Scrape interval of an idle engine; in between the pace follows the dispatches ([`pointsman_core::ScrapePace`]).
    /// Equal to `scrape_every` for a fixed interval.
    pub scrape_idle_every: Duration,
    /// Age of a scrape's gauges when they reach the router.
    pub scrape_delay: Duration,
    /// Share of scrapes that are lost, 0 to 1.
    pub scrape_loss: f64,
    /// Periods without scrapes.
    pub blackouts: Vec<(Time, Time)>,
    /// One-way delay between router and engine.
    pub network_delay: Duration,
    /// Interval between progress reports of a stream.
    pub progress_every: Duration,
    /// Whether routers see first tokens and progress.
    pub tokens_seen: bool,
    /// Whether responses report token usage and cached tokens.
    pub usage_seen: bool,
    /// Knowledge of prefix caches.
    pub prefixes: PrefixKnowledge,
    /// Prompt tokens per block that routers hash; a multiple of the engines' block size.
    pub block_tokens: u32,
    /// Number of routers; arrivals are spread over them at random.
    pub routers: u32,
    /// Whether routers share one state; otherwise each knows only its own dispatches.
    pub shared_state: bool,
}

impl Default for Information {
    /// The information of a live Pointsman.
    fn default() -> Self {
        let PaceBounds { shortest, longest } = PaceBounds::default();
        Self {
            scrape_every: Some(shortest),
            scrape_idle_every: longest,
            scrape_delay: Duration::from_millis(5),
            scrape_loss: 0.0,
            blackouts: Vec::new(),
            network_delay: Duration::from_micros(250),
            progress_every: PROGRESS_EVERY,
            tokens_seen: true,
            usage_seen: true,
            prefixes: PrefixKnowledge::Approximate,
            block_tokens: 64,
            routers: 1,
            shared_state: true,
        }
    }
}

/// A router's knowledge of prefix caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixKnowledge {
    /// None: no block is hashed.
    Unknown,
    /// The prefix index, from the router's own dispatches.
    Approximate,
    /// The true content of each engine's cache at the moment of the decision: an upper bound for KV events.
    Exact,
}

/// The balancer that decides where a job goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Routing {
    /// Pointsman's core with this pool policy.
    Pool(PoolPolicy),
    /// A Kubernetes Service: a random endpoint per keep-alive connection.
    ServicePerConnection,
    /// A Kubernetes Service for clients without keep-alive: a random endpoint per request.
    ServicePerRequest,
    /// A bound: an idealized balancer, reported beside the placements.
    Bound(Bound),
}

/// Idealized balancers that no router can match, or none that decides at arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// One queue; a job is dispatched when an engine has a sequence slot and KV blocks for it (late binding).
    CentralLateBinding,
    /// True state and true output lengths: each engine's future is projected, and the least added delay wins.
    GreedyClairvoyant,
    /// One engine with the memory, bandwidth and compute of the fleet.
    PooledServer,
    /// Central late binding with every earlier prefix cached everywhere.
    InfiniteCache,
    /// Central late binding with one cache of the fleet's size, shared by all engines.
    PooledCache,
}

impl Routing {
    /// The name in experiments and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pool(PoolPolicy { placement, .. }) => placement.as_str(),
            Self::ServicePerConnection => "kubernetes-service",
            Self::ServicePerRequest => "kubernetes-service-per-request",
            Self::Bound(bound) => bound.name(),
        }
    }
}

impl Bound {
    /// Every bound.
    pub const ALL: [Self; 5] = [
        Self::CentralLateBinding,
        Self::GreedyClairvoyant,
        Self::PooledServer,
        Self::InfiniteCache,
        Self::PooledCache,
    ];

    /// The name in experiments and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CentralLateBinding => "central-late-binding",
            Self::GreedyClairvoyant => "greedy-clairvoyant",
            Self::PooledServer => "pooled-server",
            Self::InfiniteCache => "infinite-cache",
            Self::PooledCache => "pooled-cache",
        }
    }
}
