//! Filters of a rule or a backend of an HTTPRoute.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use pointsman_yaml::{Field, Fields, Location, quoted};

use super::gateway::read_hostname;
use super::route_match::{path_defect, read_header_name, read_header_value};
use crate::route::{Filter, HeaderChange, PathRewrite, RedirectRule};

/// The filters of a rule or of a backend.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RouteFilters {
    pub(crate) filters: Vec<Filter>,
    pub(crate) redirect: Option<RedirectRule>,
    /// The location of a `ReplacePrefixMatch`.
    pub(crate) replaces_prefix: Option<Location>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FilterType {
    RequestHeaders,
    ResponseHeaders,
    UrlRewrite,
    Redirect,
}

/// Filter types of the API; `None` for those not supported.
const TYPES: [(&str, Option<FilterType>); 8] = [
    ("RequestHeaderModifier", Some(FilterType::RequestHeaders)),
    ("ResponseHeaderModifier", Some(FilterType::ResponseHeaders)),
    ("URLRewrite", Some(FilterType::UrlRewrite)),
    ("RequestRedirect", Some(FilterType::Redirect)),
    ("RequestMirror", None),
    ("ExtensionRef", None),
    ("CORS", None),
    ("ExternalAuth", None),
];

pub(crate) fn read_filters(field: &Field<'_>) -> RouteFilters {
    let mut all = RouteFilters::default();
    let mut seen: Vec<FilterType> = Vec::new();
    field.list(16, |item| {
        let kind = item.fields(|fields| read_filter(fields, &mut all)).flatten()?;
        if seen.contains(&kind) {
            item.error("is the second filter of its type", "merge the two filters");
        }
        seen.push(kind);
        Some(())
    });
    if seen.contains(&FilterType::UrlRewrite) && seen.contains(&FilterType::Redirect) {
        field.error("URLRewrite and RequestRedirect exclude each other", "remove one of the two");
    }
    all
}

fn read_filter(fields: &mut Fields<'_>, all: &mut RouteFilters) -> Option<FilterType> {
    let kind = fields.required_value("type", "write the type of the filter", |f| {
        f.supported_choice(&TYPES, "remove the filter")
    });
    for name in ["requestMirror", "extensionRef", "cors", "externalAuth"] {
        fields.ignore(name);
    }
    let Some(kind) = kind else {
        for name in ["requestHeaderModifier", "responseHeaderModifier", "urlRewrite", "requestRedirect"] {
            fields.ignore(name);
        }
        return None;
    };
    match kind {
        FilterType::RequestHeaders => {
            let change = fields.required("requestHeaderModifier", "write headers to set, add or remove");
            all.filters.push(Filter::RequestHeaders(change.and_then(|f| read_change(&f))?));
        }
        FilterType::ResponseHeaders => {
            let change = fields.required("responseHeaderModifier", "write headers to set, add or remove");
            all.filters.push(Filter::ResponseHeaders(change.and_then(|f| read_change(&f))?));
        }
        FilterType::UrlRewrite => {
            let rewrite = fields.required("urlRewrite", "write a hostname or a path")?;
            let (hostname, path) = rewrite.fields(|f| (read_target_host(f), read_path(f, all)))?;
            if hostname.is_none() && path.is_none() && rewrite.is_sound() {
                rewrite.error("has no effect", "write a hostname or a path");
            }
            all.filters.push(Filter::UrlRewrite { hostname, path });
        }
        FilterType::Redirect => {
            let redirect =
                fields.required("requestRedirect", "write the parts to replace, such as scheme: https")?;
            all.redirect = Some(redirect.fields(|f| read_redirect(f, all))?);
        }
    }
    Some(kind)
}

/// Headers of message framing and of the connection, which a filter must not change.
const FRAMING: [HeaderName; 8] = [
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    http::header::TE,
    http::header::TRAILER,
    http::header::CONTENT_ENCODING,
    http::header::HOST,
];

fn read_change(field: &Field<'_>) -> Option<HeaderChange> {
    let change = field.fields(|fields| {
        let set = fields.list("set", 16, read_header);
        let add = fields.list("add", 16, read_header);
        let remove = fields.list("remove", 16, read_modifiable_name);
        HeaderChange { set, add, remove }
    })?;
    if change.set.is_empty() && change.add.is_empty() && change.remove.is_empty() && field.is_sound() {
        field.error("has no effect", "write headers to set, add or remove");
    }
    let names = change.set.iter().chain(&change.add).map(|(name, _)| name).chain(&change.remove);
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name.as_str()) {
            field.error(format!("{} is listed twice", quoted(name.as_str())), "write each header once");
        }
    }
    Some(change)
}

fn read_header(field: &Field<'_>) -> Option<(HeaderName, HeaderValue)> {
    field.fields(|fields| {
        let name = fields.required_value("name", "name the header", read_modifiable_name);
        let value = fields.required_value("value", "write the value", read_header_value);
        Some((name?, value?))
    })?
}

fn read_modifiable_name(field: &Field<'_>) -> Option<HeaderName> {
    let name = read_header_name(field)?;
    if FRAMING.contains(&name) {
        let fix =
            if name == http::header::HOST { "write a URLRewrite filter with hostname" } else { "remove it" };
        field.error(
            format!("{name} cannot be modified: it is part of the message framing or the connection"),
            fix,
        );
        return None;
    }
    Some(name)
}

fn read_target_host(fields: &mut Fields<'_>) -> Option<Arc<str>> {
    let field = fields.get("hostname")?;
    let host = read_hostname(&field)?;
    if host.starts_with('*') {
        field.error("cannot be a wildcard", "write a full host name");
        return None;
    }
    Some(host)
}

fn read_path(fields: &mut Fields<'_>, all: &mut RouteFilters) -> Option<PathRewrite> {
    let field = fields.get("path")?;
    field.fields(|fields| {
        const WORDS: [(&str, bool); 2] = [("ReplaceFullPath", true), ("ReplacePrefixMatch", false)];
        let full = fields
            .required_value("type", "write ReplaceFullPath or ReplacePrefixMatch", |f| f.choice(&WORDS));
        let (wanted, other) = match full {
            Some(true) => ("replaceFullPath", "replacePrefixMatch"),
            Some(false) => ("replacePrefixMatch", "replaceFullPath"),
            None => {
                fields.ignore("replaceFullPath");
                fields.ignore("replacePrefixMatch");
                return None;
            }
        };
        fields.refuse(other, "does not belong to this type", "remove it, or change the type");
        let value = fields.required(wanted, "write the new path")?;
        let text = value.text()?;
        let empty_prefix = text.is_empty() && full == Some(false);
        let defect = path_defect(text).filter(|_| !empty_prefix);
        if let Some(wrong) = defect.or((text.len() > 1024).then_some("is longer than 1024 characters")) {
            value.error(format!("{} {wrong}", quoted(text)), "write it like /v1");
            return None;
        }
        if full == Some(true) {
            return Some(PathRewrite::Full(text.into()));
        }
        all.replaces_prefix = Some(value.location());
        Some(PathRewrite::Prefix(text.into()))
    })?
}

fn read_redirect(fields: &mut Fields<'_>, all: &mut RouteFilters) -> RedirectRule {
    let https = fields.get("scheme").and_then(|f| f.choice(&[("http", false), ("https", true)]));
    let hostname = read_target_host(fields);
    let port = fields.get("port").and_then(|f| f.port());
    let path = read_path(fields, all);
    let status = fields.get("statusCode").and_then(|f| {
        let code = f.integer(300..=399)?;
        if !matches!(code, 301 | 302 | 303 | 307 | 308) {
            f.error(format!("{code} is not a redirect status"), "write 301, 302, 303, 307 or 308");
        }
        u16::try_from(code).ok()
    });
    RedirectRule { https, hostname, port, path, status: status.unwrap_or(302) }
}
