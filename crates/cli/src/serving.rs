//! A gateway with all that belongs to it: fleet, listeners, admin pages. Shared by `gateway` and `demo`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pointsman_admin::{AdminServer, AdminSources, Check, Readiness};
use pointsman_config::World;
use pointsman_fleet::{Fleet, FleetOptions};
use pointsman_gateway::{Gateway, GatewayOptions};
use pointsman_telemetry::trace::Tracer;
use pointsman_telemetry::{BuildInfo, Metrics};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the admin pages stay after everything else has stopped, for a last look at them.
const ADMIN_LINGERS: Duration = Duration::from_millis(100);

/// How long the demo's own requests may go on.
const DEMO_DRAIN: Duration = Duration::from_secs(2);

/// Everything a gateway is started with.
pub(crate) struct Plan {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) fleet: FleetOptions,
    pub(crate) world: World,
    /// How long requests under way may go on after the stop.
    pub(crate) drain: Duration,
}

/// A running gateway.
pub(crate) struct Serving {
    fleet: Fleet,
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    problems: Problems,
    stop: Stop,
    gateway: JoinHandle<()>,
    admin: JoinHandle<()>,
}

/// What is wrong with the newest manifests, a line each.
pub(crate) type Problems = Arc<arc_swap::ArcSwap<Vec<String>>>;

/// The order of shutdown, as tokens: readiness fails first, the gateway drains, the admin pages go last.
struct Stop {
    unready: CancellationToken,
    gateway: CancellationToken,
    admin: CancellationToken,
}

impl Serving {
    /// Opens all sockets and starts to serve.
    ///
    /// # Errors
    /// A port is taken, or a file that the configuration names cannot be read.
    pub(crate) async fn start(plan: Plan, metrics: Metrics, tracer: Tracer) -> Result<Self> {
        let admin_socket = AdminServer::bind(plan.admin)
            .await
            .with_context(|| format!("cannot listen on {}", plan.admin))?;
        let admin_address = admin_socket.local_addr()?;
        let fleet = Fleet::start(plan.fleet, metrics.clone())?;
        fleet.apply(plan.world, 0)?;
        let gateway =
            Gateway::bind(GatewayOptions { listen: plan.listen, tracer }, fleet.clone(), metrics.clone())?;
        let addresses = gateway.local_addrs();
        let problems = Problems::default();
        let stop = Stop {
            unready: CancellationToken::new(),
            gateway: CancellationToken::new(),
            admin: CancellationToken::new(),
        };
        let sources = admin_sources(&fleet, metrics, &problems, &stop.unready);
        let admin = tokio::spawn(admin_socket.serve(sources, stop.admin.clone().cancelled_owned()));
        let closing = stop.gateway.clone();
        let gateway = tokio::spawn(gateway.run(closing.cancelled_owned(), plan.drain));
        Ok(Self { fleet, addresses, admin_address, problems, stop, gateway, admin })
    }

    /// The quick form in front of `urls`.
    ///
    /// # Errors
    /// As [`Serving::start`].
    pub(crate) async fn quick(urls: Vec<String>, listen: SocketAddr, admin: SocketAddr) -> Result<Self> {
        let world = pointsman_config::quick_form(&urls, &pointsman_config::QuickOptions::default())?;
        let plan =
            Plan { listen: Some(listen), admin, fleet: FleetOptions::default(), world, drain: DEMO_DRAIN };
        Self::start(plan, metrics(), Tracer::disabled()).await
    }

    pub(crate) const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address that requests may be sent to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or(self.admin_address)
    }

    pub(crate) const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    pub(crate) const fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Stops in order: readiness fails, requests under way get their time to end, then everything else ends.
    pub(crate) async fn stop(self) {
        self.stop.unready.cancel();
        self.stop.gateway.cancel();
        // A task that panicked has been logged; the rest still has to stop.
        let _ = self.gateway.await;
        self.fleet.stop().await;
        tokio::time::sleep(ADMIN_LINGERS).await;
        self.stop.admin.cancel();
        let _ = self.admin.await;
    }
}

/// The process's metrics.
pub(crate) fn metrics() -> Metrics {
    Metrics::new(&BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("POINTSMAN_COMMIT").unwrap_or("unknown"),
    })
}

pub(crate) fn admin_sources(
    fleet: &Fleet,
    metrics: Metrics,
    problems: &Problems,
    unready: &CancellationToken,
) -> AdminSources {
    let (seen, problems, unready) = (fleet.clone(), Arc::clone(problems), unready.clone());
    let shown = fleet.clone();
    AdminSources {
        ready: Arc::new(move || readiness(&seen, &problems, &unready)),
        pools: Arc::new(move || shown.debug_pools()),
        metrics,
    }
}

fn readiness(fleet: &Fleet, problems: &Problems, unready: &CancellationToken) -> Readiness {
    let generation = fleet.current();
    let serving = Check {
        name: "serving".into(),
        passed: !unready.is_cancelled(),
        detail: if unready.is_cancelled() { "shutting down".into() } else { String::new() },
    };
    let pools = generation.pools.iter().map(|pool| {
        let endpoints = pool.endpoints().len();
        Check {
            name: format!("pool {}", pool.name()),
            // A pool without endpoints is a fact about the pool; requests to it get their honest 503.
            passed: true,
            detail: format!("{endpoints} endpoints"),
        }
    });
    Readiness {
        checks: std::iter::once(serving).chain(pools).collect(),
        generation: generation.number,
        problems: problems.load().as_ref().clone(),
    }
}
