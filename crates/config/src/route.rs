//! Routes: from a request's head to the pool it leads to, by the Gateway API's rules of precedence.

mod table;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use table::RouteTable;
pub(crate) use table::{Action, Choice, Entry, HostPattern, RedirectTo, TableBuilder};

use crate::world::PoolIndex;

/// What a route looks at.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// The host, without port; empty where the client named none.
    pub host: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// The query, without question mark.
    pub query: &'a str,
    /// The method.
    pub method: &'a Method,
    /// Headers, with `x-gateway-model-name` already set by the gateway where the body names a model.
    pub headers: &'a HeaderMap,
}

/// Where a request leads.
#[derive(Clone, Debug)]
pub enum RouteAction<'a> {
    /// To a pool.
    Forward(Forward<'a>),
    /// To another place, by answer.
    Redirect(Redirect),
    /// To a backend that does not exist or has weight zero throughout: 500, as the Gateway API says.
    NoBackend,
}

/// A match that leads to a pool.
#[derive(Clone, Debug)]
pub struct Forward<'a> {
    /// The pool drawn among the rule's weighted backends.
    pub pool: PoolIndex,
    /// The rule's filters, with those of the backend behind them.
    pub filters: &'a [Filter],
    /// The whole request's time budget, where the rule sets one.
    pub request_timeout: Option<Duration>,
    /// One attempt's time budget, where the rule sets one.
    pub backend_timeout: Option<Duration>,
    /// The rule's path match was exact, so an engine's administration path is meant.
    pub names_path_exactly: bool,
    /// The prefix that matched, for `ReplacePrefixMatch`, without slash at its end; empty where none did.
    pub matched_prefix: &'a str,
}

/// A change that a route makes to a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// To the request's headers.
    RequestHeaders(HeaderChange),
    /// To the answer's headers.
    ResponseHeaders(HeaderChange),
    /// To the host and path that the engine sees.
    UrlRewrite {
        /// The new host.
        hostname: Option<Arc<str>>,
        /// The new path.
        path: Option<PathRewrite>,
    },
}

/// Header changes, applied in the order set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Replace.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Remove.
    pub remove: Vec<HeaderName>,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path.
    Full(Arc<str>),
    /// The prefix that matched.
    Prefix(Arc<str>),
}

/// A redirect answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The value of `location`.
    pub location: String,
}
