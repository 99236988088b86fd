//! An endpoint of a pool, as front doors use it.

use std::net::IpAddr;
use std::sync::Arc;

use pointsman_config::{EndpointAddress, MetricsPage, Timeouts};
use pointsman_core::EndpointId;
use pointsman_telemetry::{EndpointSeries, PoolSeries};

use crate::activity::Activity;
use crate::connect::Connector;
use crate::models::ServedModels;

/// An endpoint with the settings of one pool. Two pools that select the same endpoint have a value each, with the same ID
/// and the same [`Activity`].
#[derive(Debug)]
pub struct PoolEndpoint {
    /// Its number, unique within the fleet for the lifetime of the process.
    pub id: EndpointId,
    /// Its address and protocol.
    pub address: EndpointAddress,
    /// The pool's timeouts.
    pub timeouts: Timeouts,
    /// The state of its streams and probes.
    pub activity: Arc<Activity>,
    /// `host:port`, IPv6 addresses in brackets.
    pub authority: Arc<str>,
    /// The connector with the pool's certificate authorities and API key.
    pub connector: Arc<Connector>,
    /// The models that its `/v1/models` listed last.
    pub served: Arc<ServedModels>,
    pub(crate) series: Arc<EndpointSeries>,
    pub(crate) pool: Arc<PoolSeries>,
}

impl PoolEndpoint {
    /// The same endpoint at the port and by the protocol of its metrics page; `None` where they are its own.
    pub(crate) fn at(&self, page: &MetricsPage) -> Option<Self> {
        let port = page.port.unwrap_or(self.address.port);
        let protocol = page.protocol.unwrap_or(self.address.protocol);
        if (port, protocol) == (self.address.port, self.address.protocol) {
            return None;
        }
        let address = EndpointAddress { port, protocol, ..self.address.clone() };
        Some(Self {
            id: self.id,
            timeouts: self.timeouts,
            activity: Arc::clone(&self.activity),
            authority: authority(&address).into(),
            address,
            connector: Arc::clone(&self.connector),
            served: Arc::clone(&self.served),
            series: Arc::clone(&self.series),
            pool: Arc::clone(&self.pool),
        })
    }

    /// Its `ip:port` for a gateway, which accepts no host names: that at which it was reached last, where its address is a
    /// host name. Until it is reached, [`PoolEndpoint::authority`].
    #[must_use]
    pub fn destination(&self) -> String {
        let is_name = || self.address.host.parse::<IpAddr>().is_err();
        match self.activity.reached() {
            Some(reached) if is_name() => reached.to_string(),
            Some(_) | None => self.authority.to_string(),
        }
    }
}

/// `host:port` of an address, IPv6 addresses in brackets.
#[must_use]
pub fn authority(address: &EndpointAddress) -> String {
    let EndpointAddress { host, port, .. } = address;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
