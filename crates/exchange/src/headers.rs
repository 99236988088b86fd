//! Header names with a meaning between gateways, and which of them an engine never sees.

use http::{HeaderMap, HeaderName, header};

/// Set by the gateway from the body's `model`, for routes to match on (the extension's body-based routing).
pub const MODEL_NAME: HeaderName = HeaderName::from_static("x-gateway-model-name");
/// Names the InferenceObjective of a request; believed from trusted peers only.
pub const OBJECTIVE: HeaderName = HeaderName::from_static("x-gateway-inference-objective");
/// On our own refusals: the reason, from a closed list.
pub const REASON: HeaderName = HeaderName::from_static("x-pointsman-reason");
/// On our own refusals: tells client libraries, which repeat 429 and 5xx by themselves, not to.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The objective's name in newer gateways.
const OBJECTIVE_ALIAS: HeaderName = HeaderName::from_static("x-llm-d-inference-objective");

/// Instructions between gateway and endpoint picker. A client's copies mean nothing, and engines get none.
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

/// The objective that a trusted peer names.
pub(crate) fn objective(headers: &HeaderMap) -> Option<&str> {
    headers.get(OBJECTIVE).or_else(|| headers.get(OBJECTIVE_ALIAS)).and_then(|value| value.to_str().ok())
}

/// The fields that [`Incoming::begin`](crate::Incoming::begin) reads.
static READ: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, OBJECTIVE, OBJECTIVE_ALIAS];

/// The field of this name if reading a request's head needs it. A door that builds its header map from
/// something else may leave out all others.
#[must_use]
pub fn read_header(name: &str) -> Option<HeaderName> {
    READ.iter().find(|known| name.eq_ignore_ascii_case(known.as_str())).cloned()
}

/// The control header of this name.
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

/// Removes what belongs to one connection alone (RFC 9110, section 7.6.1), the headers that `connection` lists
/// included. `te: trailers` is dropped too: trailers are passed on only where HTTP/2 carries them anyway.
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
    fn control_headers_never_reach_an_engine() {
        let all: Vec<(&str, &str)> = CONTROL.iter().map(|name| (name.as_str(), "x")).collect();
        check(strip_control_headers, &all, &[]);
        check(
            strip_control_headers,
            &[("x-request-id", "7"), ("x-gateway-model-name", "m")],
            &["x-request-id"],
        );
    }

    #[test]
    fn control_headers_are_known_by_name() {
        for name in &CONTROL {
            assert_eq!(control_header(name.as_str()), Some(name.clone()));
        }
        assert_eq!(control_header("X-Gateway-Model-Name"), Some(MODEL_NAME));
        assert_eq!(control_header("content-type"), None);
    }

    #[test]
    fn headers_that_the_connection_lists_end_there() {
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
