//! The gRPC health service (`grpc.health.v1`), under every name that gateways ask for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::Status;

use crate::shared::Shared;

/// The process is alive.
const LIVENESS: &str = "liveness";
/// The picker knows its pool and takes streams.
const READINESS: [&str; 4] =
    ["", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];
/// How soon a watcher learns of a change.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A question.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthRequest {
    /// The service asked for; empty for the whole server.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// Its answer.
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

/// One answer; a service of another name is not found.
pub(crate) fn check(shared: &Shared, service: &str) -> Result<HealthResponse, Status> {
    match state(shared, service) {
        HealthResponse::SERVICE_UNKNOWN => Err(Status::not_found("no such service; ask for \"readiness\"")),
        known => Ok(known),
    }
}

/// An answer now and one at each change.
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
            tokio::time::sleep(LOOK_EVERY).await;
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
