//! Head of the request to an engine, and headers of its response.

use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use pointsman_config::route::{Filter, Forward, HeaderChange, PathRewrite};
use pointsman_door::{REQUEST_ID, RequestContext, TRACEPARENT};
use pointsman_exchange::{EngineRequest, strip_hop_by_hop};
use pointsman_fleet::CREDENTIALS;

use crate::client::Client;
use crate::tunnel;
use crate::upstream::{RequestBody, Upstream};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// [`REQUEST_ID`] as a name.
pub(crate) const REQUEST_ID_NAME: HeaderName = HeaderName::from_static(REQUEST_ID);
/// [`TRACEPARENT`] as a name.
pub(crate) const TRACEPARENT_NAME: HeaderName = HeaderName::from_static(TRACEPARENT);

/// Request head from which every attempt is built.
#[derive(Clone, Debug)]
pub(crate) struct RequestTemplate {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    rewrites_host: bool,
}

impl RequestTemplate {
    /// Builds the head from the client's: removes what ends here, adds `x-forwarded-*` and applies the route's filters.
    /// `engine_uri` is that of [`engine_uri`].
    pub(crate) fn new(
        method: Method,
        (uri, engine_uri): (&Uri, Uri),
        mut headers: HeaderMap,
        forward: &Forward<'_>,
        client: &Client,
        engine_request: &EngineRequest,
    ) -> Self {
        strip_hop_by_hop(&mut headers);
        engine_request.prepare_headers(&mut headers);
        // hyper answers the expectation when the body is read.
        headers.remove(header::EXPECT);
        join_cookies(&mut headers);
        add_forwarded(&mut headers, uri, client);
        let named = engine_request.path().and_then(|path| PathAndQuery::try_from(path).ok());
        let uri = named.map_or(engine_uri, Uri::from);
        let mut template = Self { method, uri, headers, rewrites_host: false };
        for filter in forward.filters {
            template.apply(filter);
        }
        template
    }

    fn apply(&mut self, filter: &Filter) {
        match filter {
            Filter::RequestHeaders(change) => apply(&mut self.headers, change),
            Filter::ResponseHeaders(_) => {}
            Filter::UrlRewrite { hostname, .. } => {
                if let Some(host) = hostname.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
                    self.headers.insert(header::HOST, host);
                    self.rewrites_host = true;
                }
            }
        }
    }

    /// Asks the engine for a WebSocket.
    pub(crate) fn request_tunnel(&mut self) {
        self.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        self.headers.insert(header::UPGRADE, tunnel::PROTOCOL);
    }

    /// The client's ID of the request.
    pub(crate) fn request_id(&self) -> Option<&[u8]> {
        self.headers.get(REQUEST_ID_NAME).map(HeaderValue::as_bytes)
    }

    /// Replaces the client's trace context.
    pub(crate) fn set_traceparent(&mut self, traceparent: HeaderValue) {
        self.headers.insert(TRACEPARENT_NAME, traceparent);
    }

    /// The request of one attempt. Keeps the client's `host`, as the Gateway API specifies, except over TLS, where a server
    /// accepts only its own name.
    pub(crate) fn request(&self, upstream: &Upstream, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        if !self.rewrites_host && (upstream.secure || !headers.contains_key(header::HOST)) {
            headers.insert(header::HOST, upstream.authority.clone());
        }
        if let Some((name, key)) = upstream.api_key() {
            for credentials in &CREDENTIALS {
                headers.remove(credentials);
            }
            headers.insert(name, key);
        }
        request
    }
}

/// Turns a response's headers into the client's: those of the connection are removed, the request's ID is added, and the
/// route's filters are applied.
pub(crate) fn response_headers(headers: &mut HeaderMap, context: &RequestContext, filters: &[Filter]) {
    strip_hop_by_hop(headers);
    if let Some(id) = context.request_id() {
        headers.insert(REQUEST_ID_NAME, id.clone());
    }
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

/// Appends the peer to a trusted peer's `x-forwarded-for`, and keeps the proto and host that it set; sets all three for
/// other peers.
fn add_forwarded(headers: &mut HeaderMap, uri: &Uri, client: &Client) {
    let peer = &client.value;
    let chain = match headers.get(FORWARDED_FOR) {
        Some(chain) if client.trusted => {
            let joined = [chain.as_bytes(), b", ", peer.as_bytes()].concat();
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

/// Joins cookies that came in several fields, as HTTP/2 has them: HTTP/1.1 allows one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// The URI that the engine gets, in origin form: that of the client, with the path as the route's filters rewrite it.
pub(crate) fn engine_uri(uri: &Uri, forward: &Forward<'_>) -> Uri {
    let mut uri = origin_form(uri);
    for filter in forward.filters {
        match filter {
            Filter::UrlRewrite { path: Some(path), .. } => {
                uri = rewritten(&uri, path, forward.matched_prefix);
            }
            Filter::UrlRewrite { path: None, .. }
            | Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_) => {}
        }
    }
    uri
}

/// The path of a URI with its query.
pub(crate) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

fn origin_form(uri: &Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri.clone();
    }
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// Rewrites the path and keeps the query. A result that is not a valid path leaves the URI unchanged.
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
    fn several_cookies_become_one() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "b=2; c=3"] {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_path_rewrite_keeps_the_query() {
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
