//! The routes of a request for any model: what `GET /v1/models` lists.

use std::ops::ControlFlow;

use super::{Entry, Paths, RouteTable};
use crate::identity::PoolIndex;
use crate::route::{PathRule, RouteAction, RouteRequest};

/// Called with an entry that matches, and the prefix that did.
type Visit<'a, 'v> = dyn FnMut(&'a Entry, &'a str) -> ControlFlow<()> + 'v;

impl RouteTable {
    /// The pools that the request would reach if it named a model, whichever: those of the rule that matches, and of rules
    /// before it that differ by conditions on the model.
    #[must_use]
    pub fn pools_of_any_model(&self, request: &RouteRequest<'_>) -> Vec<PoolIndex> {
        let mut pools = Vec::new();
        let _ = self.visit_any_model(request, &mut |entry, _| {
            for pool in entry.action.backends.items.iter().filter_map(|backend| backend.pool) {
                if !pools.contains(&pool) {
                    pools.push(pool);
                }
            }
            ControlFlow::Continue(())
        });
        pools
    }

    /// The action for a request as if it named a model that a rule wants, for requests that match no rule without one.
    #[must_use]
    pub fn find_any_model(&self, request: &RouteRequest<'_>, draw: u64) -> Option<RouteAction<'_>> {
        let mut found = None;
        let _ = self.visit_any_model(request, &mut |entry, prefix| {
            found = Some(entry.action(prefix, request, draw));
            ControlFlow::Break(())
        });
        found
    }

    /// Visits the matching entries up to the first one without a condition on the model.
    fn visit_any_model<'a>(
        &'a self,
        request: &RouteRequest<'_>,
        visit: &mut Visit<'a, '_>,
    ) -> ControlFlow<()> {
        let host = request.host.strip_suffix('.').unwrap_or(request.host).to_ascii_lowercase();
        if let Some(paths) = self.exact_hosts.get(&*host) {
            paths.visit_any_model(request, visit)?;
        }
        if host.len() <= 253 {
            for (at, _) in host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.') {
                if let Some(paths) = host.get(at..).and_then(|suffix| self.wildcard_hosts.get(suffix)) {
                    paths.visit_any_model(request, visit)?;
                }
            }
        }
        self.any_host.visit_any_model(request, visit)
    }
}

impl Paths {
    fn visit_any_model<'a>(
        &'a self,
        request: &RouteRequest<'_>,
        visit: &mut Visit<'a, '_>,
    ) -> ControlFlow<()> {
        let mut each = |entries: &'a [Entry], prefix: &'a str| {
            for entry in
                entries.iter().filter(|entry| entry.rule_match.matches_besides_path_and_model(request))
            {
                visit(entry, prefix)?;
                if !entry.rule_match.is_on_model() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        let path = request.path;
        if let Some(entries) = self.exact.get(path) {
            each(entries, "")?;
        }
        for end in (1..=path.len()).rev() {
            let whole_segments = end == path.len() || path.as_bytes().get(end) == Some(&b'/');
            if let Some(prefix) = path.get(..end).filter(|_| whole_segments && end <= self.longest_prefix)
                && let Some((prefix, entries)) = self.prefixes.get_key_value(prefix)
            {
                each(entries, prefix)?;
            }
        }
        for entry in &self.patterns {
            if let PathRule::Pattern(pattern) = &entry.rule_match.path
                && pattern.0.is_match(path)
            {
                each(std::slice::from_ref(entry), "")?;
            }
        }
        each(&self.any_path, "")
    }
}
