//! Redirects.

use std::sync::Arc;

use super::RouteRequest;
use super::action::{PathRewrite, Redirect};

/// A `RequestRedirect` filter. Parts that are `None` are taken from the request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RedirectRule {
    pub(crate) https: Option<bool>,
    pub(crate) hostname: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<PathRewrite>,
    pub(crate) status: u16,
}

/// A redirect with the protocol and port of its listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerRedirect {
    pub(crate) rule: RedirectRule,
    pub(crate) listener_https: bool,
    pub(crate) listener_port: u16,
}

impl ListenerRedirect {
    /// The redirect response; `prefix` is the path prefix that matched.
    pub(super) fn response(&self, request: &RouteRequest<'_>, prefix: &str) -> Redirect {
        let RedirectRule { https, hostname, port, path, status } = &self.rule;
        let new_path = match path {
            None => request.path.to_owned(),
            Some(PathRewrite::Full(path)) => path.to_string(),
            Some(PathRewrite::Prefix(new)) => {
                let rest = request.path.get(prefix.len()..).unwrap_or_default().trim_start_matches('/');
                let new = new.trim_end_matches('/');
                if rest.is_empty() && !new.is_empty() { new.to_owned() } else { format!("{new}/{rest}") }
            }
        };
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let host = hostname.as_deref().unwrap_or(request.host);
        if host.is_empty() {
            return Redirect { status: *status, location: format!("{new_path}{query}") };
        }
        let secure = https.unwrap_or(self.listener_https);
        let default_port = if secure { 443 } else { 80 };
        let port = port.unwrap_or(if https.is_some() { default_port } else { self.listener_port });
        let port = if port == default_port || port == 0 { String::new() } else { format!(":{port}") };
        let scheme = if secure { "https" } else { "http" };
        Redirect { status: *status, location: format!("{scheme}://{host}{port}{new_path}{query}") }
    }
}
