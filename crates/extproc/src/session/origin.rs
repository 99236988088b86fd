//! Whether an engine or the gateway itself made a response, and what a gateway has shown of how it treats destinations.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

/// Set by Envoy's router on every response of an upstream host, and on none of its own.
const SERVICE_TIME: &str = "x-envoy-upstream-service-time";
/// Envoy's `response.code_details` of a response that an upstream host made.
const VIA_UPSTREAM: &str = "via_upstream";

/// Beginning of Envoy's `response.code_details` of a response that it made because the upstream host's connection broke.
const RESET: &str = "upstream_reset_before_response_started{";
/// The reasons behind that which an engine gives, after it has accepted the connection.
const BY_ENGINE: [&str; 3] = ["connection_termination", "remote_reset", "protocol_error"];

/// What a gateway has shown of itself in its responses. Kept for each connection, since gateways of different kinds may
/// share a picker.
#[derive(Debug, Default)]
pub struct DataPlane {
    reports_served: AtomicBool,
    reports_service_time: AtomicBool,
}

impl DataPlane {
    /// Whether it has reported the endpoint that served a request, so that it selects hosts by the list of destinations.
    /// One that reads the header as a single address (an `ORIGINAL_DST` cluster) answers every list with a 503.
    #[must_use]
    pub fn reads_lists(&self) -> bool {
        self.reports_served.load(Ordering::Relaxed)
    }
}

/// What a gateway says of a response besides its head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery<'a> {
    /// The address that it sent the request to.
    pub(super) served: Option<&'a str>,
    /// The attribute `response.code_details`.
    pub(super) code_details: Option<&'a str>,
}

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An engine.
    Engine,
    /// The gateway: it found no host, or could not connect, or a filter answered.
    Gateway,
    /// Nothing tells. It is not held against an engine.
    Unknown,
}

impl Origin {
    /// The origin of a response with these header fields. A successful one is always an engine's.
    pub(super) fn of<'a>(
        status: StatusCode,
        mut names: impl Iterator<Item = &'a str>,
        delivery: Delivery<'_>,
        plane: &DataPlane,
    ) -> Self {
        if delivery.served.is_some() {
            plane.reports_served.store(true, Ordering::Relaxed);
        }
        if let Some(details) = delivery.code_details {
            let is_engines = details == VIA_UPSTREAM || is_reset_by_engine(details);
            return if is_engines { Self::Engine } else { Self::Gateway };
        }
        let is_error = status.is_client_error() || status.is_server_error();
        let learned = plane.reports_service_time.load(Ordering::Relaxed);
        if (is_error || !learned) && names.any(|name| name == SERVICE_TIME) {
            plane.reports_service_time.store(true, Ordering::Relaxed);
            return Self::Engine;
        }
        match (is_error, learned, delivery.served) {
            (false, _, _) | (true, false, Some(_)) => Self::Engine,
            (true, true, _) => Self::Gateway,
            (true, false, None) if plane.reads_lists() => Self::Gateway,
            (true, false, None) => Self::Unknown,
        }
    }
}

/// Whether an engine accepted a request and broke the connection: the gateway answers then, because the engine did not.
fn is_reset_by_engine(details: &str) -> bool {
    let reason = details.strip_prefix(RESET);
    reason.is_some_and(|reason| BY_ENGINE.iter().any(|known| reason.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Delivery<'static> = Delivery { served: Some("10.0.0.1:8000"), code_details: None };
    const NOTHING: Delivery<'static> = Delivery { served: None, code_details: None };

    #[track_caller]
    fn check(plane: &DataPlane, status: u16, names: &[&str], delivery: Delivery<'_>, expected: Origin) {
        let status = StatusCode::from_u16(status).unwrap();
        let origin = Origin::of(status, names.iter().copied(), delivery, plane);
        assert_eq!(origin, expected, "{status} {names:?} {delivery:?}");
    }

    #[test]
    fn the_details_decide_where_the_gateway_sends_them() {
        let plane = DataPlane::default();
        let details =
            |details: &'static str| Delivery { served: Some("10.0.0.1:8000"), code_details: Some(details) };
        check(&plane, 503, &[], details("via_upstream"), Origin::Engine);
        check(&plane, 503, &[SERVICE_TIME], details("no_healthy_upstream"), Origin::Gateway);
        check(&plane, 404, &[], details("route_not_found"), Origin::Gateway);
        let resets = [
            ("upstream_reset_before_response_started{connection_failure}", Origin::Gateway),
            ("upstream_reset_before_response_started{connection_termination}", Origin::Engine),
            ("upstream_reset_before_response_started{remote_reset|more}", Origin::Engine),
        ];
        for (reset, origin) in resets {
            check(&plane, 503, &[], Delivery { served: None, code_details: Some(reset) }, origin);
        }
    }

    #[test]
    fn an_error_without_any_sign_of_an_engine_is_not_an_engines() {
        check(&DataPlane::default(), 503, &["content-type"], NOTHING, Origin::Unknown);
        check(&DataPlane::default(), 200, &["content-type"], NOTHING, Origin::Engine);
        check(&DataPlane::default(), 503, &["content-type", SERVICE_TIME], NOTHING, Origin::Engine);
        check(&DataPlane::default(), 503, &[], HOST, Origin::Engine);
    }

    #[test]
    fn what_a_gateway_always_sends_tells_its_own_errors() {
        let plane = DataPlane::default();
        check(&plane, 200, &[SERVICE_TIME], NOTHING, Origin::Engine);
        check(&plane, 503, &[], HOST, Origin::Gateway);
        check(&plane, 503, &[SERVICE_TIME], NOTHING, Origin::Engine);
        let plane = DataPlane::default();
        check(&plane, 200, &[], HOST, Origin::Engine);
        assert!(plane.reads_lists());
        check(&plane, 503, &[], NOTHING, Origin::Gateway);
    }

    #[test]
    fn only_a_served_endpoint_shows_that_lists_are_read() {
        let plane = DataPlane::default();
        check(&plane, 200, &[SERVICE_TIME], NOTHING, Origin::Engine);
        assert!(!plane.reads_lists());
        check(&plane, 200, &[SERVICE_TIME], HOST, Origin::Engine);
        assert!(plane.reads_lists());
    }
}
