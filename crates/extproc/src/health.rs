//! The gRPC health service (`grpc.health.v1`), under all service names that gateways use.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::Status;

use crate::shared::Shared;

/// The service name for liveness.
const LIVENESS: &str = "liveness";
/// The service names for readiness: the picker has its pool and accepts streams.
const READINESS: [&str; 4] =
    ["", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];
/// The longest delay of a change for a watcher.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// `HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthRequest {
    /// The service name; empty for the whole server.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthResponse {
    /// `ServingStatus`.
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

impl HealthResponse {
    const SERVING: Self = Self { status: 1 };
    const NOT_SERVING: Self = Self { status: 2 };
    const SERVICE_UNKNOWN: Self = Self { status: 3 };
}

/// The response to `Check`; NOT_FOUND for another service name.
pub(crate) fn check(shared: &Shared, service: &str) -> Result<HealthResponse, Status> {
    match state(shared, service) {
        HealthResponse::SERVICE_UNKNOWN => Err(Status::not_found("no such service; use \"readiness\"")),
        known => Ok(known),
    }
}

/// The responses to `Watch`: one at once and one after each change.
pub(crate) fn watch(
    shared: Arc<Shared>,
    service: String,
) -> impl Stream<Item = Result<HealthResponse, Status>> + Send {
    stream::unfold((shared, service, None), async |(shared, service, told)| {
        loop {
            let now = state(&shared, &service);
            if told != Some(now) {
                return Some((Ok(now), (shared, service, Some(now))));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
}

fn state(shared: &Shared, service: &str) -> HealthResponse {
    if service == LIVENESS {
        HealthResponse::SERVING
    } else if !READINESS.contains(&service) {
        HealthResponse::SERVICE_UNKNOWN
    } else if shared.ready() {
        HealthResponse::SERVING
    } else {
        HealthResponse::NOT_SERVING
    }
}
