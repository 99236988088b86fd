//! The head of a request on its way to an engine, and of the answer on its way back.

use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use pointsman_config::route::{Filter, Forward, HeaderChange, PathRewrite};
use pointsman_exchange::{Outgoing, strip_hop_by_hop};

use crate::client::Client;
use crate::upstream::{OutBody, Upstream};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The head that every attempt of a request starts from.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    rewrites_host: bool,
}

impl Template {
    /// Takes the client's head, and makes of it what route and engine want.
    pub(crate) fn new(
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        forward: &Forward<'_>,
        client: &Client,
        outgoing: &Outgoing,
    ) -> Self {
        strip_hop_by_hop(&mut headers);
        outgoing.prepare_headers(&mut headers);
        // Whoever reads the body answers the expectation.
        headers.remove(header::EXPECT);
        add_forwarded(&mut headers, uri, client);
        let mut template = Self { method, uri: origin_form(uri), headers, rewrites_host: false };
        for filter in forward.filters {
            template.apply(filter, forward.matched_prefix);
        }
        template
    }

    fn apply(&mut self, filter: &Filter, matched_prefix: &str) {
        match filter {
            Filter::RequestHeaders(change) => apply(&mut self.headers, change),
            Filter::ResponseHeaders(_) => {}
            Filter::UrlRewrite { hostname, path } => {
                if let Some(host) = hostname.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
                    self.headers.insert(header::HOST, host);
                    self.rewrites_host = true;
                }
                if let Some(path) = path {
                    self.uri = rewritten(&self.uri, path, matched_prefix);
                }
            }
        }
    }

    /// Asks the engine for the protocol that the client asks for.
    pub(crate) fn ask_upgrade(&mut self, protocol: HeaderValue) {
        self.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        self.headers.insert(header::UPGRADE, protocol);
    }

    /// Passes on another place in the client's trace.
    pub(crate) fn set_traceparent(&mut self, traceparent: HeaderValue) {
        self.headers.insert(HeaderName::from_static("traceparent"), traceparent);
    }

    /// One attempt's request. The client's `host` stays, as the Gateway API has it, except over TLS, where the engine
    /// is a named server that other names mean nothing to.
    pub(crate) fn request(&self, upstream: &Upstream, body: OutBody) -> Request<OutBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        if !self.rewrites_host && (upstream.is_secure() || !headers.contains_key(header::HOST)) {
            headers.insert(header::HOST, upstream.authority().clone());
        }
        if let Some(authorization) = upstream.authorization() {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        request
    }
}

/// Makes an engine's headers fit for the client.
pub(crate) fn answer_headers(headers: &mut HeaderMap, filters: &[Filter]) {
    strip_hop_by_hop(headers);
    for filter in filters {
        match filter {
            Filter::ResponseHeaders(change) => apply(headers, change),
            Filter::RequestHeaders(_) | Filter::UrlRewrite { .. } => {}
        }
    }
}

fn apply(headers: &mut HeaderMap, change: &HeaderChange) {
    for (name, value) in &change.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &change.add {
        headers.append(name, value.clone());
    }
    for name in &change.remove {
        headers.remove(name);
    }
}

/// What proxies tell engines of the client. `x-forwarded-for` grows by the peer; the other two are kept where a
/// trusted peer set them, and written anew otherwise.
fn add_forwarded(headers: &mut HeaderMap, uri: &Uri, client: &Client) {
    let peer = client.address_value();
    let chain = match headers.get(FORWARDED_FOR) {
        Some(before) if client.trusted => {
            let joined = [before.as_bytes(), b", ", peer.as_bytes()].concat();
            HeaderValue::from_bytes(&joined).unwrap_or_else(|_| peer.clone())
        }
        Some(_) | None => peer.clone(),
    };
    headers.insert(FORWARDED_FOR, chain);
    if !client.trusted || !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(client.scheme()));
    }
    if let Some(host) = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        headers.insert(header::HOST, host);
    }
    if !client.trusted || !headers.contains_key(FORWARDED_HOST) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
}

fn origin_form(uri: &Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri.clone();
    }
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// The path as the rewrite wants it; the query stays. What would be no path is left alone.
fn rewritten(uri: &Uri, rewrite: &PathRewrite, matched_prefix: &str) -> Uri {
    let path = match rewrite {
        PathRewrite::Full(path) => path.to_string(),
        PathRewrite::Prefix(prefix) => {
            let matched = matched_prefix.trim_end_matches('/');
            let rest = uri.path().strip_prefix(matched).unwrap_or_default().trim_start_matches('/');
            let prefix = prefix.trim_end_matches('/');
            if rest.is_empty() && !prefix.is_empty() { prefix.to_owned() } else { format!("{prefix}/{rest}") }
        }
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    PathAndQuery::try_from(path).map_or_else(|_| uri.clone(), Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_rewrite_replaces_the_prefix_or_all_and_keeps_the_query() {
        #[track_caller]
        fn check(uri: &'static str, rewrite: &PathRewrite, prefix: &str, expected: &str) {
            assert_eq!(rewritten(&Uri::from_static(uri), rewrite, prefix), expected);
        }
        let to = |text: &str| PathRewrite::Prefix(text.into());
        check("/a/b?q=1", &to("/x"), "/a", "/x/b?q=1");
        check("/a", &to("/x"), "/a", "/x");
        check("/a/", &to("/"), "/a", "/");
        check("/a/b", &to("/"), "/a/", "/b");
        check("/a", &to("/"), "/a", "/");
        check("/b/c", &to("/x"), "/", "/x/b/c");
        check("/a/b?q", &PathRewrite::Full("/z".into()), "", "/z?q");
    }
}
