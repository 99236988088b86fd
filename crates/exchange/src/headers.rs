//! Headers with a meaning between gateway, endpoint picker and engine, and the removal of those that end here.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The body's `model`, set by the gateway for routes to match on (the extension's body-based routing).
pub const MODEL_NAME: HeaderName = HeaderName::from_static("x-gateway-model-name");
/// The base model of [`MODEL_NAME`]: what an adapter adapts, or the model itself.
pub const BASE_MODEL_NAME: HeaderName = HeaderName::from_static("x-gateway-base-model-name");
/// The InferenceObjective of a request; read from trusted peers only.
pub const OBJECTIVE: HeaderName = HeaderName::from_static("x-gateway-inference-objective");
/// The reason of a refusal, from a closed list.
pub const REASON: HeaderName = HeaderName::from_static("x-pointsman-reason");
/// Set to `false` on refusals that no retry mends, since client libraries retry 408, 409, 429 and 5xx by default.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// [`OBJECTIVE`] as newer gateways name it.
const OBJECTIVE_ALIAS: HeaderName = HeaderName::from_static("x-llm-d-inference-objective");

/// Instructions between gateway and endpoint picker. A client's copies are ignored, and engines receive none.
static CONTROL: [HeaderName; 14] = [
    MODEL_NAME,
    BASE_MODEL_NAME,
    OBJECTIVE,
    OBJECTIVE_ALIAS,
    HeaderName::from_static("x-gateway-inference-fairness-id"),
    HeaderName::from_static("x-llm-d-inference-fairness-id"),
    HeaderName::from_static("x-gateway-model-name-rewrite"),
    HeaderName::from_static("x-llm-d-model-name-rewrite"),
    HeaderName::from_static("x-gateway-destination-endpoint"),
    HeaderName::from_static("x-gateway-destination-endpoint-fallback"),
    HeaderName::from_static("x-gateway-destination-endpoint-subset"),
    HeaderName::from_static("x-gateway-destination-endpoint-served"),
    HeaderName::from_static("x-prefiller-host-port"),
    HeaderName::from_static("x-data-parallel-host-port"),
];

pub(crate) fn objective(headers: &HeaderMap) -> Option<&str> {
    if !has_control_headers(headers) {
        return None;
    }
    headers.get(OBJECTIVE).or_else(|| headers.get(OBJECTIVE_ALIAS)).and_then(|value| value.to_str().ok())
}

/// The media type of the body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    Some(value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}

/// Headers of one connection.
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// The header fields that [`RequestReader::begin`](crate::RequestReader::begin) reads.
static READ: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::UPGRADE,
    OBJECTIVE,
    OBJECTIVE_ALIAS,
];

/// The header of this name if [`RequestReader::begin`](crate::RequestReader::begin) reads it. A door that converts
/// headers may leave out all others.
#[must_use]
pub fn read_header(name: &str) -> Option<HeaderName> {
    READ.iter().find(|known| name.eq_ignore_ascii_case(known.as_str())).cloned()
}

/// The header of this name if it is a control header, which ends at Pointsman.
#[must_use]
pub fn control_header(name: &str) -> Option<HeaderName> {
    // Most headers of a request are none, and are told at once.
    let is_extension =
        name.as_bytes().first_chunk().is_some_and(|start: &[u8; 2]| start.eq_ignore_ascii_case(b"x-"));
    let known = || CONTROL.iter().find(|known| name.eq_ignore_ascii_case(known.as_str())).cloned();
    is_extension.then(known).flatten()
}

/// Whether there is any control header. Few requests have one, and this is cheaper than looking for a few by name.
#[must_use]
pub fn has_control_headers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-") && CONTROL.contains(name))
}

/// Removes every control header.
pub fn strip_control_headers(headers: &mut HeaderMap) {
    if has_control_headers(headers) {
        for name in &CONTROL {
            headers.remove(name);
        }
    }
}

/// Whether the client asks for a WebSocket. An upgrade to any other protocol is ignored, as RFC 9110 permits: the bytes of
/// another HTTP version would pass unread.
#[must_use]
pub fn asks_for_tunnel(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter().flat_map(elements);
    protocols.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The elements of a comma-separated header value.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Removes hop-by-hop headers (RFC 9110, section 7.6.1), those listed in `connection` included, but for those of the content:
/// the engine is to read it as it was read here. `te: trailers` is removed
/// too, since trailers are passed on only over HTTP/2, which needs no `te`. So is a `content-length` beside
/// `transfer-encoding`, which overrides it (RFC 9112, section 6.3).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Few messages have any, and this is cheaper than looking for each.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(elements)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !name.as_str().starts_with("content-"))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strip: fn(&mut HeaderMap), before: &[(&str, &str)], after: &[&str]) {
        let mut headers = HeaderMap::new();
        for (name, value) in before {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, after);
    }

    #[test]
    fn control_headers_are_stripped() {
        let all: Vec<(&str, &str)> = CONTROL.iter().map(|name| (name.as_str(), "x")).collect();
        check(strip_control_headers, &all, &[]);
        check(
            strip_control_headers,
            &[("x-request-id", "7"), ("x-gateway-model-name", "m")],
            &["x-request-id"],
        );
    }

    #[test]
    fn control_headers_are_found_by_name() {
        for name in &CONTROL {
            assert_eq!(control_header(name.as_str()), Some(name.clone()));
        }
        assert_eq!(control_header("X-Gateway-Model-Name"), Some(MODEL_NAME));
        assert_eq!(control_header("content-type"), None);
    }

    #[test]
    fn a_websocket_is_the_only_upgrade() {
        for (values, expected) in [
            (&["websocket"][..], true),
            (&["h2c, WebSocket"], true),
            (&["h2c", "websocket"], true),
            (&["h2c"], false),
            (&["H2C"], false),
            (&["TLS/1.2"], false),
            (&["websockets"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::UPGRADE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(asks_for_tunnel(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn headers_listed_in_connection_are_stripped() {
        check(
            strip_hop_by_hop,
            &[
                ("connection", "keep-alive, X-Private"),
                ("connection", "X-Second, Content-Type, content-encoding"),
                ("content-type", "application/json"),
                ("content-encoding", "br"),
                ("x-private", "1"),
                ("x-second", "1"),
                ("http2-settings", "AAM"),
                ("content-length", "4"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("accept", "*/*"),
            ],
            &["accept", "content-encoding", "content-type"],
        );
    }
}
