//! One request, from its head to the head of its answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request, response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use pointsman_config::GatewayPolicy;
use pointsman_config::models::ModelRules;
use pointsman_config::route::{Forward, Redirect, RouteAction, RouteRequest};
use pointsman_core::{FailureCause, Rejection};
use pointsman_exchange::{self as exchange, Head, Limits, Outgoing, Refusal, Resolving};
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::{ErrorShape, Route};
use pointsman_telemetry::trace::{SpanName, TraceContext};
use tokio::time::Instant;

use crate::attempt::{Attempts, Chosen, Got, refusal_of};
use crate::client::Client;
use crate::client_body::ClientBody;
use crate::entrance::{self, Entrance};
use crate::forward::{Template, answer_headers};
use crate::models;
use crate::record::Record;
use crate::relay::{Relay, RelayOf};
use crate::reply::{ReplyBody, refuse};
use crate::shared::Shared;
use crate::tunnel;
use pointsman_fleet::Share;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How long a client's body may pause.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// One connection's way in.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    pub(crate) entrance: Entrance,
}

/// A request whose body was read, or need not be.
struct Arrived {
    request: exchange::Request,
    /// The body, where it streams through.
    body: Option<Box<ClientBody<Incoming>>>,
    /// What the held body takes of the budget.
    held: Share,
}

/// Where a request leads.
enum Lead<'a> {
    /// Nowhere: this is the answer.
    Here(Response<ReplyBody>),
    /// To a pool.
    Pool(Forward<'a>, &'a PoolHandle, &'a ModelRules),
}

/// Answers one request.
pub(crate) async fn serve(door: Arc<Door>, request: Request<Incoming>) -> Response<ReplyBody> {
    let shared = &*door.shared;
    let generation = shared.fleet.current();
    let policy = &generation.world.gateway;
    let parent = request.headers().get(TRACEPARENT).and_then(|value| TraceContext::parse(value.as_bytes()));
    let span = shared.tracer.start(parent, SpanName::Request);
    let mut record = Record::start(&shared.metrics, &shared.requests, span);
    if !record.admit(policy.max_requests) {
        return refuse(record, &Refusal::Busy, ErrorShape::OpenAi);
    }
    let client = door.client.judged(&policy.trusted_sources);
    let (mut head, body) = request.into_parts();
    let arrived = match read(shared, policy, &head, body, client.trusted, &mut record).await {
        Ok(arrived) => arrived,
        Err((refusal, shape)) => return refuse(record, &refusal, shape),
    };
    let shape = arrived.request.error_shape();
    let draw = shared.draw();
    match lead(&door, &generation, &mut head, &arrived.request, draw) {
        Err(refusal) => refuse(record, &refusal, shape),
        Ok(Lead::Here(response)) => {
            record.answered(response.status());
            response
        }
        Ok(Lead::Pool(forward, pool, rules)) => {
            let call = Call { shared, client: &client, forward: &forward, pool, rules, shape };
            call.forward(head, arrived, draw, record).await
        }
    }
}

/// Classifies a request and holds its body, where it has one that must be read.
async fn read(
    shared: &Shared,
    policy: &GatewayPolicy,
    head: &request::Parts,
    body: Incoming,
    trusted: bool,
    record: &mut Record,
) -> Result<Arrived, (Refusal, ErrorShape)> {
    let limits = Limits { max_body_bytes: policy.max_body_bytes };
    let has_body = !body.is_end_stream();
    let begun = exchange::Incoming::begin(
        &Head { method: &head.method, path: head.uri.path(), headers: &head.headers, has_body, trusted },
        limits,
    );
    let mut incoming = begun.map_err(|refusal| (refusal, ErrorShape::OpenAi))?;
    let shape = incoming.error_shape();
    let mut held = shared.held.share();
    let mut body = ClientBody::new(body, limits.max_body_bytes, BODY_PATIENCE);
    if !incoming.holds_body() {
        let request = incoming.finish().map_err(|refusal| (refusal, shape))?;
        return Ok(Arrived { request, body: has_body.then(|| Box::new(body)), held });
    }
    let hold = async {
        let mut length = 0;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(chunk) = frame.map_err(refusal_of)?.into_data() else { continue };
            length += chunk.len() as u64;
            // What came, not what was announced: promises take no memory.
            if !held.grow_to(length, policy.max_held_bytes) {
                return Err(Refusal::Busy);
            }
            incoming.body_chunk(chunk)?;
        }
        record.request_bytes = length;
        incoming.finish()
    };
    let request = hold.await.map_err(|refusal| (refusal, shape))?;
    record.body_complete();
    if let Some(api) = request.route().api() {
        record.set_api(api.name());
    }
    Ok(Arrived { request, body: None, held })
}

/// Finds the route. The model's name stands in the headers while routes are matched.
fn lead<'a>(
    door: &Door,
    generation: &'a Generation,
    head: &mut request::Parts,
    request: &exchange::Request,
    draw: u64,
) -> Result<Lead<'a>, Refusal> {
    head.headers.remove(exchange::MODEL_NAME);
    if generation.world.listeners.iter().any(|listener| listener.routes.matches_on_model())
        && let Some(model) = request.model().and_then(|model| HeaderValue::from_str(model).ok())
    {
        head.headers.insert(exchange::MODEL_NAME, model);
    }
    let host = entrance::host(&head.uri, &head.headers);
    let wanted = RouteRequest {
        host,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        method: &head.method,
        headers: &head.headers,
    };
    let mut listeners = door.entrance.listeners(&generation.world, host);
    match listeners.find_map(|listener| listener.routes.find(&wanted, draw)) {
        None => Err(Refusal::NoRoute),
        Some(RouteAction::NoBackend) => Err(Refusal::NoBackend),
        Some(RouteAction::Redirect(redirect)) => {
            redirected(&redirect).map(Lead::Here).ok_or(Refusal::NoBackend)
        }
        Some(RouteAction::Forward(forward)) => match request.route() {
            Route::Models { id } => {
                models::answer(generation, id.as_deref()).map(Lead::Here).ok_or(Refusal::UndeclaredModel)
            }
            Route::Inference(_) | Route::Stored { .. } | Route::Administration | Route::Unknown => {
                let pool = generation.pool(forward.pool).ok_or(Refusal::NoBackend)?;
                let spec = generation.world.pools.get(forward.pool.0).ok_or(Refusal::NoBackend)?;
                Ok(Lead::Pool(forward, pool, &spec.models))
            }
        },
    }
}

fn redirected(redirect: &Redirect) -> Option<Response<ReplyBody>> {
    Response::builder()
        .status(redirect.status)
        .header(header::LOCATION, &redirect.location)
        .body(ReplyBody::EMPTY)
        .ok()
}

/// A request that leads to a pool.
struct Call<'a> {
    shared: &'a Shared,
    client: &'a Client,
    forward: &'a Forward<'a>,
    pool: &'a PoolHandle,
    rules: &'a ModelRules,
    shape: ErrorShape,
}

impl Call<'_> {
    async fn forward(
        &self,
        head: request::Parts,
        arrived: Arrived,
        draw: u64,
        mut record: Record,
    ) -> Response<ReplyBody> {
        let Arrived { request, body, held } = arrived;
        let outgoing = match self.resolve(request, draw) {
            Ok(outgoing) => outgoing,
            Err(refusal) => return self.refuse(record, &refusal),
        };
        let (model, target) = (outgoing.model(), outgoing.target());
        let name = self.pool.series().name();
        record.set_series(
            name,
            self.pool.series().request(model.map_or("", |model| model), target.map_or("", |target| target)),
        );
        let upgrade = tunnel::wanted(&head).filter(|_| outgoing.body().is_none());
        let request::Parts { method, uri, headers, mut extensions, .. } = head;
        let deadline = self.deadline(&record);
        let deletes = method == Method::DELETE;
        let mut template = Template::new(method, &uri, headers, self.forward, self.client, &outgoing);
        let upgrades = upgrade.map(|protocol| template.ask_upgrade(protocol)).is_some();
        let attempts = Attempts {
            shared: self.shared,
            pool: self.pool,
            outgoing: &outgoing,
            template,
            body,
            upgrades,
            deadline,
        };
        let chosen = match attempts.run(&mut record).await {
            Ok(chosen) => chosen,
            Err(refusal) => return self.refuse(record, &refusal),
        };
        drop(held);
        if chosen.got.head.status == StatusCode::SWITCHING_PROTOCOLS {
            return match extensions.remove::<OnUpgrade>() {
                Some(client) => tunnel::open(self.shared, chosen, client, record),
                None => self.refuse(record, &Refusal::Pool(Rejection::AttemptsFailed(FailureCause::Garbage))),
            };
        }
        if let (true, true, Route::Stored { response_id }) =
            (deletes, chosen.got.head.status.is_success(), outgoing.route())
        {
            self.shared.stored.forget(response_id);
        }
        self.relay(chosen, deadline, record)
    }

    /// Applies the pool's rules.
    fn resolve(&self, request: exchange::Request, draw: u64) -> Result<Outgoing, Refusal> {
        let now = self.shared.fleet.now();
        let stored = request.stored_response().and_then(|id| self.shared.stored.holder(now, id));
        let holder = stored.filter(|endpoint| self.pool.endpoint(*endpoint).is_some());
        request.resolve(&Resolving {
            rules: self.rules,
            pool: self.pool.pool_id(),
            draw,
            names_path_exactly: self.forward.names_path_exactly,
            holder,
        })
    }

    /// The end of the time that the route gives the request, and any one attempt.
    fn deadline(&self, record: &Record) -> Option<Instant> {
        let Forward { request_timeout, backend_timeout, .. } = self.forward;
        let budget = match (request_timeout, backend_timeout) {
            (Some(request), Some(backend)) => Some(request.min(backend)),
            (request, backend) => request.as_ref().or(backend.as_ref()),
        };
        budget.map(|budget| Instant::from_std(record.arrived()) + *budget)
    }

    /// Passes an engine's answer on.
    fn relay(&self, chosen: Chosen, deadline: Option<Instant>, mut record: Record) -> Response<ReplyBody> {
        let Chosen { placed, got: Got { endpoint, head, body, first, answer } } = chosen;
        let response::Parts { status, mut headers, .. } = head;
        record.status = status.as_u16();
        answer_headers(&mut headers, self.forward.filters);
        let of = RelayOf {
            placed,
            endpoint,
            stream: answer.is_stream().then(|| self.pool.series().stream()),
            answer,
            deadline,
            shape: self.shape,
            clock: self.shared.fleet.clock(),
            stored: Arc::clone(&self.shared.stored),
        };
        let relay = Relay::new(of, body, first, record);
        let mut response = Response::new(ReplyBody::Relay(Box::new(relay)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn refuse(&self, record: Record, refusal: &Refusal) -> Response<ReplyBody> {
        refuse(record, refusal, self.shape)
    }
}
