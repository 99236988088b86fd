//! A gateway between a scripted engine and a client that reads bytes.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its own part"
)]

pub mod client;
pub mod engine;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::route::RouteTable;
use pointsman_config::{
    AppProtocol, EndpointAddress, EngineAccess, GatewayPolicy, IpNet, Listener, ObjectName, Options,
    PoolSpec, QuickOptions, SourceText, Timeouts, World, load, quick_form,
};
use pointsman_core::{PoolPolicy, RetryBudget};
use pointsman_fleet::{Fleet, FleetOptions, MonitorSettings};
use pointsman_gateway::{Gateway, GatewayOptions};
use pointsman_telemetry::{BuildInfo, Exposition, Metrics};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A gateway in the test's process.
pub struct Running {
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    pub fleet: Fleet,
    pub metrics: Metrics,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// Short timeouts, so that tests end soon.
pub fn timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        idle_limit: Duration::from_secs(20),
        keep_alive: Duration::from_secs(4),
        heartbeat: None,
    }
}

pub fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "default".into(), name: name.into() }
}

pub fn endpoint(address: SocketAddr, protocol: AppProtocol) -> EndpointAddress {
    EndpointAddress {
        host: address.ip().to_string().into(),
        port: address.port(),
        protocol,
        engine: None,
        metrics: pointsman_config::MetricsPage::default(),
    }
}

/// One pool, and a route that forwards everything to it.
pub fn world(engines: &[SocketAddr]) -> World {
    let endpoints = engines.iter().map(|address| endpoint(*address, AppProtocol::Http)).collect();
    let policy = PoolPolicy {
        // Large enough for tests of other things.
        retry_budget: RetryBudget { ratio: 1.0, min_per_second: 1000, max_attempts: 3 },
        ..PoolPolicy::default()
    };
    let pool = PoolSpec {
        name: name("pool"),
        policy,
        models: Arc::default(),
        endpoints,
        timeouts: timeouts(),
        access: EngineAccess::default(),
    };
    let listener = Listener {
        gateway: name("gateway"),
        name: "http".into(),
        address: [127, 0, 0, 1].into(),
        port: 0,
        hostname: None,
        tls: None,
        routes: routes(),
    };
    let gateway = GatewayPolicy {
        trusted_sources: vec![IpNet { address: [127, 0, 0, 1].into(), prefix: 8 }],
        ..GatewayPolicy::default()
    };
    World { listeners: vec![listener], pools: vec![pool], gateway }
}

/// A route that forwards everything to the first pool.
fn routes() -> Arc<RouteTable> {
    let quick = quick_form(&["http://127.0.0.1:1"], &QuickOptions::default()).unwrap();
    Arc::clone(&quick.listeners[0].routes)
}

/// The configuration in these manifests, with [`timeouts`].
pub fn manifests(text: &str) -> World {
    let loaded = load(&[SourceText::new("test.yaml", text)], &Options::default());
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    let mut world = loaded.world;
    for pool in &mut world.pools {
        pool.timeouts = timeouts();
    }
    world
}

impl Running {
    pub async fn start(world: World) -> Self {
        Self::start_with(world, MonitorSettings::default()).await
    }

    /// Starts a gateway with these monitor settings.
    pub async fn start_with(world: World, monitor: MonitorSettings) -> Self {
        Self::with_handover(world, monitor, Duration::ZERO).await
    }

    /// Starts a gateway that serves for this time after its shutdown began.
    pub async fn with_handover(world: World, monitor: MonitorSettings, handover: Duration) -> Self {
        let metrics = Metrics::new(&BuildInfo { version: "test", commit: "" });
        let fleet =
            Fleet::start(FleetOptions { monitor, ..FleetOptions::default() }, metrics.clone()).unwrap();
        fleet.apply(world, 0).unwrap();
        let options =
            GatewayOptions { listen: Some("127.0.0.1:0".parse().unwrap()), ..GatewayOptions::default() };
        let gateway = Gateway::bind(options, fleet.clone(), metrics.clone()).unwrap();
        let addresses = gateway.local_addrs();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let shutdown = async move {
            stopped.cancelled().await;
            handover
        };
        let task = tokio::spawn(async move { gateway.run(shutdown, Duration::from_secs(5)).await });
        Self { address: addresses[0], addresses, fleet, metrics, stop, task: Some(task) }
    }

    /// A gateway in front of these engines.
    pub async fn before(engines: &[SocketAddr]) -> Self {
        Self::start(world(engines)).await
    }

    pub fn metric(&self, line_start: &str) -> f64 {
        let page = self.metrics.render(Exposition::negotiate(None));
        let lines = page.lines().filter(|line| line.starts_with(line_start));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until requests, buffered bytes and reservations are back at zero.
    pub async fn idle(&self) {
        for _ in 0..2_500 {
            let busy = self.fleet.in_flight() > 0
                || self.metric("pointsman_requests_in_flight") > 0.0
                || self.metric("pointsman_held_body_bytes") > 0.0;
            if !busy {
                return;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        panic!(
            "still in use: {} placed, {} requests, {} bytes",
            self.fleet.in_flight(),
            self.metric("pointsman_requests_in_flight"),
            self.metric("pointsman_held_body_bytes")
        );
    }

    /// Stops and waits; all tasks must end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
        self.fleet.stop().await;
    }
}
