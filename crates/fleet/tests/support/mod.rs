//! Helpers of the tests.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part")]

use std::sync::Arc;
use std::time::Duration;

use pointsman_config::{AppProtocol, EndpointAddress, EngineAccess, ObjectName, PoolSpec, Timeouts, World};
use pointsman_core::{PoolId, PoolPolicy, ProbePace, RequestFacts};
use pointsman_fleet::{Fleet, FleetOptions, MonitorSettings};
use pointsman_telemetry::{BuildInfo, Metrics};

pub mod engine;

pub fn metrics() -> Metrics {
    Metrics::new(&BuildInfo { version: "0.0.0", commit: "" })
}

/// Short intervals, so that tests do not wait.
pub fn fast() -> MonitorSettings {
    MonitorSettings {
        scrape_shortest: Duration::from_millis(10),
        scrape_longest: Duration::from_millis(20),
        probes: ProbePace { interval: Duration::from_millis(10), ..ProbePace::default() },
        models_every: Duration::from_millis(10),
        ..MonitorSettings::default()
    }
}

pub fn start() -> Fleet {
    Fleet::start(FleetOptions { seed: 1, monitor: fast(), ..FleetOptions::default() }, metrics()).unwrap()
}

pub fn address(port: u16) -> EndpointAddress {
    EndpointAddress {
        host: "127.0.0.1".into(),
        port,
        protocol: AppProtocol::Http,
        engine: None,
        metrics: pointsman_config::MetricsPage::default(),
    }
}

pub fn pool(name: &str, ports: &[u16]) -> PoolSpec {
    PoolSpec {
        name: ObjectName { namespace: "default".into(), name: name.into() },
        policy: PoolPolicy::default(),
        models: Arc::default(),
        endpoints: ports.iter().map(|port| address(*port)).collect(),
        timeouts: Timeouts::default(),
        access: EngineAccess::default(),
    }
}

/// Pools by name and ports. Ports below 100 are closed.
pub fn world(pools: &[(&str, &[u16])]) -> World {
    World { pools: pools.iter().map(|(name, ports)| pool(name, ports)).collect(), ..World::default() }
}

pub fn facts() -> RequestFacts {
    RequestFacts { prompt_tokens: 100, observes_tokens: true, ..RequestFacts::unknown(PoolId(0)) }
}

/// Waits until `done` is true, and panics after ten seconds.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(done(), "not in time: {what}");
}
