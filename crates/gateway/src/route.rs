//! Finds the target of a request: a pool, or a response of the gateway itself.

use std::sync::Arc;

use http::{HeaderValue, Response, header, request};
use pointsman_config::route::{Forward, Redirect, RouteAction, RouteRequest};
use pointsman_exchange::{MODEL_NAME, ParsedRequest, Refusal};
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::Route;

use crate::bound_port::{self, BoundPort};
use crate::model_list;
use crate::response::ResponseBody;

/// Target of a routed request.
pub(crate) enum RouteTarget<'a> {
    /// The gateway's own response.
    Local(Response<ResponseBody>),
    /// A pool.
    Pool(Forward<'a>, &'a Arc<PoolHandle>),
}

/// Matches the routes of the listeners behind `port`. Sets `x-gateway-model-name` to the body's model
/// first, if any route matches on it. `draw` chooses among weighted backends.
///
/// # Errors
/// No route matches, or the route has no backend.
pub(crate) fn find_target<'a>(
    port: BoundPort,
    generation: &'a Generation,
    head: &mut request::Parts,
    request: &ParsedRequest,
    draw: u64,
) -> Result<RouteTarget<'a>, Refusal> {
    head.headers.remove(MODEL_NAME);
    if generation.world.listeners.iter().any(|listener| listener.routes.matches_on_model())
        && let Some(model) = request.model().and_then(|model| HeaderValue::from_str(model).ok())
    {
        head.headers.insert(MODEL_NAME, model);
    }
    let host = bound_port::host(&head.uri, &head.headers);
    let wanted = RouteRequest {
        host,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        method: &head.method,
        headers: &head.headers,
    };
    let mut listeners = port.listeners(&generation.world, host);
    match listeners.find_map(|listener| listener.routes.find(&wanted, draw)) {
        None => Err(Refusal::NoRoute),
        Some(RouteAction::NoBackend) => Err(Refusal::NoBackend),
        Some(RouteAction::Redirect(redirect)) => {
            redirect_response(&redirect).map(RouteTarget::Local).ok_or(Refusal::NoBackend)
        }
        Some(RouteAction::Forward(forward)) => match request.route() {
            Route::Models { id } => model_list::response(generation, id.as_deref())
                .map(RouteTarget::Local)
                .ok_or(Refusal::UndeclaredModel),
            Route::Inference(_) | Route::Stored { .. } | Route::Administration | Route::Unknown => {
                let pool = generation.pool(forward.pool).ok_or(Refusal::NoBackend)?;
                Ok(RouteTarget::Pool(forward, pool))
            }
        },
    }
}

fn redirect_response(redirect: &Redirect) -> Option<Response<ResponseBody>> {
    Response::builder()
        .status(redirect.status)
        .header(header::LOCATION, &redirect.location)
        .body(ResponseBody::full(bytes::Bytes::new()))
        .ok()
}
