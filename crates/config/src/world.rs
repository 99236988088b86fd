//! A validated configuration: the only form of it that other crates see.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pointsman_core::PoolPolicy;

use crate::endpoint::EndpointAddress;
use crate::identity::ObjectName;
use crate::models::ModelRules;
use crate::route::RouteTable;
use crate::settings::{EngineAccess, GatewayPolicy, Timeouts};

/// A whole configuration: listeners, their routes, and the pools that the routes lead to.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Listeners of all Gateways, in order of Gateway and listener.
    pub listeners: Vec<Listener>,
    /// Pools in order of namespace and name. [`PoolIndex`](crate::PoolIndex) refers to them.
    pub pools: Vec<PoolSpec>,
    /// Limits and trust of the gateway.
    pub gateway: GatewayPolicy,
}

/// One listener of a Gateway.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The Gateway that it belongs to.
    pub gateway: ObjectName,
    /// Its name within the Gateway.
    pub name: Arc<str>,
    /// The address to bind.
    pub address: IpAddr,
    /// The port to bind; 0 where `--listen` decides.
    pub port: u16,
    /// The host name that it accepts; `None` for every host name.
    pub hostname: Option<Arc<str>>,
    /// Certificate and key; `None` for HTTP in plaintext.
    pub tls: Option<TlsFiles>,
    /// The routes attached to it.
    pub routes: Arc<RouteTable>,
}

/// PEM files of a certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// One InferencePool with the objects that refer to it.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// Its name.
    pub name: ObjectName,
    /// Placement, saturation limits and retry budget.
    pub policy: PoolPolicy,
    /// Model names, targets and priorities.
    pub models: Arc<ModelRules>,
    /// Its endpoints, sorted and unique.
    pub endpoints: Vec<EndpointAddress>,
    /// Timeouts towards its engines.
    pub timeouts: Timeouts,
    /// TLS and credentials towards its engines.
    pub access: EngineAccess,
}
