//! HTTPRoute: parents, host names, rules.

use std::sync::Arc;
use std::time::Duration;

use super::gateway::read_hostname;
use super::kind::{GATEWAY_GROUP, POOL_GROUP, POOL_GROUP_EXPERIMENTAL};
use super::route_filter::{RouteFilters, read_filters};
use super::route_match::{PathRule, RouteMatch, read_match};
use crate::decode::{Field, Fields, is_dns_label, is_dns_name};
use crate::problem::{Located, Spot};

#[derive(Debug, PartialEq)]
pub(crate) struct HttpRoute {
    pub(crate) parents: Vec<Located<ParentRef>>,
    pub(crate) hostnames: Vec<Arc<str>>,
    pub(crate) hostnames_spot: Option<Spot>,
    pub(crate) rules: Vec<Located<RouteRule>>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ParentRef {
    pub(crate) name: Arc<str>,
    /// `None` for the route's own.
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) section: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct RouteRule {
    /// Never empty: without matches in the manifest, the one that matches every path.
    pub(crate) matches: Vec<RouteMatch>,
    pub(crate) filters: RouteFilters,
    pub(crate) backends: Vec<Located<Backend>>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) backend_timeout: Option<Duration>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Backend {
    pub(crate) group: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
    pub(crate) filters: RouteFilters,
}

pub(crate) fn read(spec: &mut Fields<'_>) -> HttpRoute {
    spec.refuse("useDefaultGateways", "is not supported", "name the Gateway in parentRefs");
    let parents = spec.required("parentRefs", "name the Gateway: parentRefs: [{name: …}]");
    let parents = parents.map(|f| {
        let parents = f.list(32, read_parent);
        if parents.is_empty() && f.is_sound() {
            f.error("names no Gateway", "write parentRefs: [{name: …}]");
        }
        parents
    });
    let hostnames = spec.get("hostnames");
    let hostnames_spot = hostnames.as_ref().map(Field::spot);
    let hostnames = hostnames.map(|f| f.list(16, |item| read_hostname(item))).unwrap_or_default();
    let rules = match spec.get("rules") {
        Some(rules) => rules.list(16, read_rule),
        None => {
            let spot = spec.spot();
            let fix = "write rules with backendRefs to an InferencePool";
            spec.report.error(spot.mark, "spec.rules", "is missing, so that the route leads nowhere", fix);
            Vec::new()
        }
    };
    HttpRoute { parents: parents.unwrap_or_default(), hostnames, hostnames_spot, rules }
}

fn read_parent(field: &Field<'_>) -> Option<Located<ParentRef>> {
    let parent = field.fields(|fields| {
        if let Some(group) = fields.get("group") {
            group.text_where(|text| text == GATEWAY_GROUP, GATEWAY_GROUP);
        }
        if let Some(kind) = fields.get("kind") {
            kind.text_where(|text| text == "Gateway", "Gateway, the only kind of parent here");
        }
        let name = fields
            .required("name", "name the Gateway")
            .and_then(|f| f.text_where(is_dns_name, "the name of a Gateway"));
        let namespace = fields.get("namespace").and_then(|f| f.text_where(is_dns_label, "a namespace"));
        let section =
            fields.get("sectionName").and_then(|f| f.text_where(is_dns_name, "the name of a listener"));
        let port = fields.get("port").and_then(|f| f.port());
        Some(ParentRef {
            name: name?.into(),
            namespace: namespace.map(Into::into),
            section: section.map(Into::into),
            port,
        })
    });
    // A parent of another kind is no Gateway that could be missing.
    let is_gateway =
        ["group", "kind"].iter().all(|name| field.report.is_sound(&format!("{}.{name}", field.path)));
    parent.flatten().filter(|_| is_gateway).map(|parent| field.locate(parent))
}

fn read_rule(field: &Field<'_>) -> Option<Located<RouteRule>> {
    let rule = field.fields(|fields| {
        if let Some(name) = fields.get("name") {
            name.text_where(is_dns_name, "a name of lower case letters, digits and dashes");
        }
        fields.refuse("retry", "retries are set per pool", "write retryBudget in a PoolPolicy");
        fields.refuse(
            "sessionPersistence",
            "sticky sessions are not supported",
            "remove it: placement knows prefixes",
        );
        let mut matches =
            fields.get("matches").map(|f| f.list(64, |item| read_match(item))).unwrap_or_default();
        if matches.is_empty() {
            matches.push(RouteMatch::everything());
        }
        let filters = fields.get("filters").map(|f| read_filters(&f)).unwrap_or_default();
        let backends = fields.get("backendRefs");
        let refs = backends.as_ref().map(|f| f.list(16, read_backend)).unwrap_or_default();
        let (request_timeout, backend_timeout) = read_timeouts(fields);
        check_filters(field, &matches, &filters, &refs, backends.as_ref());
        RouteRule { matches, filters, backends: refs, request_timeout, backend_timeout }
    });
    rule.map(|rule| field.locate(rule))
}

/// Which filters go together, as the Gateway API's own validation has it.
fn check_filters(
    rule: &Field<'_>,
    matches: &[RouteMatch],
    filters: &RouteFilters,
    refs: &[Located<Backend>],
    backends: Option<&Field<'_>>,
) {
    let one_prefix = matches.len() == 1 && matches.iter().all(|m| matches!(m.path, PathRule::Prefix(_)));
    for filters in std::iter::once(filters).chain(refs.iter().map(|backend| &backend.value.filters)) {
        if let Some(spot) = &filters.replaces_prefix
            && !one_prefix
        {
            let fix = "give the rule one match of type PathPrefix, or use ReplaceFullPath";
            rule.report.error_at(spot, "ReplacePrefixMatch needs exactly one match, a PathPrefix", fix);
        }
    }
    if let (Some(_), Some(backends)) = (&filters.redirect, backends) {
        backends.error("a rule that redirects has no backends", "remove backendRefs, or the RequestRedirect");
    }
    let weights: u64 = refs.iter().map(|backend| u64::from(backend.value.weight)).sum();
    if filters.redirect.is_none() && weights == 0 && rule.is_sound() {
        let (what, fix) = if refs.is_empty() {
            ("has no backend: it answers 500", "add backendRefs to an InferencePool")
        } else {
            ("has backends of weight 0 only: it answers 500", "give one of them a weight")
        };
        rule.report.warn(rule.node.mark, &rule.path, what, fix);
    }
}

fn read_timeouts(rule: &mut Fields<'_>) -> (Option<Duration>, Option<Duration>) {
    let timeouts = rule.get("timeouts").and_then(|field| {
        field.fields(|fields| {
            let request = fields.get("request").and_then(|f| f.duration());
            let backend_field = fields.get("backendRequest");
            let backend = backend_field.as_ref().and_then(Field::duration);
            if let (Some(request), Some(backend), Some(field)) = (request, backend, &backend_field)
                && !request.is_zero()
                && backend > request
            {
                field.error("is longer than request, of which it is a part", "make it at most request");
            }
            (request, backend)
        })
    });
    // Zero means none.
    let (request, backend) = timeouts.unwrap_or_default();
    (request.filter(|d| !d.is_zero()), backend.filter(|d| !d.is_zero()))
}

fn read_backend(field: &Field<'_>) -> Option<Located<Backend>> {
    let backend = field.fields(|fields| {
        let group_field = fields.get("group");
        let kind_field = fields.get("kind");
        let kind = kind_field.as_ref().map_or(Some("Service"), Field::text);
        let group = group_field.as_ref().map_or(Some(""), Field::text);
        let name = fields
            .required("name", "name the InferencePool")
            .and_then(|f| f.text_where(is_dns_name, "the name of a pool"));
        let namespace = fields.get("namespace");
        let port = fields.get("port").and_then(|f| f.port());
        let weight = fields.get("weight").map_or(Some(1), |f| f.integer(0..=1_000_000));
        let filters = fields.get("filters").map(|f| read_filters(&f)).unwrap_or_default();
        let (group, kind) = (group?, kind?);
        if kind != "InferencePool" || (group != POOL_GROUP && group != POOL_GROUP_EXPERIMENTAL) {
            let at = kind_field.as_ref().or(group_field.as_ref()).unwrap_or(field);
            let what = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
            let message = format!("{} backends are not supported", crate::source::shortened(&what));
            at.error(message, format!("write group: {POOL_GROUP} and kind: InferencePool"));
            return None;
        }
        let namespace = namespace
            .and_then(|f| f.text_where(is_dns_label, "a namespace").map(|text| (f, text.to_owned())));
        let weight = weight.and_then(|weight| u32::try_from(weight).ok());
        let backend = Backend { group: group.into(), name: name?.into(), port, weight: weight?, filters };
        Some((backend, namespace))
    });
    let (backend, namespace) = backend.flatten()?;
    if let Some((at, namespace)) = namespace
        && Some(namespace.as_str()) != field.report.namespace()
    {
        at.error(
            "is another namespace than the route's, which needs a ReferenceGrant, and those are not supported",
            "put the route and its pool into one namespace",
        );
    }
    Some(field.locate(backend))
}
