//! The part of a request that routes match.

use http::{HeaderMap, Method};

/// The part of a request that routes match.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// The host without port; empty where the client sent none.
    pub host: &'a str,
    /// The path without query.
    pub path: &'a str,
    /// The query without question mark.
    pub query: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The headers. The gateway has already set `x-gateway-model-name` where the body names a model.
    pub headers: &'a HeaderMap,
}
