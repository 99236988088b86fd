//! What a set of manifests amounts to once it is valid: the only form the rest of Pointsman sees.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Liveness, PoolPolicy};

use crate::models::ModelRules;
use crate::route::RouteTable;

/// A whole configuration: what to listen on, where requests lead, and the pools they lead to.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Listeners of all Gateways, in order of Gateway and listener.
    pub listeners: Vec<Listener>,
    /// Pools, in order of namespace/name. Routes and endpoints refer to them by [`PoolIndex`].
    pub pools: Vec<PoolSpec>,
    /// Gateway-wide limits and trust.
    pub gateway: GatewayPolicy,
}

/// Position of a pool in [`World::pools`]. Valid for one generation of the configuration only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub usize);

/// The namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace; `default` where the manifest names none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One listener of a Gateway.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The Gateway it belongs to.
    pub gateway: ObjectName,
    /// Its name within the Gateway.
    pub name: Arc<str>,
    /// The port to bind; 0 where only `--listen` says.
    pub port: u16,
    /// Host names it takes; `None` for all.
    pub hostname: Option<Arc<str>>,
    /// Certificate and key; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where its requests lead.
    pub routes: Arc<RouteTable>,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// One InferencePool with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// Its name.
    pub name: ObjectName,
    /// How endpoints are chosen, and when they are saturated.
    pub policy: PoolPolicy,
    /// Public names, targets and priorities.
    pub models: Arc<ModelRules>,
    /// Its endpoints, in order, without repeats.
    pub endpoints: Vec<EndpointAddress>,
    /// Time budgets towards its engines.
    pub timeouts: Timeouts,
    /// How to speak to its engines over TLS and with which credentials.
    pub access: EngineAccess,
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress {
    /// Host name or IP address.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// The engine behind it, where the manifests say; else it is detected from its metrics page.
    pub engine: Option<EngineKind>,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP over TLS, the version by ALPN.
    Https,
    /// HTTP/2 in clear text with prior knowledge (`kubernetes.io/h2c`).
    H2c,
}

/// Model servers whose metrics pages we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server (`trtllm-serve`).
    TrtllmServe,
    /// Triton with the TensorRT-LLM backend.
    Triton,
}

/// Time budgets towards an engine, each apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request written to the first byte of the body.
    pub first_byte: Duration,
    /// [`Liveness::idle`].
    pub idle: Duration,
    /// [`Liveness::idle_limit`].
    pub idle_limit: Duration,
    /// How long an unused connection to an engine is kept; below the engine's own limit (uvicorn's is 5 s).
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let Liveness { idle, idle_limit } = Liveness::default();
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_mins(5),
            idle,
            idle_limit,
            keep_alive: Duration::from_secs(4),
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

/// How to reach a pool's engines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineAccess {
    /// Certificate authorities to trust instead of the system's; a PEM file.
    pub ca: Option<PathBuf>,
    /// A file with the key that engines want as `authorization: Bearer`; it replaces the client's.
    pub api_key: Option<PathBuf>,
}

/// Limits and trust that hold for the whole gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPolicy {
    /// Peers whose objective, fairness and deadline headers are believed.
    pub trusted_sources: Vec<IpNet>,
    /// The longest request body, in bytes.
    pub max_body_bytes: u64,
    /// The most bytes of held request bodies at one time.
    pub max_held_bytes: u64,
    /// The most requests in flight at one time.
    pub max_requests: u32,
}

impl Default for GatewayPolicy {
    fn default() -> Self {
        Self {
            trusted_sources: Vec::new(),
            max_body_bytes: 32 << 20,
            max_held_bytes: 1 << 30,
            max_requests: 20_000,
        }
    }
}

/// An address range in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    /// Any address of the range.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl IpNet {
    /// Whether `address` lies in the range. IPv4 addresses mapped into IPv6 count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix));
                (net.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix));
                (net.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
