//! The compiled table: host, then path by lookup, then the few matches of that path in order.

mod matching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Filter, Forward, PathRewrite, Redirect, RouteAction, RouteRequest};
use crate::manifest::route_filter::RedirectRule;
use crate::manifest::route_match::{PathRule, RouteMatch};
use crate::weighted::Weights;
use crate::world::PoolIndex;

/// The compiled routes of one listener, most specific first.
///
/// Precedence is that of the Gateway API: the host name (exact, then the longest wildcard), the path (exact, then the
/// longest prefix, then patterns, then the prefix of everything), a method, the number of headers, the number of
/// query parameters, the older route, namespace and name, the order of rules. The API leaves the place of patterns
/// open; they stand before the prefix of everything, since behind it none would ever match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    exact_hosts: BTreeMap<Arc<str>, Paths>,
    /// By what follows the star, the dot included.
    wildcard_hosts: BTreeMap<Arc<str>, Paths>,
    any_host: Paths,
    matches_on_model: bool,
}

/// The entries of one host name, by path.
#[derive(Clone, Debug, Default, PartialEq)]
struct Paths {
    exact: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Not empty, without slash at the end.
    prefixes: BTreeMap<Arc<str>, Vec<Entry>>,
    longest_prefix: usize,
    patterns: Vec<Entry>,
    everything: Vec<Entry>,
}

/// One match of one rule, with what the rule does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) rule_match: RouteMatch,
    pub(crate) action: Arc<Action>,
}

/// What a rule does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Action {
    pub(crate) redirect: Option<RedirectTo>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) weights: Weights,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
}

/// A backend of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    /// `None` where the pool does not exist.
    pub(crate) pool: Option<PoolIndex>,
    /// The rule's filters, then the backend's.
    pub(crate) filters: Vec<Filter>,
    pub(crate) redirect: Option<RedirectTo>,
}

/// A redirect with what it takes from its listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RedirectTo {
    pub(crate) rule: RedirectRule,
    pub(crate) listener_https: bool,
    pub(crate) listener_port: u16,
}

/// The host names of a group of entries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    Any,
    Exact(Arc<str>),
    /// With what follows the star, the dot included.
    Wildcard(Arc<str>),
}

/// Fills a [`RouteTable`]. Entries must come in the order of their routes' age.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    table: RouteTable,
}

/// The header that carries the body's model, set by the gateway before matching.
const MODEL_HEADER: &str = "x-gateway-model-name";

impl TableBuilder {
    pub(crate) fn add(&mut self, host: &HostPattern, entry: Entry) {
        self.table.matches_on_model |= entry.rule_match.headers.iter().any(|(name, _)| name == MODEL_HEADER);
        let paths = match host {
            HostPattern::Any => &mut self.table.any_host,
            HostPattern::Exact(name) => self.table.exact_hosts.entry(Arc::clone(name)).or_default(),
            HostPattern::Wildcard(suffix) => self.table.wildcard_hosts.entry(Arc::clone(suffix)).or_default(),
        };
        match &entry.rule_match.path {
            PathRule::Exact(path) => paths.exact.entry(Arc::clone(path)).or_default().push(entry),
            PathRule::Prefix(prefix) if prefix.is_empty() => paths.everything.push(entry),
            PathRule::Prefix(prefix) => {
                paths.longest_prefix = paths.longest_prefix.max(prefix.len());
                paths.prefixes.entry(Arc::clone(prefix)).or_default().push(entry);
            }
            PathRule::Pattern(_) => paths.patterns.push(entry),
        }
    }

    pub(crate) fn build(mut self) -> RouteTable {
        let table = &mut self.table;
        let hosts = table.exact_hosts.values_mut().chain(table.wildcard_hosts.values_mut());
        for paths in hosts.chain(std::iter::once(&mut table.any_host)) {
            let lists = paths.exact.values_mut().chain(paths.prefixes.values_mut());
            for list in lists.chain([&mut paths.patterns, &mut paths.everything]) {
                // Stable: what is equal here stays in order of age.
                list.sort_by_key(|entry| {
                    let RouteMatch { method, headers, queries, .. } = &entry.rule_match;
                    (method.is_none(), usize::MAX - headers.len(), usize::MAX - queries.len())
                });
            }
        }
        self.table
    }
}

impl RouteTable {
    /// The action for a request, or `None` where no route matches (404). `draw` is a random number for weighted
    /// backends.
    #[must_use]
    pub fn find(&self, request: &RouteRequest<'_>, draw: u64) -> Option<RouteAction<'_>> {
        let (entry, prefix) = self.entry(request)?;
        let Action { redirect, choices, weights, request_timeout, backend_timeout } = &*entry.action;
        if let Some(redirect) = redirect {
            return Some(RouteAction::Redirect(redirect.answer(request, prefix)));
        }
        let choice = weights.pick(draw).and_then(|i| choices.get(i));
        let Some(choice) = choice else { return Some(RouteAction::NoBackend) };
        if let Some(redirect) = &choice.redirect {
            return Some(RouteAction::Redirect(redirect.answer(request, prefix)));
        }
        let Some(pool) = choice.pool else { return Some(RouteAction::NoBackend) };
        Some(RouteAction::Forward(Forward {
            pool,
            filters: &choice.filters,
            request_timeout: *request_timeout,
            backend_timeout: *backend_timeout,
            names_path_exactly: matches!(entry.rule_match.path, PathRule::Exact(_)),
            matched_prefix: prefix,
        }))
    }

    /// Whether any route of the table looks at `x-gateway-model-name`.
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

    /// The star stands for one label or more, so the suffixes are tried from the longest.
    fn wildcard_entry(&self, host: &str, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        if self.wildcard_hosts.is_empty() || host.len() > 253 {
            return None;
        }
        let dots = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
        let mut suffixes = dots.filter_map(|(at, _)| self.wildcard_hosts.get(host.get(at..)?));
        suffixes.find_map(|paths| paths.entry(request))
    }
}

impl Paths {
    fn entry(&self, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        let first =
            |entries: &'_ [Entry]| entries.iter().position(|entry| entry.matches_besides_path(request));
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
            PathRule::Pattern(pattern) => pattern.0.is_match(path) && entry.matches_besides_path(request),
            PathRule::Exact(_) | PathRule::Prefix(_) => false,
        });
        pattern.or_else(|| first(&self.everything).map(|i| &self.everything[i])).map(|entry| (entry, ""))
    }

    /// The longest prefix of whole segments, tried from the longest that the table holds.
    fn prefixed(&self, request: &RouteRequest<'_>) -> Option<(&Entry, &str)> {
        if self.prefixes.is_empty() {
            return None;
        }
        let path = request.path;
        let mut end = path.len();
        loop {
            if end <= self.longest_prefix
                && let Some((prefix, entries)) = self.prefixes.get_key_value(path.get(..end)?)
                && let Some(entry) = entries.iter().find(|entry| entry.matches_besides_path(request))
            {
                return Some((entry, prefix));
            }
            // Only a prefix that ends before a slash ends a segment.
            let shorter =
                path.as_bytes()[..end.min(self.longest_prefix + 1)].iter().rposition(|b| *b == b'/')?;
            if shorter == 0 {
                return None;
            }
            end = shorter;
        }
    }
}

impl RedirectTo {
    fn answer(&self, request: &RouteRequest<'_>, prefix: &str) -> Redirect {
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
        let usual = if secure { 443 } else { 80 };
        let port = port.unwrap_or(if https.is_some() { usual } else { self.listener_port });
        let port = if port == usual || port == 0 { String::new() } else { format!(":{port}") };
        let scheme = if secure { "https" } else { "http" };
        Redirect { status: *status, location: format!("{scheme}://{host}{port}{new_path}{query}") }
    }
}
