//! HTTPRoute: parents, host names and rules.

use std::sync::Arc;
use std::time::Duration;

use pointsman_yaml::{Field, Fields, Located, Location, quoted, truncated};

use super::gateway::read_hostname;
use super::route_filter::{RouteFilters, read_filters};
use super::route_match::read_match;
use crate::foreign::LEAVE_FIELD;
use crate::kind::{GATEWAY_GROUP, POOL_GROUP, POOL_GROUP_EXPERIMENTAL};
use crate::names::{is_dns_label, is_dns_name};
use crate::route::{PathRule, RouteMatch};

/// An HTTPRoute.
#[derive(Debug, PartialEq)]
pub(crate) struct HttpRoute {
    pub(crate) parents: Vec<Located<ParentRef>>,
    pub(crate) hostnames: Vec<Arc<str>>,
    pub(crate) hostnames_location: Option<Location>,
    pub(crate) rules: Vec<Located<RouteRule>>,
}

/// A reference to a Gateway or to one of its listeners.
#[derive(Debug, PartialEq)]
pub(crate) struct ParentRef {
    pub(crate) name: Arc<str>,
    /// `None` for the route's namespace.
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) section: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
}

/// A rule of an HTTPRoute.
#[derive(Debug, PartialEq)]
pub(crate) struct RouteRule {
    /// Never empty: a rule without matches has [`RouteMatch::any`].
    pub(crate) matches: Vec<RouteMatch>,
    pub(crate) filters: RouteFilters,
    pub(crate) backends: Vec<Located<BackendRef>>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
}

/// A reference to an InferencePool of the route's namespace.
#[derive(Debug, PartialEq)]
pub(crate) struct BackendRef {
    pub(crate) group: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
    pub(crate) filters: RouteFilters,
}

/// Reads the spec of a route in `namespace`.
pub(crate) fn read(spec: &mut Fields<'_>, namespace: Option<&str>) -> HttpRoute {
    spec.refuse("useDefaultGateways", "is not supported", "name the Gateway in parentRefs");
    let fix = "name the Gateway: parentRefs: [{name: …}]";
    spec.refuse("gateways", "is the name in v1alpha1", fix);
    let parents =
        if spec.has("gateways") { spec.get("parentRefs") } else { spec.required("parentRefs", fix) };
    let parents = parents.map(|f| read_parents(&f, fix));
    let hostnames = spec.get("hostnames");
    let hostnames_location = hostnames.as_ref().map(Field::location);
    let hostnames = hostnames.map(|f| f.list(16, |item| read_hostname(item))).unwrap_or_default();
    let rules = match spec.get("rules") {
        Some(rules) => rules.list(16, |rule| read_rule(rule, namespace)),
        None => {
            let fix = "write rules with backendRefs to an InferencePool";
            spec.error_in("rules", "is missing, so the route has no effect", fix);
            Vec::new()
        }
    };
    HttpRoute { parents: parents.unwrap_or_default(), hostnames, hostnames_location, rules }
}

/// Reads the parents that are Gateways. Another one is passed over beside a Gateway, and an error otherwise.
fn read_parents(field: &Field<'_>, fix: &str) -> Vec<Located<ParentRef>> {
    let mut others = Vec::new();
    let parents = field.non_empty_list(32, fix, |item| read_parent(item, &mut others));
    let gateways: Vec<_> = parents.into_iter().flatten().collect();
    for (other, kind) in others {
        let message = format!("routes attach to Gateways here, not to a {kind}");
        if gateways.is_empty() {
            other.error(message, "name a Gateway: {name: …}");
        } else {
            other.warn(format!("{message}, so this parent is passed over"), LEAVE_FIELD);
        }
    }
    gateways
}

/// Reads a parent: `Some(None)` for one of another kind, which is added to `others`.
fn read_parent<'a>(
    field: &Field<'a>,
    others: &mut Vec<(Field<'a>, &'a str)>,
) -> Option<Option<Located<ParentRef>>> {
    let parent = field.fields(|fields| {
        let group = fields.optional("group", Field::text)?.unwrap_or(GATEWAY_GROUP);
        let kind_field = fields.get("kind");
        let kind = kind_field.as_ref().map_or(Some("Gateway"), Field::text)?;
        if kind != "Gateway" && kind.eq_ignore_ascii_case("Gateway") {
            fields.error_in("kind", format!("{} is not a kind", quoted(kind)), "did you mean Gateway?");
            fields.ignore_rest();
            return None;
        }
        if (group, kind) != (GATEWAY_GROUP, "Gateway") {
            others.push((field.clone(), kind));
            fields.ignore_rest();
            return Some(None);
        }
        let name = fields.required_value("name", "name the Gateway", |f| {
            f.text_where(is_dns_name, "the name of a Gateway")
        });
        let namespace = fields.get("namespace").and_then(|f| f.text_where(is_dns_label, "a namespace"));
        let section =
            fields.get("sectionName").and_then(|f| f.text_where(is_dns_name, "the name of a listener"));
        let port = fields.get("port").and_then(|f| f.port());
        Some(Some(ParentRef {
            name: name?.into(),
            namespace: namespace.map(Into::into),
            section: section.map(Into::into),
            port,
        }))
    });
    parent.flatten().map(|parent| parent.map(|parent| field.locate(parent)))
}

fn read_rule(field: &Field<'_>, namespace: Option<&str>) -> Option<Located<RouteRule>> {
    let rule = field.fields(|fields| {
        fields.optional("name", |f| {
            f.text_where(is_dns_name, "a name of lower case letters, digits and dashes")
        });
        fields.refuse("retry", "is not supported in a route", "write retryBudget in a PoolPolicy");
        fields.refuse(
            "sessionPersistence",
            "is not supported",
            "remove it: the default placement already prefers endpoints with a cached prefix",
        );
        let mut matches = fields.list("matches", 64, read_match);
        if matches.is_empty() {
            matches.push(RouteMatch::any());
        }
        let filters = fields.get("filters").map(|f| read_filters(&f)).unwrap_or_default();
        fields.refuse("forwardTo", "is the name in v1alpha1", "write backendRefs to an InferencePool");
        let backends = fields.get("backendRefs");
        let refs = backends.as_ref().map(|f| f.list(16, |f| read_backend(f, namespace))).unwrap_or_default();
        let (request_timeout, backend_timeout) = read_timeouts(fields);
        check_filters(field, &matches, &filters, &refs, backends.as_ref());
        RouteRule { matches, filters, backends: refs, request_timeout, backend_timeout }
    });
    rule.map(|rule| field.locate(rule))
}

/// Checks that matches, filters and backends fit together, by the validation rules of the Gateway API.
fn check_filters(
    rule: &Field<'_>,
    matches: &[RouteMatch],
    filters: &RouteFilters,
    refs: &[Located<BackendRef>],
    backends: Option<&Field<'_>>,
) {
    let one_prefix = matches.len() == 1 && matches.iter().all(|m| matches!(m.path, PathRule::Prefix(_)));
    for filters in std::iter::once(filters).chain(refs.iter().map(|backend| &backend.value.filters)) {
        if let Some(location) = &filters.replaces_prefix
            && !one_prefix
        {
            let fix = "give the rule one match of type PathPrefix, or use ReplaceFullPath";
            rule.error_at(location, "ReplacePrefixMatch requires exactly one match, of type PathPrefix", fix);
        }
    }
    if let (Some(_), Some(backends)) = (&filters.redirect, backends) {
        backends.error(
            "a rule with RequestRedirect cannot have backends",
            "remove backendRefs or RequestRedirect",
        );
    }
    let weights: u64 = refs.iter().map(|backend| u64::from(backend.value.weight)).sum();
    if filters.redirect.is_none() && weights == 0 && rule.is_sound() {
        let (message, fix) = if refs.is_empty() {
            ("has no backend, so the response is 500", "add backendRefs to an InferencePool")
        } else {
            ("has only backends of weight 0, so the response is 500", "give one of them a weight above 0")
        };
        rule.warn(message, fix);
    }
}

fn read_timeouts(rule: &mut Fields<'_>) -> (Option<Duration>, Option<Duration>) {
    let timeouts = rule.get("timeouts").and_then(|field| {
        field.fields(|fields| {
            let request = fields.get("request").and_then(|f| f.gateway_duration());
            let backend_field = fields.get("backendRequest");
            let backend = backend_field.as_ref().and_then(Field::gateway_duration);
            if let (Some(request), Some(backend), Some(field)) = (request, backend, &backend_field)
                && !request.is_zero()
                && backend > request
            {
                field.error("is longer than the request timeout", "shorten it to at most request");
            }
            (request, backend)
        })
    });
    // Zero disables a timeout.
    let (request, backend) = timeouts.unwrap_or_default();
    (request.filter(|d| !d.is_zero()), backend.filter(|d| !d.is_zero()))
}

fn read_backend(field: &Field<'_>, route_namespace: Option<&str>) -> Option<Located<BackendRef>> {
    let backend = field.fields(|fields| {
        let group_field = fields.get("group");
        let kind_field = fields.get("kind");
        let kind = kind_field.as_ref().map_or(Some("Service"), Field::text);
        let group = group_field.as_ref().map_or(Some(""), Field::text);
        let name = fields.required_value("name", "name the InferencePool", |f| {
            f.text_where(is_dns_name, "the name of a pool")
        });
        let namespace = fields.get("namespace");
        let port = fields.get("port").and_then(|f| f.port());
        let weight = fields.get("weight").map_or(Some(1), |f| f.integer(0..=1_000_000));
        let filters = fields.get("filters").map(|f| read_filters(&f)).unwrap_or_default();
        let (group, kind) = (group?, kind?);
        if kind != "InferencePool" || (group != POOL_GROUP && group != POOL_GROUP_EXPERIMENTAL) {
            let at = kind_field.as_ref().or(group_field.as_ref()).unwrap_or(field);
            let backend = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
            let message = format!("{} backends are not supported", truncated(&backend));
            at.error(message, format!("write group: {POOL_GROUP} and kind: InferencePool"));
            return None;
        }
        let namespace = namespace.and_then(|f| Some((f.text_where(is_dns_label, "a namespace")?, f)));
        let weight = weight.and_then(|weight| u32::try_from(weight).ok());
        let backend = BackendRef { group: group.into(), name: name?.into(), port, weight: weight?, filters };
        if let Some((namespace, at)) = namespace
            && Some(namespace) != route_namespace
        {
            let message = "differs from the route's namespace, and ReferenceGrant is not supported";
            at.error(message, "move the route and its pool into one namespace");
        }
        Some(backend)
    });
    backend.flatten().map(|backend| field.locate(backend))
}
