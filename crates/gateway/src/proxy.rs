//! Proxies a request to an endpoint of a pool, and the response to the client.

use std::sync::Arc;

use http::{Method, Response, StatusCode, Uri, Version, request, response};
use hyper::upgrade::OnUpgrade;
use pointsman_config::route::Forward;
use pointsman_core::{FailureCause, Rejection};
use pointsman_door::RequestContext;
use pointsman_exchange::{ParsedRequest, Refusal};
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::{ErrorShape, Route};
use tokio::time::Instant;

use crate::attempt::{Attempts, SelectedResponse, StartedResponse};
use crate::client::Client;
use crate::connection::ConnectionRequests;
use crate::holder;
use crate::model_list::ModelList;
use crate::relay::{Relay, RelayContext};
use crate::response::{ResponseBody, refuse};
use crate::shared::Shared;
use crate::template::{RequestTemplate, path_and_query, response_headers};
use crate::tunnel;
use crate::upstream::{Rest, RestSlot};

/// A request whose body has been read as far as it must.
pub(crate) struct ReceivedRequest {
    pub(crate) parsed: ParsedRequest,
    /// What is left of the body.
    pub(crate) rest: Option<Box<Rest>>,
}

/// The pool that a request is routed to, and how.
pub(crate) struct Proxy<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) generation: &'a Generation,
    pub(crate) client: &'a Client,
    /// The requests of the client's connection.
    pub(crate) requests: &'a Arc<ConnectionRequests>,
    pub(crate) forward: &'a Forward<'a>,
    /// The URI that the engine gets, unless the model in it changes.
    pub(crate) engine_uri: Uri,
    /// What to list, if the request asks for models.
    pub(crate) models: Option<ModelList>,
    pub(crate) pool: &'a Arc<PoolHandle>,
    /// The error format of the request's API.
    pub(crate) shape: ErrorShape,
}

impl Proxy<'_> {
    /// Sends the request, and returns the head of the response once the first bytes of its body are here. `draw` is the
    /// request's random number.
    pub(crate) async fn run(
        mut self,
        head: request::Parts,
        received: ReceivedRequest,
        draw: u64,
        mut context: RequestContext,
    ) -> Response<ResponseBody> {
        let ReceivedRequest { parsed, mut rest } = received;
        if let Some(id) = parsed.stored_response() {
            // Boxed, since each request would have its memory otherwise.
            Box::pin(holder::find(self.shared, self.pool, id, &head.headers)).await;
        }
        let engine_uri = std::mem::take(&mut self.engine_uri);
        let (names_path_exactly, path) = (self.forward.names_path_exactly, path_and_query(&engine_uri));
        let resolved = self.shared.door.resolve(self.pool, parsed, draw, names_path_exactly, path);
        let mut engine_request = match resolved {
            Ok(engine_request) => engine_request,
            Err(refusal) => return self.refuse(context, &refusal),
        };
        let upgrades = tunnel::is_requested(&head) && !engine_request.streams();
        if let Some(rest) = &mut rest {
            rest.scanner = engine_request.take_rest();
        }
        let request::Parts { method, uri, headers, mut extensions, .. } = head;
        let deadline = self.deadline(&context);
        let deletes = method == Method::DELETE;
        let mut template = RequestTemplate::new(
            method,
            (&uri, engine_uri),
            headers,
            self.forward,
            self.client,
            &engine_request,
        );
        if upgrades {
            template.request_tunnel();
        }
        let attempts = Attempts {
            shared: self.shared,
            pool: self.pool,
            engine_request: &engine_request,
            template,
            rest: rest.map(RestSlot::new),
            upgrades,
            deadline,
            backend_timeout: self.forward.backend_timeout,
        };
        let selected = match attempts.run(&mut context).await {
            Ok(selected) => selected,
            Err(refusal) => return self.refuse(context, &refusal),
        };
        context.release_body();
        let status = selected.response.head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let client = extensions.remove::<OnUpgrade>().filter(|_| upgrades);
            return self.tunnel(selected, client, context);
        }
        if deletes && status.is_success() {
            self.forget(&engine_request.route);
        }
        if let Some(models) = self.models.take()
            && ModelList::completes(status, &selected.response.head.headers)
        {
            return Box::pin(models.respond(&self, selected, context)).await;
        }
        self.relay(selected, context)
    }

    /// Forgets who holds a stored response that was deleted.
    fn forget(&self, route: &Route) {
        if let Route::Stored { response_id } = route {
            self.shared.door.forget_response(response_id);
        }
    }

    /// Opens a tunnel to an engine that switched protocols, if it is the one that the client asked for.
    fn tunnel(
        &self,
        selected: SelectedResponse,
        client: Option<OnUpgrade>,
        context: RequestContext,
    ) -> Response<ResponseBody> {
        let client = client.filter(|_| tunnel::is_accepted(&selected.response.head.headers));
        let Some(client) = client else {
            let rejection = Rejection::AttemptsFailed(FailureCause::Garbage);
            return self.refuse(context, &Refusal::Pool(rejection));
        };
        let request = self.requests.begin(Version::HTTP_11);
        tunnel::open(self.shared, selected, client, context, request)
    }

    fn refuse(&self, context: RequestContext, refusal: &Refusal) -> Response<ResponseBody> {
        refuse(context, refusal, self.shape, self.forward.filters)
    }

    /// When the route's timeout for the request ends.
    fn deadline(&self, context: &RequestContext) -> Option<Instant> {
        self.forward.request_timeout.map(|timeout| Instant::from_std(context.arrived()) + timeout)
    }

    fn relay(&self, selected: SelectedResponse, mut request: RequestContext) -> Response<ResponseBody> {
        let SelectedResponse { placed, response } = selected;
        let StartedResponse { endpoint, head, body, first, observer, deadline, output_by } = response;
        let response::Parts { status, mut headers, .. } = head;
        request.set_status(status.as_u16());
        request.set_streaming(observer.is_stream());
        response_headers(&mut headers, &request, self.forward.filters);
        let context = RelayContext {
            placed,
            endpoint,
            output_by: observer.awaits_output().then_some(output_by),
            observer: Some(observer),
            deadline,
            shape: self.shape,
            door: Arc::clone(&self.shared.door),
            request,
        };
        let mut response =
            Response::new(ResponseBody::relay(self.shared.readers.watch(Relay::new(context, body, first))));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
