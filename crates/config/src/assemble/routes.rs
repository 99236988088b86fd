//! The rules of attached routes to the route table of a listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_yaml::Located;

use super::gateways::ListenerRoutes;
use super::{Assembly, ages_are_known, position};
use crate::identity::ObjectName;
use crate::kind::Kind;
use crate::manifest::http_route::{BackendRef, RouteRule};
use crate::manifest::inference_pool::InferencePool;
use crate::manifest::{Object, Spec};
use crate::route::{
    Action, Entry, HostPattern, ListenerRedirect, RedirectRule, ResolvedBackend, RouteMatch, RouteTable,
};

/// The first route with a match, by host and the identity of the match.
type FirstRoutes<'a> = BTreeMap<(HostPattern, String), &'a Object>;

/// The name of the pool that a backend refers to.
fn pool_name(route: &Object, backend: &Located<BackendRef>) -> ObjectName {
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

    fn check_backend(&mut self, object: &'a Object, backend: &'a Located<BackendRef>) {
        let BackendRef { group, port, .. } = &backend.value;
        let wanted = pool_name(object, backend);
        if self.is_invalid(Kind::InferencePool, &wanted) {
            return;
        }
        let pool =
            self.get(Kind::InferencePool, &wanted).and_then(|pool| pool.spec.pool().map(|spec| (pool, spec)));
        let Some((pool, InferencePool { ports, .. })) = pool else {
            let fix = self.missing_pool_fix(&wanted);
            return self.error(object, &backend.location, format!("there is no InferencePool {wanted}"), fix);
        };
        if pool.group != *group {
            let message =
                format!("InferencePool {} is of group {} ({})", pool.id.name, pool.group, position(pool));
            self.error(object, &backend.location, message, format!("write group: {}", pool.group));
        }
        if let Some(port) = port
            && !ports.contains(port)
        {
            let message = format!("port {port} is not a port of the pool, whose ports apply");
            self.warn(object, &backend.location, message, "remove port");
        }
    }

    pub(super) fn route_table(&mut self, attached: &ListenerRoutes<'a>) -> RouteTable {
        let mut table = RouteTable::default();
        let mut first_routes = FirstRoutes::new();
        for (object, route, hosts) in &attached.routes {
            for rule in &route.rules {
                let action = Arc::new(self.action(object, &rule.value, attached));
                for rule_match in &rule.value.matches {
                    for host in hosts {
                        self.warn_of_equal_match(object, rule, (host, rule_match), &mut first_routes);
                        let entry = Entry { rule_match: rule_match.clone(), action: Arc::clone(&action) };
                        table.add(host, entry);
                    }
                }
            }
        }
        table.sort();
        table
    }

    /// Warns of two routes with the same match on the same host where creation times do not tell which is older.
    fn warn_of_equal_match(
        &mut self,
        object: &'a Object,
        rule: &Located<RouteRule>,
        (host, rule_match): (&HostPattern, &RouteMatch),
        first_routes: &mut FirstRoutes<'a>,
    ) {
        let first = *first_routes.entry((host.clone(), rule_match.identity())).or_insert(object);
        if first.id == object.id || ages_are_known(object, first) {
            return;
        }
        let message = format!(
            "has the same match as {} ({}), which has precedence only because creation times are missing or equal",
            first.id,
            position(first)
        );
        let fix = "change one of the matches, or write metadata.creationTimestamp in both";
        self.warn(object, &rule.location, message, fix);
    }

    fn action(&self, object: &Object, rule: &RouteRule, attached: &ListenerRoutes<'_>) -> Action {
        let listener = &attached.listener.value;
        let redirect = |rule: &RedirectRule| ListenerRedirect {
            rule: rule.clone(),
            listener_https: listener.tls.is_some(),
            listener_port: listener.port,
        };
        let resolve = |backend: &Located<BackendRef>| ResolvedBackend {
            pool: self.pool_indices.get(&pool_name(object, backend)).copied(),
            filters: rule.filters.filters.iter().chain(&backend.value.filters.filters).cloned().collect(),
            redirect: backend.value.filters.redirect.as_ref().map(redirect),
        };
        Action {
            redirect: rule.filters.redirect.as_ref().map(redirect),
            backends: rule.backends.iter().map(|it| (resolve(it), it.value.weight)).collect(),
            request_timeout: rule.request_timeout,
            backend_timeout: rule.backend_timeout,
        }
    }
}
