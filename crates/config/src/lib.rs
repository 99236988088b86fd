//! Manifests to validated core types: every mistake in one run, with its position.
//!
//! What this crate must not know: files and directories (it is given texts with their names), sockets, clocks.

pub mod models;
pub mod route;
mod world;

pub use world::{
    AppProtocol, EndpointAddress, EngineAccess, EngineKind, GatewayPolicy, IpNet, Listener, ObjectName,
    PoolIndex, PoolSpec, Timeouts, TlsFiles, World,
};
