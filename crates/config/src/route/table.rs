//! The route table of a listener: lookup by host, then by path, then a scan of the few matches of that path.

mod any_model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::RouteRequest;
use super::action::{Filter, Forward, RouteAction};
use super::redirect::ListenerRedirect;
use super::route_match::{PathRule, RouteMatch};
use crate::identity::PoolIndex;
use crate::weighted::Weighted;

/// The routes of one listener, in order of precedence.
///
/// The precedence is that of the Gateway API: host name (exact, then the longest wildcard), path (exact, then the
/// longest prefix, then regular expressions, then the prefix `/`), method, number of headers, number of query
/// parameters, the older route, namespace and name, order of rules. The API leaves the rank of regular expressions
/// open; after the prefix `/` none would ever match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    exact_hosts: BTreeMap<Arc<str>, Paths>,
    /// By the suffix after the star, such as `.example.com`.
    wildcard_hosts: BTreeMap<Arc<str>, Paths>,
    any_host: Paths,
    matches_on_model: bool,
}

/// The entries of one host name, by path.
#[derive(Clone, Debug, Default, PartialEq)]
struct Paths {
    exact: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Without trailing slash; never the prefix `/`.
    prefixes: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Length of the longest prefix in bytes.
    longest_prefix: usize,
    patterns: Vec<Entry>,
    /// Entries of the prefix `/`.
    any_path: Vec<Entry>,
}

/// One match of a rule, with the rule's action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) rule_match: RouteMatch,
    pub(crate) action: Arc<Action>,
}

/// The action of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Action {
    pub(crate) redirect: Option<ListenerRedirect>,
    pub(crate) backends: Weighted<ResolvedBackend>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
}

/// A backend of a rule, with its pool looked up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ResolvedBackend {
    /// `None` where the pool does not exist.
    pub(crate) pool: Option<PoolIndex>,
    /// The rule's filters, then the backend's.
    pub(crate) filters: Vec<Filter>,
    pub(crate) redirect: Option<ListenerRedirect>,
}

/// The host names that an entry applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    Any,
    Exact(Arc<str>),
    /// By the suffix after the star, such as `.example.com`.
    Wildcard(Arc<str>),
}

/// The header with the model that the request names, set by the gateway before routing.
const MODEL_HEADER: &str = "x-gateway-model-name";
/// The header with the base model of that model, set likewise.
const BASE_MODEL_HEADER: &str = "x-gateway-base-model-name";

/// Whether the header is one of those that name the request's model.
pub(crate) fn is_model_header(name: &HeaderName) -> bool {
    name == MODEL_HEADER || name == BASE_MODEL_HEADER
}

impl RouteTable {
    /// Adds an entry. Entries must be added in order of their routes' age, oldest first, and then sorted.
    pub(crate) fn add(&mut self, host: &HostPattern, entry: Entry) {
        for (name, _) in &entry.rule_match.headers {
            self.matches_on_model |= is_model_header(name);
        }
        let paths = match host {
            HostPattern::Any => &mut self.any_host,
            HostPattern::Exact(name) => self.exact_hosts.entry(Arc::clone(name)).or_default(),
            HostPattern::Wildcard(suffix) => self.wildcard_hosts.entry(Arc::clone(suffix)).or_default(),
        };
        match &entry.rule_match.path {
            PathRule::Exact(path) => paths.exact.entry(Arc::clone(path)).or_default().push(entry),
            PathRule::Prefix(prefix) if prefix.is_empty() => paths.any_path.push(entry),
            PathRule::Prefix(prefix) => {
                paths.longest_prefix = paths.longest_prefix.max(prefix.len());
                paths.prefixes.entry(Arc::clone(prefix)).or_default().push(entry);
            }
            PathRule::Pattern(_) => paths.patterns.push(entry),
        }
    }

    /// Sorts the entries by precedence.
    pub(crate) fn sort(&mut self) {
        let hosts = self.exact_hosts.values_mut().chain(self.wildcard_hosts.values_mut());
        for paths in hosts.chain([&mut self.any_host]) {
            let lists = paths.exact.values_mut().chain(paths.prefixes.values_mut());
            for list in lists.chain([&mut paths.patterns, &mut paths.any_path]) {
                // Stable, so that equal entries stay in order of age.
                list.sort_by_key(|entry| {
                    let RouteMatch { method, headers, queries, .. } = &entry.rule_match;
                    (method.is_none(), usize::MAX - headers.len(), usize::MAX - queries.len())
                });
            }
        }
    }

    /// The action for a request, or `None` where no route matches (404). `draw` is a random number, uniform over 64
    /// bits, that selects among weighted backends.
    #[must_use]
    pub fn find(&self, request: &RouteRequest<'_>, draw: u64) -> Option<RouteAction<'_>> {
        let (entry, prefix) = self.entry(request)?;
        Some(entry.action(prefix, request, draw))
    }

    /// Whether any route of the table matches on `x-gateway-model-name` or `x-gateway-base-model-name`.
    #[must_use]
    pub fn matches_on_model(&self) -> bool {
        self.matches_on_model
    }

    fn entry(&self, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        let host = request.host.strip_suffix('.').unwrap_or(request.host);
        if self.exact_hosts.is_empty() && self.wildcard_hosts.is_empty() {
            return self.any_host.entry(request);
        }
        let lower;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        let exact = self.exact_hosts.get(host).and_then(|paths| paths.entry(request));
        exact.or_else(|| self.wildcard_entry(host, request)).or_else(|| self.any_host.entry(request))
    }

    /// The star matches one or more labels: tries the suffixes from the longest.
    fn wildcard_entry(&self, host: &str, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        if self.wildcard_hosts.is_empty() || host.len() > 253 {
            return None;
        }
        let dots = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
        let mut suffixes = dots.filter_map(|(at, _)| self.wildcard_hosts.get(host.get(at..)?));
        suffixes.find_map(|paths| paths.entry(request))
    }
}

impl Entry {
    fn action<'a>(&'a self, prefix: &'a str, request: &RouteRequest<'_>, draw: u64) -> RouteAction<'a> {
        let Action { redirect, backends, request_timeout, backend_timeout } = &*self.action;
        if let Some(redirect) = redirect {
            return RouteAction::Redirect(redirect.response(request, prefix));
        }
        let Some(backend) = backends.pick(draw) else { return RouteAction::NoBackend };
        if let Some(redirect) = &backend.redirect {
            return RouteAction::Redirect(redirect.response(request, prefix));
        }
        let Some(pool) = backend.pool else { return RouteAction::NoBackend };
        RouteAction::Forward(Forward {
            pool,
            filters: &backend.filters,
            request_timeout: *request_timeout,
            backend_timeout: *backend_timeout,
            names_path_exactly: matches!(self.rule_match.path, PathRule::Exact(_)),
            matched_prefix: prefix,
        })
    }
}

impl Paths {
    fn entry(&self, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        let first = |entries: &'_ [Entry]| {
            entries.iter().position(|entry| entry.rule_match.matches_besides_path(request))
        };
        let path = request.path;
        if let Some(entries) = self.exact.get(path)
            && let Some(i) = first(entries)
        {
            return Some((&entries[i], ""));
        }
        if let Some(found) = self.prefixed(request) {
            return Some(found);
        }
        let pattern = self.patterns.iter().find(|entry| match &entry.rule_match.path {
            PathRule::Pattern(pattern) => {
                pattern.0.is_match(path) && entry.rule_match.matches_besides_path(request)
            }
            PathRule::Exact(_) | PathRule::Prefix(_) => false,
        });
        pattern.or_else(|| first(&self.any_path).map(|i| &self.any_path[i])).map(|entry| (entry, ""))
    }

    /// The entry with the longest prefix of whole path segments.
    fn prefixed(&self, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        if self.prefixes.is_empty() {
            return None;
        }
        let path = request.path;
        let mut end = path.len();
        loop {
            if end <= self.longest_prefix
                && let Some((prefix, entries)) = self.prefixes.get_key_value(path.get(..end)?)
                && let Some(entry) =
                    entries.iter().find(|entry| entry.rule_match.matches_besides_path(request))
            {
                return Some((entry, prefix));
            }
            // A shorter prefix must end before a slash, so that it consists of whole segments.
            let shorter =
                path.as_bytes()[..end.min(self.longest_prefix + 1)].iter().rposition(|b| *b == b'/')?;
            if shorter == 0 {
                return None;
            }
            end = shorter;
        }
    }
}
