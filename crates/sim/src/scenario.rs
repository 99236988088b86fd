//! What is simulated: the engines and what becomes of them, and what the router gets to know.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{PROGRESS_EVERY, PaceBounds, Placement, PoolPolicy, Time};

use crate::engine::EngineProfile;

/// Everything about a run but its workload, its rate and its seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The engines.
    pub fleet: Vec<Member>,
    /// What the router knows, and how late.
    pub information: Information,
    /// Jobs that arrive before this time are simulated and not counted.
    pub warm_up: Duration,
    /// Jobs arrive until this time.
    pub duration: Duration,
    /// How long after the last arrival jobs may still end; what has not ended then is unfinished.
    pub drain: Duration,
}

/// One engine of the fleet.
#[derive(Clone, Debug)]
pub struct Member {
    /// What its steps cost.
    pub profile: Arc<EngineProfile>,
    /// Factor on the time of each of its steps; 1 is as fast as the profile says.
    pub slowness: f64,
    /// When it becomes ready.
    pub joins: Time,
    /// What happens to it later, in order of time.
    pub changes: Vec<(Time, Change)>,
}

/// What may happen to an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Its steps take this many times as long as its profile says.
    Slowness(f64),
    /// It dies: what it runs fails, and connections are refused until it restarts.
    Dies,
    /// It comes back with an empty cache, as the same endpoint.
    Restarts,
    /// It stops answering without closing connections.
    Hangs,
    /// It goes on where it stopped.
    Resumes,
    /// It takes nothing new and finishes what it has, then leaves.
    Drains,
    /// Its gauges claim from now on that it is idle.
    Lies,
}

/// What the router gets to know of its engines.
#[derive(Clone, Debug, PartialEq)]
pub struct Information {
    /// Between two readings of a busy engine's gauges; `None` where they are never read.
    pub scrape_every: Option<Duration>,
    /// Between two readings of an idle engine's gauges; in between the pace follows the dispatches
    /// ([`pointsman_core::ScrapePace`]). Equal to `scrape_every` for readings of one age.
    pub scrape_idle_every: Duration,
    /// How old a reading is when it reaches the router.
    pub scrape_delay: Duration,
    /// The share of readings that are lost, 0 to 1.
    pub scrape_loss: f64,
    /// Stretches without any reading.
    pub blackouts: Vec<(Time, Time)>,
    /// One way between router and engine.
    pub network_delay: Duration,
    /// Between two sights of a stream's output, per request.
    pub progress_every: Duration,
    /// Whether first tokens and progress are seen at all.
    pub tokens_seen: bool,
    /// Whether replies say how many tokens were used and cached.
    pub usage_seen: bool,
    /// What the router knows of prefix caches.
    pub prefixes: Prefixes,
    /// Prompt tokens per block that the router hashes; a multiple of the engines' block size.
    pub block_tokens: u32,
    /// Routers side by side; arrivals are spread over them at random.
    pub routers: u32,
    /// Whether they share one state, or each knows only what it sent itself.
    pub shared_state: bool,
}

impl Default for Information {
    /// What a live Pointsman has.
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
            prefixes: Prefixes::Approximate,
            block_tokens: 64,
            routers: 1,
            shared_state: true,
        }
    }
}

/// What the router knows of prefix caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefixes {
    /// Nothing: no block is hashed.
    Unknown,
    /// What follows from its own dispatches.
    Approximate,
    /// What each engine's cache holds at the moment of the decision: a bound for what events can tell.
    Exact,
}

/// Who decides where a job goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Routing {
    /// Pointsman's own core with this policy.
    Pool(PoolPolicy),
    /// A Kubernetes Service: an endpoint at random for each connection, which its requests then stay on.
    ServicePerConnection,
    /// A Kubernetes Service as clients without keep-alive see it: an endpoint at random for each request.
    ServicePerRequest,
    /// A bound: shown beside the policies, never counted as one.
    Bound(Bound),
}

/// What no router can be, or none that decides at arrival: references to measure the rest against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// One queue; a job goes out when an engine has a seat and blocks for it (late binding).
    CentralLateBinding,
    /// True state and true output lengths; each candidate is rolled forward and the least total delay wins.
    GreedyClairvoyant,
    /// One engine with the fleet's memory, bandwidth and compute.
    PooledServer,
    /// Every prefix that was ever sent is cached everywhere.
    InfiniteCache,
    /// One cache of the fleet's size, shared by all engines.
    PooledCache,
}

impl Routing {
    /// The name in experiments and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pool(PoolPolicy { placement, .. }) => placement_name(*placement),
            Self::ServicePerConnection => "kubernetes-service",
            Self::ServicePerRequest => "kubernetes-service-per-request",
            Self::Bound(bound) => bound.name(),
        }
    }
}

const fn placement_name(placement: Placement) -> &'static str {
    placement.as_str()
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
