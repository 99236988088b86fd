//! Routes: from a request's head to a pool, by the precedence rules of the Gateway API.

mod action;
mod redirect;
mod route_match;
mod table;

use http::{HeaderMap, Method};

pub use action::{Filter, Forward, HeaderChange, PathRewrite, Redirect, RouteAction};
pub(crate) use redirect::{ListenerRedirect, RedirectRule};
pub(crate) use route_match::{PathRule, Pattern, RouteMatch, ValueRule};
pub use table::RouteTable;
pub(crate) use table::{Action, Entry, HostPattern, ResolvedBackend};

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
