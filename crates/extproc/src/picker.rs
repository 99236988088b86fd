//! The picker: its ports, from their opening to the end of the drain.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::ObjectName;
use pointsman_door::Door;
use pointsman_fleet::Fleet;
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::Tracer;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::connection::Port;
use crate::grpc::Services;
use crate::session::SessionOptions;
use crate::shared::Shared;
use crate::tls::{Secured, Security, SecurityError};
use crate::workers::Workers;

/// Interval at which certificate files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Options of a picker.
#[derive(Clone, Debug)]
pub struct PickerOptions {
    /// The pool to pick from; optional if the configuration has only one.
    pub pool: Option<ObjectName>,
    /// The address of all ports.
    pub bind: IpAddr,
    /// The port of ext_proc; 0 for any free port.
    pub grpc_port: u16,
    /// The port of the plain-text health service; 0 for any free port.
    pub health_port: u16,
    /// TLS of the ext_proc port.
    pub security: Security,
    /// Treatment of requests, except for limits, which are those of the configuration.
    pub session: SessionOptions,
    /// Timeout for the placement of a request.
    pub pick_timeout: Duration,
    /// Time for which streams are accepted after the shutdown began, while the health service reports `NOT_SERVING`, so that
    /// gateways with several pickers turn to another one. Part of the drain timeout; ends at once if no gateway is
    /// connected.
    pub handover: Duration,
    /// Destination of spans.
    pub tracer: Tracer,
    /// Number of threads that serve connections; 0 for one per processor.
    pub threads: usize,
}

impl Default for PickerOptions {
    /// Ports and security of the extension's picker.
    fn default() -> Self {
        Self {
            pool: None,
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            grpc_port: 9002,
            health_port: 9003,
            security: Security::SelfSigned,
            session: SessionOptions::default(),
            pick_timeout: Duration::from_secs(30),
            handover: Duration::from_secs(5),
            tracer: Tracer::disabled(),
            threads: 0,
        }
    }
}

/// Why a picker does not start.
#[derive(Debug, thiserror::Error)]
pub enum PickerError {
    /// A port cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The certificate cannot be loaded.
    #[error(transparent)]
    Tls(#[from] SecurityError),
    /// The configuration has no such pool.
    #[error("no pool {name}; the configuration has {known}")]
    UnknownPool {
        /// The name given.
        name: ObjectName,
        /// The configuration's pools.
        known: String,
    },
    /// The pool is not named, and the configuration does not have exactly one.
    #[error("--pool-name is required: the configuration has {0}")]
    PoolNotNamed(String),
}

/// A picker whose ports are open. It accepts connections from [`Picker::run`] on.
#[derive(Debug)]
pub struct Picker {
    shared: Arc<Shared>,
    secured: Option<Arc<Secured>>,
    workers: Arc<Workers>,
    grpc: TcpListener,
    health: TcpListener,
    /// The address of ext_proc.
    pub grpc_addr: SocketAddr,
    /// The address of the health service.
    pub health_addr: SocketAddr,
    handover: Duration,
}

impl Picker {
    /// Opens the ports. Must be called within a tokio runtime, after [`Fleet::apply`].
    ///
    /// # Errors
    /// A port cannot be opened, the certificate cannot be loaded, or the pool is unknown or ambiguous.
    pub fn bind(options: PickerOptions, fleet: Fleet, metrics: Metrics) -> Result<Self, PickerError> {
        let PickerOptions { bind, grpc_port, health_port, session, .. } = options;
        let generation = fleet.current();
        let pools: Vec<&ObjectName> = generation.pools.iter().map(|pool| &pool.name).collect();
        let pool = choose_pool(&pools, options.pool)?;
        let secured = Secured::open(options.security)?.map(Arc::new);
        let (grpc, grpc_addr) = listen(SocketAddr::new(bind, grpc_port))?;
        let (health, health_addr) = listen(SocketAddr::new(bind, health_port))?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let workers = Arc::new(Workers::start(threads).map_err(PickerError::Thread)?);
        let door = Door::new(fleet, metrics, options.tracer);
        let shared = Arc::new(Shared::new(door, pool, session, options.pick_timeout));
        let handover = options.handover;
        Ok(Self { shared, secured, workers, grpc, health, grpc_addr, health_addr, handover })
    }

    /// The pool to pick from.
    #[must_use]
    pub fn pool(&self) -> &ObjectName {
        &self.shared.pool
    }

    /// Serves until `shutdown` is ready. From then on the health service reports `NOT_SERVING`, new streams are accepted for
    /// [`PickerOptions::handover`], streams in progress may end until `drain` has passed, and the rest is aborted.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send, drain: Duration) {
        let Self { shared, secured, workers, grpc, health, handover, .. } = self;
        let port = Port {
            shared: Arc::clone(&shared),
            services: Services::Picker,
            secured: secured.clone(),
            closing: shared.closing.clone(),
            tasks: TaskTracker::new(),
        };
        let picker = tokio::spawn(port.clone().run(grpc, Arc::clone(&workers)));
        // Health is served during the drain, to report that the picker is not ready.
        let health_port = Port {
            services: Services::Health,
            secured: None,
            closing: shared.abort.clone(),
            tasks: TaskTracker::new(),
            ..port.clone()
        };
        let health = tokio::spawn(health_port.run(health, Arc::clone(&workers)));
        let mut shutdown = std::pin::pin!(shutdown);
        while tokio::time::timeout(CHECK_INTERVAL, shutdown.as_mut()).await.is_err() {
            reload(secured.as_deref(), &shared.door.metrics);
        }
        let end = tokio::time::Instant::now() + drain;
        shared.start_draining();
        port.tasks.close();
        let _ = tokio::time::timeout(handover.min(drain), port.tasks.wait()).await;
        shared.closing.cancel();
        if tokio::time::timeout_at(end, port.tasks.wait()).await.is_err() {
            let requests = shared.door.requests_in_flight();
            tracing::warn!(requests, "drain timeout reached, streams aborted");
        }
        shared.abort.cancel();
        port.tasks.wait().await;
        // Both tasks end with their tokens; a panic in one of them has been logged.
        let _ = (picker.await, health.await);
        let _ = tokio::task::spawn_blocking(move || drop(workers)).await;
    }
}

fn reload(secured: Option<&Secured>, metrics: &Metrics) {
    let Some(result) = secured.and_then(Secured::reload_if_changed) else { return };
    metrics.certificate_reloaded(result.is_ok());
    match result {
        Ok(()) => tracing::info!("certificate reloaded"),
        Err(error) => tracing::warn!(%error, "certificate cannot be reloaded, the old one stays in use"),
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), PickerError> {
    let failed = |source| PickerError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((TcpListener::from_std(listener).map_err(failed)?, local))
}

/// The pool to pick from, by its name, which may be left out where there is only one.
///
/// # Errors
/// [`PickerError::UnknownPool`] or [`PickerError::PoolNotNamed`].
pub fn choose_pool(pools: &[&ObjectName], name: Option<ObjectName>) -> Result<ObjectName, PickerError> {
    let known = || {
        let names: Vec<String> = pools.iter().map(ToString::to_string).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match (name, pools) {
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(PickerError::PoolNotNamed(known())),
        (Some(name), pools) if pools.contains(&&name) => Ok(name),
        (Some(name), _) => Err(PickerError::UnknownPool { name, known: known() }),
    }
}
