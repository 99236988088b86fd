//! Settings of a pool's engines and of the gateway.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use pointsman_core::Liveness;

/// Timeouts towards an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS handshake included.
    pub connect: Duration,
    /// From the request sent to the first output: the first byte of the response body, or the first token of a stream that
    /// began before.
    pub first_byte: Duration,
    /// [`Liveness::idle`].
    pub idle: Duration,
    /// [`Liveness::idle_limit`].
    pub idle_limit: Duration,
    /// Lifetime of an unused connection to an engine; below the engine's own limit (5 s in uvicorn).
    pub keep_alive: Duration,
    /// Silence of an event stream after which a comment is sent to the client, for proxies and clients that give up silent
    /// connections; none where it is not set.
    pub heartbeat: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let Liveness { idle, idle_limit } = Liveness::default();
        Self {
            connect: Duration::from_secs(2),
            // As long as the clients of OpenAI wait.
            first_byte: Duration::from_mins(10),
            idle,
            idle_limit,
            keep_alive: Duration::from_secs(4),
            heartbeat: None,
        }
    }
}

impl Timeouts {
    /// The timeouts of the liveness rule.
    #[must_use]
    pub const fn liveness(&self) -> Liveness {
        Liveness { idle: self.idle, idle_limit: self.idle_limit }
    }
}

/// Timeouts towards a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the connection, or a later request's first byte, to the end of the request's head.
    pub head: Duration,
    /// Total time for which a request's body may be waited for. The time that an engine takes to read it does not count.
    pub body: Duration,
    /// Maximum pause within a request's body.
    pub body_idle: Duration,
    /// Time for the client to take any byte of a response.
    pub write: Duration,
    /// Lifetime of a connection without a request.
    pub keep_alive: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_mins(5),
            body_idle: Duration::from_secs(30),
            write: Duration::from_mins(1),
            // A load balancer must be the first to close, or it sends requests on connections that close at that moment. AWS
            // keeps them for 60 s by default, Google Cloud for 600 s.
            keep_alive: Duration::from_secs(620),
        }
    }
}

/// TLS and credentials towards a pool's engines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineAccess {
    /// PEM file with the certificates to trust instead of the system's authorities: authorities, and engines' own.
    pub ca: Option<PathBuf>,
    /// Whether the engines' certificates are not verified.
    pub insecure_skip_verify: bool,
    /// File with the API key, sent in place of the client's.
    pub api_key: Option<PathBuf>,
    /// The header of the API key.
    pub api_key_header: ApiKeyHeader,
}

/// The header of an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiKeyHeader {
    /// `authorization: Bearer KEY`.
    #[default]
    Authorization,
    /// `x-api-key: KEY`.
    XApiKey,
}

impl ApiKeyHeader {
    /// Every header by its name in manifests.
    pub const ALL: [(&str, Self); 2] = [("authorization", Self::Authorization), ("x-api-key", Self::XApiKey)];
}

/// Limits and trust of the whole gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPolicy {
    /// Peers whose objective, fairness and deadline headers are trusted.
    pub trusted_sources: Vec<IpNet>,
    /// Maximum length of a request body in bytes.
    pub max_body_bytes: u64,
    /// Maximum bytes of buffered request bodies at any time.
    pub max_held_bytes: u64,
    /// Maximum number of requests in flight.
    pub max_requests: u32,
    /// Timeouts towards clients.
    pub client_timeouts: ClientTimeouts,
}

impl Default for GatewayPolicy {
    fn default() -> Self {
        Self {
            trusted_sources: Vec::new(),
            max_body_bytes: 32 << 20,
            max_held_bytes: 1 << 30,
            max_requests: 20_000,
            client_timeouts: ClientTimeouts::default(),
        }
    }
}

/// An address range in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    /// Any address of the range.
    pub address: IpAddr,
    /// Number of leading bits that all addresses of the range share.
    pub prefix: u8,
}

impl IpNet {
    /// Parses CIDR notation such as `10.0.0.0/8`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let is_decimal = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| is_decimal && *prefix <= max)?;
        Some(Self { address, prefix })
    }

    /// Whether the range contains `address`. IPv4 addresses mapped into IPv6 count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (difference, bits) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => (u128::from(net.to_bits() ^ ip.to_bits()), 32),
            (IpAddr::V6(net), IpAddr::V6(ip)) => (net.to_bits() ^ ip.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let host_bits = u32::saturating_sub(bits, self.prefix.into());
        difference.checked_shr(host_bits).unwrap_or(0) == 0
    }
}
