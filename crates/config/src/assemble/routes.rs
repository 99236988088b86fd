//! The rules of attached routes to the table of a listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gateways::Attached;
use super::{Assembly, ages_are_known, position};
use crate::manifest::http_route::{Backend, RouteRule};
use crate::manifest::inference_pool::InferencePool;
use crate::manifest::route_filter::RedirectRule;
use crate::manifest::route_match::RouteMatch;
use crate::manifest::{Kind, Object, Spec};
use crate::problem::{Located, Problem};
use crate::route::{Action, Choice, Entry, HostPattern, RedirectTo, RouteTable, TableBuilder};
use crate::weighted::Weights;
use crate::world::ObjectName;

/// The first route to claim a match, by host and the match's identity.
type Taken<'a> = BTreeMap<(HostPattern, String), &'a Object>;

/// The pool that a backend of a route means.
fn pool_name(route: &Object, backend: &Located<Backend>) -> ObjectName {
    ObjectName { namespace: Arc::clone(&route.id.name.namespace), name: Arc::clone(&backend.value.name) }
}

impl<'a> Assembly<'a> {
    /// Checks the backends of every route, attached or not.
    pub(super) fn check_backends(&mut self) {
        for object in self.of(Kind::HttpRoute) {
            let Spec::HttpRoute(route) = &object.spec else { continue };
            for backend in route.rules.iter().flat_map(|rule| &rule.value.backends) {
                self.check_backend(object, backend);
            }
        }
    }

    fn check_backend(&mut self, object: &'a Object, backend: &'a Located<Backend>) {
        let Backend { group, name, port, .. } = &backend.value;
        let namespace = &object.id.name.namespace;
        if self.is_broken(Kind::InferencePool, namespace, name) {
            return;
        }
        let pool = self
            .get(Kind::InferencePool, namespace, name)
            .and_then(|pool| pool.spec.pool().map(|spec| (pool, spec)));
        let Some((pool, InferencePool { ports, .. })) = pool else {
            let missing = pool_name(object, backend);
            let fix = self.pool_advice(&missing);
            return self.error(object, &backend.spot, format!("there is no InferencePool {missing}"), fix);
        };
        if pool.group != *group {
            let message =
                format!("InferencePool {} is of group {} ({})", pool.id.name, pool.group, position(pool));
            self.error(object, &backend.spot, message, format!("write group: {}", pool.group));
        }
        if let Some(port) = port
            && !ports.contains(port)
        {
            let message = format!("port {port} is none of the pool's, and has no effect");
            self.error(object, &backend.spot, message, "remove port: the pool's endpoints have theirs");
        }
    }

    pub(super) fn route_table(&mut self, attached: &Attached<'a>) -> RouteTable {
        let mut builder = TableBuilder::default();
        let mut taken = Taken::new();
        for (object, route, hosts) in &attached.routes {
            for rule in &route.rules {
                let action = Arc::new(self.action(object, &rule.value, attached));
                for rule_match in &rule.value.matches {
                    for host in hosts {
                        self.warn_of_equal_match(object, rule, (host, rule_match), &mut taken);
                        builder
                            .add(host, Entry { rule_match: rule_match.clone(), action: Arc::clone(&action) });
                    }
                }
            }
        }
        builder.build()
    }

    /// Two routes with the same match on the same host: the older wins, which has to be known.
    fn warn_of_equal_match(
        &mut self,
        object: &'a Object,
        rule: &Located<RouteRule>,
        (host, rule_match): (&HostPattern, &RouteMatch),
        taken: &mut Taken<'a>,
    ) {
        let first = *taken.entry((host.clone(), rule_match.identity())).or_insert(object);
        if first.id == object.id || ages_are_known(object, first) {
            return;
        }
        let message = format!(
            "has a match that {} has too ({}), which comes first: without times of creation the order of names decides",
            first.id,
            position(first)
        );
        // The same two may meet on several hosts and listeners.
        let known = |p: &Problem| {
            p.object.as_ref() == Some(&object.id) && p.line == rule.spot.mark.line && p.message == message
        };
        if !self.problems.iter().any(known) {
            let fix = "tell the matches apart, or write metadata.creationTimestamp in both";
            self.warn(object, &rule.spot, message, fix);
        }
    }

    fn action(&self, object: &Object, rule: &RouteRule, attached: &Attached<'_>) -> Action {
        let listener = &attached.listener.value;
        let redirect = |rule: &RedirectRule| RedirectTo {
            rule: rule.clone(),
            listener_https: listener.tls.is_some(),
            listener_port: listener.port,
        };
        let choice = |backend: &Located<Backend>| Choice {
            pool: self.pool_indices.get(&pool_name(object, backend)).copied(),
            filters: rule.filters.filters.iter().chain(&backend.value.filters.filters).cloned().collect(),
            redirect: backend.value.filters.redirect.as_ref().map(redirect),
        };
        Action {
            redirect: rule.filters.redirect.as_ref().map(redirect),
            choices: rule.backends.iter().map(choice).collect(),
            weights: Weights::new(rule.backends.iter().map(|backend| backend.value.weight)),
            request_timeout: rule.request_timeout,
            backend_timeout: rule.backend_timeout,
        }
    }
}
