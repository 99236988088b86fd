//! Finds the target of a request: a pool, or a response of the gateway itself.

use std::sync::Arc;

use http::{HeaderValue, Response, header, request};
use pointsman_config::route::{Filter, Forward, Redirect, RouteAction, RouteRequest};
use pointsman_config::{Listener, PoolIndex};
use pointsman_exchange::{
    BASE_MODEL_NAME, MODEL_NAME, ParsedRequest, Refusal, has_control_headers, strip_control_headers,
};
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::Route;

use crate::bound_port::{self, BoundPort};
use crate::response::ResponseBody;

/// Target of a routed request.
pub(crate) enum RouteTarget<'a> {
    /// The gateway's own response.
    Local(Response<ResponseBody>),
    /// A pool.
    Pool(Forward<'a>, &'a Arc<PoolHandle>),
}

/// Matches the routes of the listeners behind `port`. First removes the control headers of a client that is not trusted,
/// and sets `x-gateway-model-name` and `x-gateway-base-model-name` to the request's model and its base model, if any route
/// matches on them. `draw` chooses among weighted backends.
///
/// # Errors
/// No route matches, or the route has no backend.
pub(crate) fn find_target<'a>(
    port: BoundPort,
    generation: &'a Generation,
    head: &mut request::Parts,
    request: &ParsedRequest,
    (trusted, draw): (bool, u64),
) -> Result<RouteTarget<'a>, Refusal> {
    if !trusted {
        strip_control_headers(&mut head.headers);
    } else if has_control_headers(&head.headers) {
        head.headers.remove(MODEL_NAME);
        head.headers.remove(BASE_MODEL_NAME);
    }
    if generation.world.listeners.iter().any(|listener| listener.routes.matches_on_model())
        && let Some(model) = request.model()
    {
        let base = generation.base_model(model);
        let named = [(MODEL_NAME, model), (BASE_MODEL_NAME, base.as_deref().unwrap_or(model))];
        for (header, name) in named {
            // A name with control characters, which no route can match, has no header.
            if let Ok(name) = HeaderValue::from_bytes(name.as_bytes()) {
                head.headers.insert(header, name);
            }
        }
    }
    let wanted = route_request(head);
    let host = wanted.host;
    let mut listeners = port.listeners(&generation.world, host);
    match listeners.find_map(|listener| listener.routes.find(&wanted, draw)) {
        None => {
            let mut listeners = port.listeners(&generation.world, host);
            let any_model = |listener: &'a Listener| listener.routes.find_any_model(&wanted, draw);
            match (request.route(), listeners.find_map(any_model)) {
                (Route::Models { .. }, Some(RouteAction::Forward(forward))) => target(generation, forward),
                _ => Err(Refusal::NoRoute),
            }
        }
        Some(RouteAction::NoBackend) => Err(Refusal::NoBackend),
        Some(RouteAction::Redirect(redirect)) => {
            redirect_response(&redirect).map(RouteTarget::Local).ok_or(Refusal::NoBackend)
        }
        Some(RouteAction::Forward(forward)) => target(generation, forward),
    }
}

fn target<'a>(generation: &'a Generation, forward: Forward<'a>) -> Result<RouteTarget<'a>, Refusal> {
    let pool = generation.pool(forward.pool).ok_or(Refusal::NoBackend)?;
    Ok(RouteTarget::Pool(forward, pool))
}

/// The pools of a request's route for any model.
pub(crate) fn pools_of_any_model(
    port: BoundPort,
    generation: &Generation,
    head: &request::Parts,
) -> Vec<PoolIndex> {
    let wanted = route_request(head);
    let listeners = port.listeners(&generation.world, wanted.host);
    listeners.flat_map(|listener| listener.routes.pools_of_any_model(&wanted)).collect()
}

/// The filters of the route of a request whose model is not known.
pub(crate) fn filters<'a>(
    port: BoundPort,
    generation: &'a Generation,
    head: &request::Parts,
    draw: u64,
) -> &'a [Filter] {
    let wanted = route_request(head);
    let mut listeners = port.listeners(&generation.world, wanted.host);
    match listeners.find_map(|listener| listener.routes.find(&wanted, draw)) {
        Some(RouteAction::Forward(forward)) => forward.filters,
        Some(RouteAction::Redirect(_) | RouteAction::NoBackend) | None => &[],
    }
}

fn route_request(head: &request::Parts) -> RouteRequest<'_> {
    RouteRequest {
        host: bound_port::host(&head.uri, &head.headers),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        method: &head.method,
        headers: &head.headers,
    }
}

fn redirect_response(redirect: &Redirect) -> Option<Response<ResponseBody>> {
    Response::builder()
        .status(redirect.status)
        .header(header::LOCATION, &redirect.location)
        .body(ResponseBody::full(bytes::Bytes::new()))
        .ok()
}
