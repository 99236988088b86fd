//! Gateways to listeners, and the attachment of routes to listeners.

use std::sync::Arc;

use pointsman_yaml::{Located, quoted};

use super::{Assembly, beside, by_age, position};
use crate::files::Files;
use crate::foreign::LEAVE_FIELD;
use crate::identity::ObjectName;
use crate::kind::Kind;
use crate::manifest::gateway::GatewayListener;
use crate::manifest::http_route::{HttpRoute, ParentRef};
use crate::manifest::{Object, Spec};
use crate::route::HostPattern;
use crate::world::{Listener, TlsFiles};

/// A listener with its attached routes, oldest first. Each route has the host names that it shares with the listener.
pub(super) struct ListenerRoutes<'a> {
    pub(super) gateway: &'a Object,
    pub(super) listener: &'a Located<GatewayListener>,
    pub(super) routes: Vec<(&'a Object, &'a HttpRoute, Vec<HostPattern>)>,
}

impl<'a> Assembly<'a> {
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let mut attached = Vec::new();
        for object in self.of(Kind::Gateway) {
            let Spec::Gateway(listeners) = &object.spec else { continue };
            let empty = |listener| ListenerRoutes { gateway: object, listener, routes: Vec::new() };
            attached.extend(listeners.iter().map(empty));
        }
        self.check_ports(&attached);
        self.warn_of_open_keys(&attached);
        for object in by_age(self.of(Kind::HttpRoute)) {
            let Spec::HttpRoute(route) = &object.spec else { continue };
            for parent in &route.parents {
                self.attach(object, route, parent, &mut attached);
            }
        }
        self.check_backends();
        attached.iter().map(|attached| self.listener(attached)).collect()
    }

    fn listener(&mut self, attached: &ListenerRoutes<'a>) -> Listener {
        let GatewayListener { name, hostname, address, port, tls, .. } = &attached.listener.value;
        let gateway = attached.gateway;
        if let Some(files) = tls {
            let certificate = beside(&gateway.file, &files.certificate);
            let files = TlsFiles { certificate, key: beside(&gateway.file, &files.key) };
            self.name_files(gateway, &attached.listener.location, Files::Certificate(files));
        }
        Listener {
            gateway: gateway.id.name.clone(),
            name: Arc::clone(name),
            address: *address,
            port: *port,
            hostname: hostname.clone(),
            tls: tls.as_ref().map(|files| TlsFiles {
                certificate: beside(&gateway.file, &files.certificate),
                key: beside(&gateway.file, &files.key),
            }),
            routes: Arc::new(self.route_table(attached)),
        }
    }

    /// Warns of listeners that other machines reach where an engine key stands in for the clients' own.
    fn warn_of_open_keys(&mut self, attached: &[ListenerRoutes<'a>]) {
        let has_key = |object: &Object| matches!(&object.spec, Spec::PoolPolicy(policy) if policy.access.api_key.is_some());
        let Some(policy) = self.of(Kind::PoolPolicy).find(|object| has_key(object)) else { return };
        for one in attached.iter().filter(|one| !one.listener.value.address.is_loopback()) {
            let message = format!(
                "is open to other machines, and whoever reaches it uses the engine key of {} ({})",
                policy.id,
                position(policy)
            );
            let fix = "let only those who may use the key reach the port";
            self.warn(one.gateway, &one.listener.location, message, fix);
        }
    }

    /// Checks that listeners of different Gateways on one port differ in host name and agree on the protocol.
    fn check_ports(&mut self, attached: &[ListenerRoutes<'a>]) {
        for (i, one) in attached.iter().enumerate() {
            let value = &one.listener.value;
            let earlier = attached[..i].iter().filter(|other| other.gateway.id != one.gateway.id);
            for other in earlier.filter(|other| other.listener.value.port == value.port) {
                let theirs = &other.listener.value;
                let (shared, difference) = if theirs.address != value.address {
                    ("port", ", but another address")
                } else if theirs.hostname == value.hostname {
                    ("port and host name", "")
                } else if theirs.tls.is_some() != value.tls.is_some() {
                    ("port", ", but another protocol")
                } else {
                    continue;
                };
                let message = format!(
                    "has the same {shared} as listener {} of {} ({}){difference}",
                    quoted(&theirs.name),
                    other.gateway.id,
                    position(other.gateway)
                );
                self.error(one.gateway, &one.listener.location, message, "change the port or the hostname");
            }
        }
    }

    fn attach(
        &mut self,
        object: &'a Object,
        route: &'a HttpRoute,
        parent: &'a Located<ParentRef>,
        attached: &mut [ListenerRoutes<'a>],
    ) {
        let ParentRef { name, namespace, section, port } = &parent.value;
        let own = &object.id.name.namespace;
        let namespace = Arc::clone(namespace.as_ref().unwrap_or(own));
        let wanted = ObjectName { namespace, name: Arc::clone(name) };
        // A Gateway of another namespace is often another team's, in another folder.
        let has_other_parent = route.parents.iter().any(|other| {
            let namespace = other.value.namespace.as_ref().unwrap_or(own);
            attached.iter().any(|a| {
                let gateway = &a.gateway.id.name;
                gateway.name == other.value.name && gateway.namespace == *namespace
            })
        });
        let is_wanted = |a: &&mut ListenerRoutes<'_>| a.gateway.id.name == wanted;
        let mut listeners: Vec<_> = attached.iter_mut().filter(is_wanted).collect();
        let invalid = self.is_invalid(Kind::Gateway, &wanted);
        let mut fail = |message: String, fix: &str| {
            if !invalid {
                self.error(object, &parent.location, message, fix);
            }
        };
        if listeners.is_empty() {
            let message = format!("there is no Gateway {wanted}");
            if wanted.namespace != *own && !invalid && has_other_parent {
                let message = format!("{message}, so this parent is passed over");
                return self.warn(object, &parent.location, message, LEAVE_FIELD);
            }
            return fail(message, "write the Gateway, or correct the name");
        }
        listeners.retain(|a| {
            let listener = &a.listener.value;
            section.as_ref().is_none_or(|section| listener.name == *section)
                && port.is_none_or(|port| listener.port == port)
        });
        if listeners.is_empty() {
            return fail(
                "the Gateway has no listener with this sectionName and port".to_owned(),
                "write the name and port of one of its listeners",
            );
        }
        listeners.retain(|a| a.listener.value.all_namespaces || wanted.namespace == *own);
        if listeners.is_empty() {
            let fix = "write allowedRoutes: {namespaces: {from: All}} in the listener";
            return fail("the Gateway accepts only routes of its own namespace".to_owned(), fix);
        }
        let mut any = false;
        // Routes are attached one after the other: only the last can be this one, through another of its parents.
        for a in listeners {
            let hosts = shared_hosts(a.listener.value.hostname.as_ref(), &route.hostnames);
            any |= !hosts.is_empty();
            if !hosts.is_empty() && a.routes.last().is_none_or(|(other, ..)| other.id != object.id) {
                a.routes.push((object, route, hosts));
            }
        }
        if !any && !self.invalid.contains(&object.id) {
            let location = route.hostnames_location.as_ref().unwrap_or(&parent.location);
            let message = format!("no listener of Gateway {wanted} accepts any of the host names");
            self.error(object, location, message, "write host names that a listener's hostname covers");
        }
    }
}

/// The host names that a listener and a route share: the more specific of each overlapping pair.
fn shared_hosts(listener: Option<&Arc<str>>, route: &[Arc<str>]) -> Vec<HostPattern> {
    let listener = listener.map_or(HostPattern::Any, pattern);
    let mut hosts: Vec<HostPattern> = if route.is_empty() {
        vec![listener]
    } else {
        route.iter().filter_map(|name| more_specific(&listener, &pattern(name))).collect()
    };
    hosts.sort();
    hosts.dedup();
    hosts
}

fn pattern(name: &Arc<str>) -> HostPattern {
    match name.strip_prefix('*') {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(Arc::clone(name)),
    }
}

/// The more specific of two overlapping patterns; `None` where they do not overlap.
fn more_specific(a: &HostPattern, b: &HostPattern) -> Option<HostPattern> {
    match (a, b) {
        (HostPattern::Any, other) | (other, HostPattern::Any) => Some(other.clone()),
        (HostPattern::Exact(x), HostPattern::Exact(y)) => (x == y).then(|| a.clone()),
        (HostPattern::Exact(name), HostPattern::Wildcard(suffix))
        | (HostPattern::Wildcard(suffix), HostPattern::Exact(name)) => {
            let covered = name.len() > suffix.len() && name.ends_with(&**suffix);
            covered.then(|| HostPattern::Exact(Arc::clone(name)))
        }
        (HostPattern::Wildcard(x), HostPattern::Wildcard(y)) if x.ends_with(&**y) => Some(a.clone()),
        (HostPattern::Wildcard(x), HostPattern::Wildcard(y)) if y.ends_with(&**x) => Some(b.clone()),
        (HostPattern::Wildcard(_), HostPattern::Wildcard(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_applies_to_the_host_names_that_it_shares_with_its_listener() {
        #[track_caller]
        fn check(listener: Option<&str>, route: &[&str], expected: &[&str]) {
            let listener = listener.map(Arc::from);
            let route: Vec<Arc<str>> = route.iter().map(|name| Arc::from(*name)).collect();
            let hosts: Vec<String> = shared_hosts(listener.as_ref(), &route)
                .iter()
                .map(|host| match host {
                    HostPattern::Any => "any".to_owned(),
                    HostPattern::Exact(name) => name.to_string(),
                    HostPattern::Wildcard(suffix) => format!("*{suffix}"),
                })
                .collect();
            assert_eq!(hosts, expected);
        }
        check(None, &[], &["any"]);
        check(None, &["a.example.com", "*.example.com"], &["a.example.com", "*.example.com"]);
        check(Some("a.example.com"), &[], &["a.example.com"]);
        check(Some("*.example.com"), &["a.example.com", "b.example.org"], &["a.example.com"]);
        check(Some("*.example.com"), &["a.b.example.com", "example.com"], &["a.b.example.com"]);
        check(Some("a.example.com"), &["*.example.com"], &["a.example.com"]);
        check(Some("*.example.com"), &["*.b.example.com"], &["*.b.example.com"]);
        check(Some("*.b.example.com"), &["*.example.com"], &["*.b.example.com"]);
        check(Some("*.example.com"), &["*.ample.com", "*.com"], &["*.example.com"]);
        check(Some("*.example.com"), &["*.other.com"], &[]);
    }
}
