//! The outcome of routing.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::identity::PoolIndex;

/// The action of the route that matches a request.
#[derive(Clone, Debug)]
pub enum RouteAction<'a> {
    /// Forward the request to a pool.
    Forward(Forward<'a>),
    /// Respond with a redirect.
    Redirect(Redirect),
    /// Respond with 500, as the Gateway API requires: the backend does not exist, or all weights are zero.
    NoBackend,
}

/// A request to be forwarded to a pool.
#[derive(Clone, Debug)]
pub struct Forward<'a> {
    /// The pool, drawn from the rule's weighted backends.
    pub pool: PoolIndex,
    /// The filters of the rule, then those of the backend.
    pub filters: &'a [Filter],
    /// Timeout of the whole request, where the rule sets one.
    pub request_timeout: Option<Duration>,
    /// Timeout of one attempt, where the rule sets one.
    pub backend_timeout: Option<Duration>,
    /// Whether the rule matched the path exactly. Only then may a request reach an engine's administration paths.
    pub names_path_exactly: bool,
    /// The prefix that matched, without trailing slash, for `ReplacePrefixMatch`; empty for other matches.
    pub matched_prefix: &'a str,
}

/// A modification of a request or its response by a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Modifies the request headers.
    RequestHeaders(HeaderChange),
    /// Modifies the response headers.
    ResponseHeaders(HeaderChange),
    /// Rewrites the host and path sent to the engine.
    UrlRewrite {
        /// The new host.
        hostname: Option<Arc<str>>,
        /// The new path.
        path: Option<PathRewrite>,
    },
}

/// Header modifications, applied in the order set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Headers to replace.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Header values to append.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
}

/// A path rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replaces the whole path.
    Full(Arc<str>),
    /// Replaces the prefix that matched.
    Prefix(Arc<str>),
}

/// A redirect response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The value of the `location` header.
    pub location: String,
}
