//! Finds the endpoint that holds a stored response which this process does not remember: after a restart, or because
//! another instance served it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, Method, Request, header};
use pointsman_core::EndpointId;
use pointsman_fleet::{CREDENTIALS, PoolEndpoint, PoolHandle};
use tokio::time::timeout;

use crate::shared::Shared;
use crate::upstream::RequestBody;

/// Maximum number of endpoints that are asked.
const ENDPOINTS: usize = 64;
/// Maximum number of searches at one time. A request beyond it is answered as if nobody had the response.
const SEARCHES: u64 = 16;
/// Timeout of a search.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks all endpoints of the pool for the response, and remembers the one that has it.
pub(crate) async fn find(shared: &Shared, pool: &Arc<PoolHandle>, id: &str, headers: &HeaderMap) {
    let mut share = shared.searches.share();
    if pool.endpoints.len() < 2 || shared.door.holder(pool, id).is_some() || !share.grow_to(1, SEARCHES) {
        return;
    }
    let asked = pool.endpoints.iter().take(ENDPOINTS);
    let mut answers: FuturesUnordered<_> =
        asked.map(|endpoint| has_response(shared, endpoint, id, headers)).collect();
    let first = async {
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    };
    if let Ok(Some(endpoint)) = timeout(TIMEOUT, first).await {
        shared.door.remember_response(id, endpoint);
    }
}

/// The endpoint's number if it has the response.
async fn has_response(
    shared: &Shared,
    endpoint: &Arc<PoolEndpoint>,
    id: &str,
    headers: &HeaderMap,
) -> Option<EndpointId> {
    let upstream = shared.upstreams.of(endpoint);
    let mut request = Request::new(RequestBody::new(None, None));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = format!("/v1/responses/{}", pointsman_protocol::percent_encode(id)).parse().ok()?;
    let sent = request.headers_mut();
    sent.insert(header::HOST, upstream.authority.clone());
    match upstream.api_key() {
        Some((name, key)) => {
            sent.insert(name, key);
        }
        None => {
            for name in &CREDENTIALS {
                if let Some(value) = headers.get(name) {
                    sent.insert(name, value.clone());
                }
            }
        }
    }
    let response = upstream.send(endpoint, request, false).await.ok()?;
    response.head.status.is_success().then_some(endpoint.id)
}
