//! The peer of a client connection.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;
use pointsman_config::IpNet;

/// A client, as the requests on its connection see it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    peer: IpAddr,
    /// The peer's address as a header value.
    pub(crate) value: HeaderValue,
    secure: bool,
    /// Whether its control headers are trusted. Set per request, since the configuration may change.
    pub(crate) trusted: bool,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, secure: bool) -> Self {
        let peer = peer.ip().to_canonical();
        let value = HeaderValue::try_from(peer.to_string());
        let value = value.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { peer, value, secure, trusted: false }
    }

    /// The same client, trusted if its address is in one of the networks.
    pub(crate) fn with_trust(&self, trusted: &[IpNet]) -> Self {
        let trusted = trusted.iter().any(|net| net.contains(self.peer));
        Self { trusted, ..self.clone() }
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}
