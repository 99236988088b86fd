//! Serves one request of a client's connection: reads it, finds its route and proxies it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response, request};
use http_body::Body as _;
use hyper::body::Incoming;
use pointsman_config::GatewayPolicy;
use pointsman_config::route::Forward;
use pointsman_door::{RequestContext, request_id};
use pointsman_exchange::{Limits, Refusal, RequestHead, RequestReader};
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::{ErrorShape, Route};

use crate::client::Client;
use crate::client_body::ClientBody;
use crate::connection::{ConnectionContext, ConnectionRequest};
use crate::model_list::ModelList;
use crate::proxy::{Proxy, ReceivedRequest};
use crate::response::{ResponseBody, refuse};
use crate::route::{RouteTarget, filters, find_target, pools_of_any_model};
use crate::template::{REQUEST_ID_NAME, TRACEPARENT_NAME, engine_uri, path_and_query, response_headers};
use crate::unread_body::UnreadBody;
use crate::upstream::Rest;

/// Serves one request, up to the head of its response.
pub(crate) async fn serve(
    connection: Arc<ConnectionContext>,
    request: Request<Incoming>,
    counted: ConnectionRequest,
) -> Response<ResponseBody> {
    respond(&connection, request).await.map(|body| body.of(counted))
}

async fn respond(connection: &ConnectionContext, request: Request<Incoming>) -> Response<ResponseBody> {
    let shared = &*connection.shared;
    let generation = shared.door.fleet.current();
    let policy = &generation.world.gateway;
    let (mut head, body) = request.into_parts();
    let body = UnreadBody::new(body, &head.headers, &shared.discarded_bodies);
    let traceparent = head.headers.get(TRACEPARENT_NAME);
    let mut context = shared.door.begin(policy, traceparent.map(http::HeaderValue::as_bytes));
    let draw = shared.door.draw();
    let id = request_id(head.headers.get(REQUEST_ID_NAME), draw);
    head.headers.insert(REQUEST_ID_NAME, id.clone());
    context.set_request_id(id);
    if let Err(refusal) = context.admit(connection.requests.in_flight()) {
        let filters = filters(connection.port, &generation, &head, draw);
        return refuse(context, &refusal, ErrorShape::OpenAi, filters);
    }
    let client = connection.client.with_trust(&policy.trusted_sources);
    let mut received = match receive(policy, &head, body, client.trusted, &mut context).await {
        Ok(received) => received,
        Err((refusal, shape)) => {
            let filters = filters(connection.port, &generation, &head, draw);
            return refuse(context, &refusal, shape, filters);
        }
    };
    // The body may have taken minutes, in which the configuration changed.
    let generation = shared.door.fleet.current();
    let (forward, pool) = match find_target(
        connection.port,
        &generation,
        &mut head,
        &received.parsed,
        (client.trusted, draw),
    ) {
        Err(refusal) => return refuse(context, &refusal, received.parsed.error_shape(), &[]),
        Ok(RouteTarget::Local(mut response)) => {
            response_headers(response.headers_mut(), &context, &[]);
            context.complete(response.status().as_u16());
            return response;
        }
        Ok(RouteTarget::Pool(forward, pool)) => (forward, pool),
    };
    let target = Target { generation: &generation, client: &client, forward: &forward, pool };
    let proxy = proxy(connection, target, &mut head, &mut received);
    proxy.run(head, received, draw, context).await
}

/// Where a request goes, and who asks.
struct Target<'a> {
    generation: &'a Generation,
    client: &'a Client,
    forward: &'a Forward<'a>,
    pool: &'a Arc<PoolHandle>,
}

/// What proxies a request by the path that the engine gets.
fn proxy<'a>(
    connection: &'a ConnectionContext,
    Target { generation, client, forward, pool }: Target<'a>,
    head: &mut request::Parts,
    received: &mut ReceivedRequest,
) -> Proxy<'a> {
    let mut engine_uri = engine_uri(&head.uri, forward);
    if engine_uri.path() != head.uri.path() {
        received.parsed.at_engine(&head.method, path_and_query(&engine_uri));
    }
    let models = match received.parsed.route() {
        Route::Models { id } => {
            let pools = pools_of_any_model(connection.port, generation, head);
            Some(ModelList::new(pools, id.as_deref(), head, &mut engine_uri))
        }
        Route::Inference(_) | Route::Stored { .. } | Route::Administration | Route::Unknown => None,
    };
    Proxy {
        shared: &connection.shared,
        generation,
        client,
        requests: &connection.requests,
        forward,
        engine_uri,
        models,
        pool,
        shape: received.parsed.error_shape(),
    }
}

/// Classifies a request by its head, and reads its body as far as the model may be in it.
async fn receive(
    policy: &GatewayPolicy,
    head: &request::Parts,
    body: UnreadBody,
    trusted: bool,
    context: &mut RequestContext,
) -> Result<ReceivedRequest, (Refusal, ErrorShape)> {
    let limits = Limits { max_body_bytes: policy.max_body_bytes };
    let has_body = !body.is_end_stream();
    let begun = RequestReader::begin(
        &RequestHead {
            method: &head.method,
            path: path_and_query(&head.uri),
            headers: &head.headers,
            has_body,
            trusted,
        },
        limits,
    );
    let mut reader = begun.map_err(|refusal| (refusal, ErrorShape::OpenAi))?;
    let shape = reader.error_shape();
    let mut body = ClientBody::new(body, limits.max_body_bytes, &policy.client_timeouts);
    let mut ended = !has_body;
    let read = async {
        let mut length = 0;
        while reader.needs_body() {
            let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
                reader.body_ended();
                ended = true;
                break;
            };
            let Ok(chunk) = frame?.into_data() else { continue };
            length += chunk.len() as u64;
            // Counts what has arrived: an announced content-length takes no memory.
            let held = context.hold_body(length);
            reader.body_chunk(chunk)?;
            match held {
                Err(refusal) if reader.may_give_up() => reader.give_up(refusal),
                held => held?,
            }
        }
        if !ended && body.is_end_stream() {
            reader.body_ended();
            ended = true;
        }
        context.set_request_bytes(length);
        reader.finish(|bytes| context.hold_body(bytes))
    };
    let parsed = read.await.map_err(|refusal| (refusal, shape))?;
    let rest = (!ended).then(|| Box::new(Rest { body, scanner: None }));
    if rest.is_none() && parsed.held_bytes() > 0 {
        context.body_complete();
    }
    if let Some(api) = parsed.route().api() {
        context.set_api(api);
    }
    Ok(ReceivedRequest { parsed, rest })
}
