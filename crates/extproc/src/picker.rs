//! The picker as a whole: its ports, from the start to the end of the drain.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::ObjectName;
use pointsman_fleet::{Fleet, Generation};
use pointsman_telemetry::trace::Tracer;
use pointsman_telemetry::{GatewaySample, Metrics};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::connection::Port;
use crate::grpc::Services;
use crate::lanes::Lanes;
use crate::session::SessionOptions;
use crate::shared::Shared;
use crate::tls::{Secured, Security, SecurityError};

/// How often certificate files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a picker is run.
#[derive(Clone, Debug)]
pub struct PickerOptions {
    /// The pool to pick from; may be left out where the configuration has one only.
    pub pool: Option<ObjectName>,
    /// The address of all ports.
    pub bind: IpAddr,
    /// The port of ext_proc; 0 for any that is free.
    pub grpc_port: u16,
    /// The port of the health service in clear text; 0 for any that is free.
    pub health_port: u16,
    /// TLS on the ext_proc port.
    pub security: Security,
    /// How requests are treated. The limits are those of the configuration.
    pub session: SessionOptions,
    /// How long the pool may hold a request.
    pub pick_patience: Duration,
    /// How long a request's body may pause.
    pub body_patience: Duration,
    /// How long streams are still taken after the shutdown began, while health says that they are not welcome: gateways
    /// with several pickers turn to another in that time. Part of the time to drain; over at once where no gateway is
    /// connected.
    pub handover: Duration,
    /// Where spans of requests go.
    pub tracer: Tracer,
    /// Threads that serve connections; 0 for as many as the machine has processors.
    pub threads: usize,
}

impl Default for PickerOptions {
    /// The ports and the security of the extension's picker.
    fn default() -> Self {
        Self {
            pool: None,
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            grpc_port: 9002,
            health_port: 9003,
            security: Security::SelfSigned,
            session: SessionOptions::default(),
            pick_patience: Duration::from_secs(30),
            body_patience: Duration::from_secs(30),
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
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] SecurityError),
    /// The configuration has no such pool.
    #[error("no pool {name}; the configuration has {known}")]
    UnknownPool {
        /// The pool asked for.
        name: ObjectName,
        /// Those that there are.
        known: String,
    },
    /// The pool was not named, and there is not one to take.
    #[error("name the pool to pick from; the configuration has {known}")]
    PoolNotNamed {
        /// Those that there are.
        known: String,
    },
    /// A gateway takes addresses only.
    #[error("endpoint {endpoint} is a host name, and a gateway takes IP addresses only")]
    HostName {
        /// The endpoint.
        endpoint: String,
    },
}

/// A picker whose ports are open. It serves nothing until [`Picker::run`].
#[derive(Debug)]
pub struct Picker {
    shared: Arc<Shared>,
    secured: Option<Arc<Secured>>,
    lanes: Arc<Lanes>,
    grpc: TcpListener,
    health: TcpListener,
    addresses: [SocketAddr; 2],
    handover: Duration,
}

impl Picker {
    /// Opens the ports. Must be called within a tokio runtime, after [`Fleet::apply`].
    ///
    /// # Errors
    /// A port is taken, the certificate cannot be read, or it is not clear which pool is meant.
    pub fn bind(options: PickerOptions, fleet: Fleet, metrics: Metrics) -> Result<Self, PickerError> {
        let PickerOptions { bind, grpc_port, health_port, session, .. } = options;
        let pool = pool_of(&fleet.current(), options.pool)?;
        let secured = Secured::open(options.security)?.map(Arc::new);
        let (grpc, grpc_address) = listen(SocketAddr::new(bind, grpc_port))?;
        let (health, health_address) = listen(SocketAddr::new(bind, health_port))?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let lanes = Arc::new(Lanes::start(threads).map_err(PickerError::Thread)?);
        let patience = (options.pick_patience, options.body_patience);
        let shared = Arc::new(Shared::new(fleet, (metrics, options.tracer), pool, session, patience));
        let (streams, held) = (Arc::clone(&shared.streams), Arc::clone(&shared.held));
        shared.metrics.register_gateway(Box::new(move || GatewaySample {
            requests: streams.used(),
            held_body_bytes: held.used(),
        }));
        let addresses = [grpc_address, health_address];
        Ok(Self { shared, secured, lanes, grpc, health, addresses, handover: options.handover })
    }

    /// Where ext_proc is served.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where health is served.
    #[must_use]
    pub const fn health_addr(&self) -> SocketAddr {
        self.addresses[1]
    }

    /// The pool it picks from.
    #[must_use]
    pub fn pool(&self) -> &ObjectName {
        &self.shared.pool
    }

    /// Serves until `shutdown` comes. Then health says so; after [`PickerOptions::handover`] no new streams are taken;
    /// those under way may end for as long as `drain`, and what is left is cut.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send, drain: Duration) {
        let Self { shared, secured, lanes, grpc, health, handover, .. } = self;
        let port = Port {
            shared: Arc::clone(&shared),
            services: Services::Picker,
            secured: secured.clone(),
            closing: shared.closing.clone(),
            tasks: TaskTracker::new(),
        };
        let picker = tokio::spawn(port.clone().run(grpc, Arc::clone(&lanes)));
        // Health goes on during the drain, to say that no more streams are welcome.
        let watched = Port {
            services: Services::Health,
            secured: None,
            closing: shared.cut.clone(),
            tasks: TaskTracker::new(),
            ..port.clone()
        };
        let health = tokio::spawn(watched.run(health, Arc::clone(&lanes)));
        let mut shutdown = std::pin::pin!(shutdown);
        while tokio::time::timeout(LOOK_EVERY, shutdown.as_mut()).await.is_err() {
            reload(secured.as_deref(), &shared.metrics);
        }
        let end = tokio::time::Instant::now() + drain;
        shared.leave();
        port.tasks.close();
        // Whether the gateways have gone by then or not, it ends.
        let _ = tokio::time::timeout(handover.min(drain), port.tasks.wait()).await;
        shared.closing.cancel();
        if tokio::time::timeout_at(end, port.tasks.wait()).await.is_err() {
            tracing::warn!(streams = shared.streams.used(), "streams are cut: the time to drain is over");
        }
        shared.cut.cancel();
        port.tasks.wait().await;
        // All end by their tokens; a panic in one of them has been logged.
        let _ = (picker.await, health.await);
        let _ = tokio::task::spawn_blocking(move || drop(lanes)).await;
    }
}

fn reload(secured: Option<&Secured>, metrics: &Metrics) {
    match secured.and_then(Secured::reload_if_changed) {
        None => {}
        Some(Ok(())) => {
            metrics.certificate_reloaded(true);
            tracing::info!("the certificate was read again");
        }
        Some(Err(error)) => {
            metrics.certificate_reloaded(false);
            tracing::warn!(%error, "the certificate could not be read again; the old one stays");
        }
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), PickerError> {
    let failed = |source| PickerError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((TcpListener::from_std(listener).map_err(failed)?, local))
}

fn pool_of(generation: &Generation, name: Option<ObjectName>) -> Result<ObjectName, PickerError> {
    let known = || {
        let names: Vec<String> = generation.pools.iter().map(|pool| pool.name().to_string()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let pool = match (name, generation.pools.as_slice()) {
        (None, [only]) => only,
        (None, _) => return Err(PickerError::PoolNotNamed { known: known() }),
        (Some(name), pools) => match pools.iter().find(|pool| *pool.name() == name) {
            Some(pool) => pool,
            None => return Err(PickerError::UnknownPool { name, known: known() }),
        },
    };
    match pool.endpoints().iter().find(|endpoint| endpoint.address.host.parse::<IpAddr>().is_err()) {
        Some(endpoint) => Err(PickerError::HostName { endpoint: endpoint.authority().to_owned() }),
        None => Ok(pool.name().clone()),
    }
}
