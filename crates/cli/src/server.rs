//! A front door with all that it needs, from start to shutdown: fleet, admin pages, traces, manifests.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pointsman_admin::{AdminServer, AdminSources, Check, Readiness};
use pointsman_config::{MetricsPage, ObjectName, World};
use pointsman_extproc::{Picker, PickerOptions};
use pointsman_fleet::{Fleet, FleetOptions, MonitorSettings, PoolHandle};
use pointsman_gateway::{Gateway, GatewayOptions};
use pointsman_telemetry::trace::{OtlpOptions, Tracer};
use pointsman_telemetry::{BuildInfo, Metrics};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::ServerArgs;
use crate::manifests::Manifests;
use crate::output;
use crate::shutdown::{self, Cause, Grace};

/// Time for which the admin pages are served after everything else has stopped, for a last scrape.
const ADMIN_LINGER: Duration = Duration::from_millis(100);

/// The door to serve.
pub(crate) enum DoorPlan {
    /// The gateway, with the address for all plain HTTP listeners.
    Gateway(Option<SocketAddr>),
    Picker(Box<PickerOptions>),
}

/// Everything that a server is started with.
pub(crate) struct Plan {
    pub(crate) door: DoorPlan,
    pub(crate) admin: SocketAddr,
    pub(crate) world: World,
    /// The files that `world` was read from, to be watched.
    pub(crate) manifests: Option<Manifests>,
    /// Where metrics pages are, unless `world` says otherwise.
    pub(crate) metrics: MetricsPage,
    pub(crate) args: ServerArgs,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) fleet: Fleet,
    listening: Listening,
    pub(crate) admin_address: SocketAddr,
    stop: Stop,
    door: JoinHandle<()>,
    admin: JoinHandle<()>,
    /// The exporter of traces.
    exporter: Option<JoinHandle<()>>,
}

/// The addresses of a door.
enum Listening {
    Gateway(Vec<SocketAddr>),
    Picker { pool: ObjectName, grpc: SocketAddr, health: SocketAddr },
}

/// Errors of the latest manifests, one line each.
type Problems = Arc<arc_swap::ArcSwap<Vec<String>>>;

/// What stops the parts of a server, in the order of its shutdown.
struct Stop {
    readiness: CancellationToken,
    /// Takes the handover time.
    door: oneshot::Sender<Duration>,
    traces: CancellationToken,
    admin: CancellationToken,
}

/// Serves until SIGTERM or SIGINT, and reads the manifests again on SIGHUP. Prints a line once it listens.
///
/// # Errors
/// Those of [`Server::start`].
pub(crate) async fn serve(plan: Plan) -> Result<ExitCode> {
    let signal = shutdown::on_signal()?;
    let (handover, drain) = (plan.args.handover()?, plan.args.drain_timeout);
    shutdown::on_hangup(plan.manifests.as_ref().map(|manifests| manifests.watch.reloader()))?;
    let server = Server::start(plan).await?;
    server.warn_of_access();
    output::announce(&server.ready_line());
    let handover = match signal.cause().await {
        Cause::Terminate => handover,
        Cause::Interrupt => Duration::ZERO,
    };
    let fleet = server.fleet.clone();
    let in_flight = || Some(fleet.in_flight());
    shutdown::announced(&signal.token, Grace { handover, drain }, in_flight, server.stop(handover)).await;
    Ok(ExitCode::SUCCESS)
}

impl Server {
    /// Opens all sockets and starts to serve.
    ///
    /// # Errors
    /// A port cannot be opened, or a file that the configuration names cannot be read.
    pub(crate) async fn start(plan: Plan) -> Result<Self> {
        let Plan { door, admin, world, manifests, metrics, args } = plan;
        let ServerArgs { drain_timeout, handover_timeout: _, record, decisions, otlp_endpoint } = args;
        let monitor = MonitorSettings { metrics, ..MonitorSettings::default() };
        let metrics = Metrics::new(&BuildInfo { version: crate::VERSION, commit: crate::COMMIT });
        let (stop_door, stopped) = oneshot::channel();
        let stop = Stop {
            readiness: CancellationToken::new(),
            door: stop_door,
            traces: CancellationToken::new(),
            admin: CancellationToken::new(),
        };
        let (tracer, exporter) = start_tracing(otlp_endpoint, &metrics, &stop.traces)?;
        let admin = AdminServer::bind(admin).await.with_context(|| format!("cannot listen on {admin}"))?;
        let admin_address = admin.local_addr()?;
        let options = FleetOptions { record, decisions, monitor, ..FleetOptions::default() };
        let fleet = Fleet::start(options, metrics.clone())?;
        fleet.apply(world, 0)?;
        let closing = async move { stopped.await.unwrap_or_default() };
        let (listening, door) = match door {
            DoorPlan::Gateway(listen) => {
                let options = GatewayOptions { listen, tracer };
                let gateway = Gateway::bind(options, fleet.clone(), metrics.clone())?;
                (Listening::Gateway(gateway.local_addrs()), tokio::spawn(gateway.run(closing, drain_timeout)))
            }
            DoorPlan::Picker(options) => {
                let options = PickerOptions { tracer, ..*options };
                let picker = Picker::bind(options, fleet.clone(), metrics.clone())?;
                let (pool, grpc, health) = (picker.pool().clone(), picker.grpc_addr, picker.health_addr);
                let closing = async {
                    closing.await;
                };
                (Listening::Picker { pool, grpc, health }, tokio::spawn(picker.run(closing, drain_timeout)))
            }
        };
        let problems = Problems::default();
        let sources = admin_sources(&fleet, metrics, &problems, &stop.readiness);
        let admin = tokio::spawn(admin.serve(sources, stop.admin.clone().cancelled_owned()));
        if let Some(Manifests { watch, objects, options }) = manifests {
            fleet.follow(watch, objects, options, move |found| problems.store(Arc::new(found)));
        }
        Ok(Self { fleet, listening, admin_address, stop, door, admin, exporter })
    }

    /// The first address for clients; `None` for a picker, whose clients are gateways.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.listening {
            Listening::Gateway(addresses) => addresses.first().copied(),
            Listening::Picker { .. } => None,
        }
    }

    /// The address of ext_proc; `None` for a gateway.
    pub(crate) const fn ext_proc_address(&self) -> Option<SocketAddr> {
        match &self.listening {
            Listening::Gateway(_) => None,
            Listening::Picker { grpc, .. } => Some(*grpc),
        }
    }

    /// Warns of engines that are not verified, and of their key behind ports that other machines reach.
    fn warn_of_access(&self) {
        let Listening::Gateway(addresses) = &self.listening else { return };
        let generation = self.fleet.current();
        let open = addresses.iter().find(|address| !address.ip().is_loopback());
        for pool in &generation.world.pools {
            if pool.access.insecure_skip_verify {
                tracing::warn!(pool = %pool.name, "the certificates of the engines are not verified");
            }
            if let (Some(address), true) = (open, pool.access.api_key.is_some()) {
                tracing::warn!(pool = %pool.name, %address, "whoever reaches this address uses the engines' key");
            }
        }
    }

    fn ready_line(&self) -> String {
        let admin = self.admin_address;
        match &self.listening {
            Listening::Gateway(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
                let addresses = addresses.join(" ");
                format!("pointsman gateway: ready, listening on {addresses}, admin on http://{admin}")
            }
            Listening::Picker { pool, grpc, health } => format!(
                "pointsman epp: ready, picks from {pool}, ext_proc on {grpc}, health on {health}, admin on http://{admin}"
            ),
        }
    }

    /// Stops in order: readiness fails, a gateway serves on for `handover`, requests in flight end or are aborted, and
    /// finally the admin pages close.
    pub(crate) async fn stop(self, handover: Duration) {
        self.stop.readiness.cancel();
        // The door waits for it, or has ended by itself.
        let _ = self.stop.door.send(handover);
        // A panic in a task has been logged, and the rest still has to stop.
        let _ = self.door.await;
        self.fleet.stop().await;
        self.stop.traces.cancel();
        if let Some(exporter) = self.exporter {
            let _ = exporter.await;
        }
        tokio::time::sleep(ADMIN_LINGER).await;
        self.stop.admin.cancel();
        let _ = self.admin.await;
    }
}

/// A tracer, and the exporter of its spans to `endpoint` or to the endpoint in the environment, if there is one. The exporter
/// sends the spans that are queued and ends once `stop` is cancelled.
fn start_tracing(
    endpoint: Option<String>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(Tracer, Option<JoinHandle<()>>)> {
    let options = OtlpOptions::from_env(endpoint, crate::VERSION, |name| std::env::var(name).ok());
    let Some(options) = options.context("traces")? else { return Ok((Tracer::disabled(), None)) };
    let (tracer, exporter) = Tracer::otlp(options, metrics.dropped_spans()).context("traces")?;
    Ok((tracer, Some(tokio::spawn(exporter.run(stop.clone().cancelled_owned())))))
}

fn admin_sources(
    fleet: &Fleet,
    metrics: Metrics,
    problems: &Problems,
    stopping: &CancellationToken,
) -> AdminSources {
    let (seen, problems, stopping) = (fleet.clone(), Arc::clone(problems), stopping.clone());
    let answered = AtomicBool::new(false);
    let (shown, explained) = (fleet.clone(), fleet.clone());
    AdminSources {
        ready: Arc::new(move || readiness(&seen, &problems, &stopping, &answered)),
        pools: Arc::new(move || shown.debug_pools()),
        decisions: Arc::new(move |request| explained.debug_decisions(request)),
        metrics,
    }
}

/// The state of readiness. A server becomes ready when the first endpoint answers. What becomes of endpoints later is the
/// scheduler's concern: responses say it, and a server that others no longer send requests to could not even do that.
fn readiness(
    fleet: &Fleet,
    problems: &Problems,
    stopping: &CancellationToken,
    answered: &AtomicBool,
) -> Readiness {
    let generation = fleet.current();
    let stopping = stopping.is_cancelled();
    let detail = if stopping { "shutting down".into() } else { String::new() };
    let serving = Check { name: "serving".into(), passed: !stopping, detail };
    let answering = |pool: &PoolHandle| pool.endpoints.iter().filter(|it| it.activity.answers()).count();
    if generation.pools.iter().any(|pool| answering(pool) > 0) {
        answered.store(true, Ordering::Relaxed);
    }
    let reached = answered.load(Ordering::Relaxed);
    let detail = if reached { String::new() } else { "none has answered yet".into() };
    let endpoints = Check { name: "endpoints".into(), passed: reached, detail };
    let pools = generation.pools.iter().map(|pool| Check {
        name: format!("pool {}", pool.name),
        // Requests to a pool whose endpoints do not answer get 503, so the server itself is ready.
        passed: true,
        detail: format!("{} of {} endpoints answer", answering(pool), pool.endpoints.len()),
    });
    Readiness {
        checks: [serving, endpoints].into_iter().chain(pools).collect(),
        generation: generation.number,
        problems: problems.load().as_ref().clone(),
    }
}
