//! The gateway and its sockets, which follow the listeners of the configuration in force.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::{Listener, World};
use pointsman_door::Door;
use pointsman_door::certificates::TlsError;
use pointsman_fleet::Fleet;
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::Tracer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bound_port::BoundPort;
use crate::listener::{Acceptor, bind, bind_at};
use crate::shared::Shared;
use crate::tls::Certificates;

/// Interval at which the generation of the configuration is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Interval of housekeeping, in multiples of [`CHECK_INTERVAL`].
const HOUSEKEEPING_CHECKS: u32 = 5;

/// Options of a gateway besides its configuration.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Address of one socket for all plain HTTP listeners, which are then told apart by host name. Listeners with TLS keep
    /// their own ports.
    pub listen: Option<SocketAddr>,
    /// Destination of spans.
    pub tracer: Tracer,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A socket cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A listener's certificate cannot be loaded.
    #[error("listener on port {port}: {source}")]
    Tls {
        /// The port.
        port: u16,
        /// The cause.
        source: TlsError,
    },
    /// TLS and plain listeners share a port.
    #[error("port {0} has listeners with and without TLS")]
    MixedPort(u16),
    /// There is no listener.
    #[error("no listener: the manifests have no Gateway with a port, and no --listen address is given")]
    NoListener,
}

/// A gateway whose sockets are open. It accepts connections from [`Gateway::run`] on.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listen: Option<SocketAddr>,
    /// Generation of the configuration that the sockets were opened for.
    generation: u64,
    sockets: BTreeMap<BoundPort, OpenSocket>,
    /// The last error that was logged, so that it is logged once.
    last_error: Option<String>,
    /// A socket could not be opened, perhaps because one that closes still has its port.
    incomplete: bool,
}

#[derive(Debug)]
struct OpenSocket {
    address: SocketAddr,
    /// The listeners' address.
    bound_to: IpAddr,
    /// `None` once connections are accepted.
    listener: Option<TcpListener>,
    certificates: Option<Arc<Certificates>>,
    closing: CancellationToken,
}

impl Gateway {
    /// Opens the sockets of the configuration in force.
    ///
    /// # Errors
    /// A port cannot be opened, a certificate cannot be loaded, or there is no listener.
    pub fn bind(options: GatewayOptions, fleet: Fleet, metrics: Metrics) -> Result<Self, GatewayError> {
        let GatewayOptions { listen, tracer } = options;
        let generation = fleet.current();
        let shared = Arc::new(Shared::new(Door::new(fleet, metrics, tracer)));
        let (number, sockets) = (generation.number, BTreeMap::new());
        let mut gateway =
            Self { shared, listen, generation: number, sockets, last_error: None, incomplete: false };
        for (bound_port, listeners) in wanted(&generation.world, listen) {
            let open = gateway.open(bound_port, &listeners)?;
            gateway.sockets.insert(bound_port, open);
        }
        if gateway.sockets.is_empty() {
            return Err(GatewayError::NoListener);
        }
        Ok(gateway)
    }

    /// The addresses of the sockets, that of [`GatewayOptions::listen`] first, then by port.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.values().map(|open| open.address).collect()
    }

    /// Serves until `shutdown` is ready with a handover time, in which load balancers notice that the gateway is not ready
    /// and it serves as before. Then it closes the sockets. Requests in flight may end until `drain` has passed since the
    /// beginning of the handover; the rest is aborted.
    pub async fn run(mut self, shutdown: impl Future<Output = Duration>, drain: Duration) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        let mut checks = 0_u32;
        let watched = Arc::clone(&self.shared);
        let watch = tokio::spawn(async move {
            watched.readers.run(|| watched.door.fleet.current().world.gateway.client_timeouts.write).await;
        });
        self.accept();
        let handover = loop {
            tokio::select! {
                handover = shutdown.as_mut() => break handover.min(drain),
                _ = ticks.tick() => {}
            }
            let now = self.shared.door.fleet.current().number;
            if std::mem::replace(&mut self.generation, now) != now {
                self.reconcile();
            }
            checks = checks.wrapping_add(1);
            if checks.is_multiple_of(HOUSEKEEPING_CHECKS) {
                self.housekeep();
                if self.incomplete {
                    self.reconcile();
                }
            }
        };
        tokio::time::sleep(handover).await;
        self.stop(drain.saturating_sub(handover)).await;
        watch.abort();
    }

    async fn stop(self, drain: Duration) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(drain, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                requests = self.shared.door.requests_in_flight(),
                "drain timeout reached, requests aborted"
            );
        }
        self.shared.abort.cancel();
        self.shared.tasks.wait().await;
    }

    fn open(&self, port: BoundPort, listeners: &[&Listener]) -> Result<OpenSocket, GatewayError> {
        let failed = |address: String| |source| GatewayError::Listen { address, source };
        let (listener, number) = match (port, self.listen) {
            (BoundPort::AllPlain, Some(address)) => {
                (bind(address).map_err(failed(address.to_string()))?, address.port())
            }
            (BoundPort::AllPlain, None) => return Err(GatewayError::NoListener),
            (BoundPort::Port(number), _) => {
                let address = SocketAddr::new(address_of(listeners), number);
                (bind_at(address).map_err(failed(address.to_string()))?, number)
            }
        };
        let address = listener.local_addr().map_err(failed(format!("port {number}")))?;
        let certificates = certificates(port, listeners)?;
        let closing = self.shared.closing.child_token();
        let bound_to = address_of(listeners);
        Ok(OpenSocket { address, bound_to, listener: Some(listener), certificates, closing })
    }

    /// Starts to accept connections on newly opened sockets.
    fn accept(&mut self) {
        for (port, open) in &mut self.sockets {
            let Some(listener) = open.listener.take() else { continue };
            let tls = match open.certificates.as_ref().map(Certificates::server_config).transpose() {
                Ok(tls) => tls,
                Err(error) => {
                    tracing::error!(%error, address = %open.address, "TLS setup failed, the port stays closed");
                    continue;
                }
            };
            let (shared, closing) = (Arc::clone(&self.shared), open.closing.clone());
            self.shared.tasks.spawn(Acceptor { shared, port: *port, tls, closing }.run(listener));
        }
    }

    /// Opens and closes sockets to match the configuration in force. A socket that cannot be opened is logged once, and
    /// tried again once a second.
    fn reconcile(&mut self) {
        let generation = self.shared.door.fleet.current();
        let wanted = wanted(&generation.world, self.listen);
        self.sockets.retain(|port, open| {
            let stays = wanted.get(port).is_some_and(|listeners| {
                open.certificates.as_ref().is_none_or(|held| held.serves(listeners))
                    && open.certificates.is_some() == listeners.iter().any(|listener| listener.tls.is_some())
                    && (*port == BoundPort::AllPlain || open.bound_to == address_of(listeners))
            });
            if !stays {
                tracing::info!(address = %open.address, "no longer listening");
                open.closing.cancel();
            }
            stays
        });
        self.incomplete = false;
        for (port, listeners) in &wanted {
            if self.sockets.contains_key(port) {
                continue;
            }
            match self.open(*port, listeners) {
                Ok(open) => {
                    tracing::info!(address = %open.address, "listening");
                    self.sockets.insert(*port, open);
                }
                Err(error) => {
                    self.incomplete = true;
                    let text = error.to_string();
                    if self.last_error.as_ref() != Some(&text) {
                        tracing::error!(%error, "a listener of the new configuration cannot be opened");
                        self.last_error = Some(text);
                    }
                }
            }
        }
        self.accept();
    }

    /// Closes idle connections to engines, and reloads certificates whose files changed.
    fn housekeep(&self) {
        let generation = self.shared.door.fleet.current();
        let known = |endpoint| generation.pools.iter().any(|pool| pool.endpoint(endpoint).is_some());
        self.shared.upstreams.trim(known);
        for open in self.sockets.values() {
            let Some(result) = open.certificates.as_ref().and_then(|held| held.reload_if_changed()) else {
                continue;
            };
            self.shared.door.metrics.certificate_reloaded(result.is_ok());
            match result {
                Ok(()) => tracing::info!(address = %open.address, "certificates reloaded"),
                Err(error) => {
                    tracing::error!(%error, "certificates cannot be reloaded, the old ones stay in use");
                }
            }
        }
    }
}

/// The address of the listeners of one port, which all have the same.
fn address_of(listeners: &[&Listener]) -> IpAddr {
    listeners.first().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |listener| listener.address)
}

/// The sockets that a configuration needs, each with the listeners that it serves.
fn wanted(world: &World, listen: Option<SocketAddr>) -> BTreeMap<BoundPort, Vec<&Listener>> {
    let mut wanted: BTreeMap<BoundPort, Vec<&Listener>> = BTreeMap::new();
    if listen.is_some() {
        wanted.insert(BoundPort::AllPlain, Vec::new());
    }
    for listener in &world.listeners {
        let port = match (listen, &listener.tls, listener.port) {
            (Some(_), None, _) => BoundPort::AllPlain,
            (_, _, 0) => continue,
            (_, _, number) => BoundPort::Port(number),
        };
        wanted.entry(port).or_default().push(listener);
    }
    wanted
}

fn certificates(port: BoundPort, listeners: &[&Listener]) -> Result<Option<Arc<Certificates>>, GatewayError> {
    let BoundPort::Port(port) = port else { return Ok(None) };
    let with_tls = listeners.iter().filter(|listener| listener.tls.is_some()).count();
    if with_tls == 0 {
        return Ok(None);
    }
    if with_tls != listeners.len() {
        return Err(GatewayError::MixedPort(port));
    }
    let loaded = Certificates::load(listeners).map_err(|source| GatewayError::Tls { port, source })?;
    Ok(Some(loaded))
}
