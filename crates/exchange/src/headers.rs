//! Headers with a meaning between gateway, endpoint picker and engine, and the removal of those that end here.

use http::{HeaderMap, HeaderName, header};

/// The body's `model`, set by the gateway for routes to match on (the extension's body-based routing).
pub const MODEL_NAME: HeaderName = HeaderName::from_static("x-gateway-model-name");
/// The InferenceObjective of a request; read from trusted peers only.
pub const OBJECTIVE: HeaderName = HeaderName::from_static("x-gateway-inference-objective");
/// The reason of a refusal, from a closed list.
pub const REASON: HeaderName = HeaderName::from_static("x-pointsman-reason");
/// Set on refusals, since client libraries retry 429 and 5xx by default.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// [`OBJECTIVE`] as newer gateways name it.
const OBJECTIVE_ALIAS: HeaderName = HeaderName::from_static("x-llm-d-inference-objective");

/// Instructions between gateway and endpoint picker. A client's copies are ignored, and engines receive none.
static CONTROL: [HeaderName; 13] = [
    MODEL_NAME,
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
    headers.get(OBJECTIVE).or_else(|| headers.get(OBJECTIVE_ALIAS)).and_then(|value| value.to_str().ok())
}

/// The media type of the body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    Some(value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}

/// The header fields that [`RequestReader::begin`](crate::RequestReader::begin) reads.
static READ: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, OBJECTIVE, OBJECTIVE_ALIAS];

/// The header of this name if [`RequestReader::begin`](crate::RequestReader::begin) reads it. A door that converts
/// headers may leave out all others.
#[must_use]
pub fn read_header(name: &str) -> Option<HeaderName> {
    READ.iter().find(|known| name.eq_ignore_ascii_case(known.as_str())).cloned()
}

/// The header of this name if it is a control header, which ends at Pointsman.
#[must_use]
pub fn control_header(name: &str) -> Option<HeaderName> {
    CONTROL.iter().find(|known| name.eq_ignore_ascii_case(known.as_str())).cloned()
}

/// Removes every control header.
pub fn strip_control_headers(headers: &mut HeaderMap) {
    for name in &CONTROL {
        headers.remove(name);
    }
}

/// Removes hop-by-hop headers (RFC 9110, section 7.6.1), those listed in `connection` included. `te: trailers` is removed
/// too, since trailers are passed on only over HTTP/2, which needs no `te`.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(listed) = headers.remove(header::CONNECTION) {
        let names = listed.to_str().unwrap_or_default().split(',');
        for name in names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()) {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in [header::TE, header::TRANSFER_ENCODING, header::UPGRADE, header::PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
    fn headers_listed_in_connection_are_stripped() {
        check(
            strip_hop_by_hop,
            &[
                ("connection", "keep-alive, X-Private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("te", "trailers"),
                ("accept", "*/*"),
            ],
            &["accept"],
        );
    }
}
