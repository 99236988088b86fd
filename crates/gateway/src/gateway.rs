//! The gateway: the sockets that the listeners in force need, opened and closed as the configuration changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::{Listener, World};
use pointsman_fleet::Fleet;
use pointsman_fleet::certificates::TlsError;
use pointsman_telemetry::trace::Tracer;
use pointsman_telemetry::{GatewaySample, Metrics};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::entrance::Entrance;
use crate::listener::{Acceptor, bind, bind_any};
use crate::shared::Shared;
use crate::tls::Certificates;

/// How often listeners are compared with the configuration in force.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often idle connections are closed and certificate files looked at, in such looks.
const TRIM_EVERY: u32 = 5;

/// How a gateway is run, apart from its configuration.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// One socket for all plain HTTP listeners, whatever their ports; the listener is chosen by host name. Listeners
    /// with TLS keep their own ports.
    pub listen: Option<SocketAddr>,
    /// Where spans go.
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
        /// Why.
        source: std::io::Error,
    },
    /// A listener's certificate cannot be used.
    #[error("listener on port {port}: {source}")]
    Tls {
        /// The port.
        port: u16,
        /// Why.
        source: TlsError,
    },
    /// TLS and plain listeners cannot share a port.
    #[error("port {port} has listeners with and without TLS")]
    MixedPort {
        /// The port.
        port: u16,
    },
    /// There is nothing to listen on.
    #[error("no listener: the manifests hold no Gateway with a port, and no address was given")]
    NoListener,
}

/// A gateway whose sockets are open. It serves nothing until [`Gateway::run`].
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listen: Option<SocketAddr>,
    /// The configuration that the sockets were opened for.
    generation: u64,
    sockets: BTreeMap<Entrance, Open>,
    /// The last complaint about a reload, so that it is logged once.
    complaint: Option<String>,
}

/// An open socket.
#[derive(Debug)]
struct Open {
    address: SocketAddr,
    /// Until the gateway runs.
    listener: Option<TcpListener>,
    certificates: Option<Arc<Certificates>>,
    closing: CancellationToken,
}

impl Gateway {
    /// Opens the sockets that the fleet's configuration in force needs.
    ///
    /// # Errors
    /// When a port is taken or may not be used, a certificate cannot be read, or there is nothing to listen on.
    pub fn bind(options: GatewayOptions, fleet: Fleet, metrics: Metrics) -> Result<Self, GatewayError> {
        let GatewayOptions { listen, tracer } = options;
        let generation = fleet.current();
        let shared = Arc::new(Shared::new(fleet, metrics, tracer));
        let (requests, held) = (Arc::clone(&shared.requests), Arc::clone(&shared.held));
        shared.metrics.register_gateway(Box::new(move || GatewaySample {
            requests: requests.used(),
            held_body_bytes: held.used(),
        }));
        let mut gateway =
            Self { shared, listen, generation: generation.number, sockets: BTreeMap::new(), complaint: None };
        for (entrance, listeners) in wanted(&generation.world, listen) {
            let open = gateway.open(entrance, &listeners)?;
            gateway.sockets.insert(entrance, open);
        }
        if gateway.sockets.is_empty() {
            return Err(GatewayError::NoListener);
        }
        Ok(gateway)
    }

    /// The addresses listened on, that of [`GatewayOptions::listen`] first, then by port.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.values().map(|open| open.address).collect()
    }

    /// Serves until `shutdown` comes, then takes no new connections, lets requests under way end for as long as
    /// `drain`, and cuts what is left.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, drain: Duration) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut looks = 0_u32;
        self.accept();
        loop {
            tokio::select! {
                () = shutdown.as_mut() => break,
                _ = ticks.tick() => {}
            }
            let now = self.shared.fleet.current().number;
            if std::mem::replace(&mut self.generation, now) != now {
                self.reconcile();
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(TRIM_EVERY) {
                self.housekeep();
            }
        }
        self.stop(drain).await;
    }

    async fn stop(self, drain: Duration) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(drain, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                requests = self.shared.requests.used(),
                "requests were cut off: the time to drain is over"
            );
        }
        self.shared.cut.cancel();
        self.shared.tasks.wait().await;
    }

    fn open(&self, entrance: Entrance, listeners: &[&Listener]) -> Result<Open, GatewayError> {
        let failed = |address: String| |source| GatewayError::Listen { address, source };
        let (listener, port) = match (entrance, self.listen) {
            (Entrance::EveryPlain, Some(address)) => {
                (bind(address).map_err(failed(address.to_string()))?, address.port())
            }
            (Entrance::EveryPlain, None) => return Err(GatewayError::NoListener),
            (Entrance::Port(port), _) => (bind_any(port).map_err(failed(format!("port {port}")))?, port),
        };
        let address = listener.local_addr().map_err(failed(format!("port {port}")))?;
        let certificates = certificates(entrance, listeners)?;
        Ok(Open {
            address,
            listener: Some(listener),
            certificates,
            closing: self.shared.closing.child_token(),
        })
    }

    /// Starts to accept on the sockets that do not yet.
    fn accept(&mut self) {
        for (entrance, open) in &mut self.sockets {
            let Some(listener) = open.listener.take() else { continue };
            let tls = match open.certificates.as_ref().map(Certificates::server_config).transpose() {
                Ok(tls) => tls,
                Err(error) => {
                    tracing::error!(%error, address = %open.address, "no TLS, so the port stays closed");
                    continue;
                }
            };
            let acceptor = Acceptor {
                shared: Arc::clone(&self.shared),
                entrance: *entrance,
                tls,
                closing: open.closing.clone(),
            };
            self.shared.tasks.spawn(acceptor.run(listener));
        }
    }

    /// Opens and closes sockets as the configuration in force wants it. What cannot be opened is logged and tried
    /// again at the next change.
    fn reconcile(&mut self) {
        let generation = self.shared.fleet.current();
        let wanted = wanted(&generation.world, self.listen);
        self.sockets.retain(|entrance, open| {
            let stays = wanted.get(entrance).is_some_and(|listeners| {
                open.certificates.as_ref().is_none_or(|held| held.serves(listeners))
                    && open.certificates.is_some() == listeners.iter().any(|listener| listener.tls.is_some())
            });
            if !stays {
                tracing::info!(address = %open.address, "no longer listening");
                open.closing.cancel();
            }
            stays
        });
        for (entrance, listeners) in &wanted {
            if self.sockets.contains_key(entrance) {
                continue;
            }
            match self.open(*entrance, listeners) {
                Ok(open) => {
                    tracing::info!(address = %open.address, "listening");
                    self.sockets.insert(*entrance, open);
                }
                Err(error) => {
                    let complaint = error.to_string();
                    if self.complaint.as_ref() != Some(&complaint) {
                        tracing::error!(%error, "a listener of the new configuration is not in force");
                        self.complaint = Some(complaint);
                    }
                }
            }
        }
        self.accept();
    }

    /// Closes idle connections to engines, and reads certificates again whose files changed.
    fn housekeep(&self) {
        let generation = self.shared.fleet.current();
        let known = |endpoint| generation.pools.iter().any(|pool| pool.endpoint(endpoint).is_some());
        self.shared.upstreams.trim(known);
        for open in self.sockets.values() {
            let Some(result) = open.certificates.as_ref().and_then(|held| held.reload_if_changed()) else {
                continue;
            };
            self.shared.metrics.certificate_reloaded(result.is_ok());
            match result {
                Ok(()) => tracing::info!(address = %open.address, "certificates read again"),
                Err(error) => tracing::error!(%error, "the certificates before stay in force"),
            }
        }
    }
}

/// The sockets that a configuration needs, with their listeners.
fn wanted(world: &World, listen: Option<SocketAddr>) -> BTreeMap<Entrance, Vec<&Listener>> {
    let mut wanted: BTreeMap<Entrance, Vec<&Listener>> = BTreeMap::new();
    if listen.is_some() {
        wanted.insert(Entrance::EveryPlain, Vec::new());
    }
    for listener in &world.listeners {
        let entrance = match (listen, &listener.tls, listener.port) {
            (Some(_), None, _) => Entrance::EveryPlain,
            (_, _, 0) => continue,
            (_, _, port) => Entrance::Port(port),
        };
        wanted.entry(entrance).or_default().push(listener);
    }
    wanted
}

fn certificates(
    entrance: Entrance,
    listeners: &[&Listener],
) -> Result<Option<Arc<Certificates>>, GatewayError> {
    let Entrance::Port(port) = entrance else { return Ok(None) };
    let with_tls = listeners.iter().filter(|listener| listener.tls.is_some()).count();
    if with_tls == 0 {
        return Ok(None);
    }
    if with_tls != listeners.len() {
        return Err(GatewayError::MixedPort { port });
    }
    let loaded = Certificates::load(listeners).map_err(|source| GatewayError::Tls { port, source })?;
    Ok(Some(loaded))
}
