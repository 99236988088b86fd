//! A test pool without a core, and constructors of messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use pointsman_config::models::ModelRules;
use pointsman_core::{Completion, EndpointId, PoolId, Rejection, RequestFacts, Usage};
use pointsman_exchange::{EngineRequest, ParsedRequest, Refusal, ResolveContext};
use pointsman_extproc::wire::{
    Event, HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, Kind, ListValue, Metadata, Mutation,
    ProcessingRequest, ProcessingResponse, ProtocolConfiguration, Reply, Struct, Value,
};
use pointsman_extproc::{DataPlane, Guard, Next, Pool, Session, SessionOptions, SubsetHint};
use pointsman_protocol::BlockKey;

/// The key of block hashes.
pub(crate) static KEY: LazyLock<BlockKey> = LazyLock::new(|| BlockKey::new([1, 2]));

/// The endpoints of every test's pool; their ids count from 0.
pub(crate) const ENDPOINTS: [(&str, u16); 4] =
    [("10.0.0.1", 8000), ("10.0.0.2", 8000), ("fd00::3", 8000), ("10.0.0.2", 8001)];

pub(crate) const NONE: i32 = 0;
pub(crate) const STREAMED: i32 = 1;
pub(crate) const BUFFERED: i32 = 2;
pub(crate) const DUPLEX: i32 = 4;

/// The events at the pool.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) live: Cell<i32>,
    pub(crate) ended: RefCell<Vec<(EndpointId, String)>>,
    pub(crate) stored: RefCell<Vec<(String, EndpointId)>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct TestPool {
    pub(crate) ledger: Rc<Ledger>,
    pub(crate) rules: Arc<ModelRules>,
}

#[derive(Debug)]
pub(crate) struct TestGuard {
    ledger: Rc<Ledger>,
    endpoint: EndpointId,
    ended: bool,
}

impl TestPool {
    /// The first endpoint that the request may go to.
    pub(crate) fn place(&self, facts: &RequestFacts) -> Result<TestGuard, Rejection> {
        let endpoint = match &facts.subset {
            None => EndpointId(0),
            Some(subset) => *subset.first().ok_or(Rejection::EmptySubset)?,
        };
        self.ledger.live.set(self.ledger.live.get() + 1);
        Ok(TestGuard { ledger: Rc::clone(&self.ledger), endpoint, ended: false })
    }
}

impl Pool for TestPool {
    type Guard = TestGuard;

    fn resolve(
        &self,
        request: ParsedRequest,
        administration: bool,
        path: &str,
    ) -> Result<EngineRequest, Refusal> {
        let stored = self.ledger.stored.borrow();
        let holder = stored.iter().find(|(id, _)| request.stored_response() == Some(id));
        let holder = holder.map(|(_, endpoint)| *endpoint);
        let (pool, draw, names_path_exactly) = (PoolId(0), 0, administration);
        let default_model = self.rules.default_model().map(|name| &**name);
        request.resolve(&ResolveContext {
            rules: &self.rules,
            pool,
            draw,
            names_path_exactly,
            holder,
            default_model,
            path,
            block_key: &KEY,
        })
    }

    fn subset(&self, hint: &SubsetHint) -> Arc<[EndpointId]> {
        let ids = (0_u32..).zip(ENDPOINTS).filter(|(_, (host, port))| hint.contains(host, *port));
        ids.map(|(id, _)| EndpointId(id)).collect()
    }

    fn remember_response(&self, id: &str, endpoint: EndpointId) {
        self.ledger.stored.borrow_mut().push((id.to_owned(), endpoint));
    }
}

impl TestGuard {
    fn end(&mut self, how: String) {
        if !std::mem::replace(&mut self.ended, true) {
            self.ledger.live.set(self.ledger.live.get() - 1);
            self.ledger.ended.borrow_mut().push((self.endpoint, how));
        }
    }
}

impl Guard for TestGuard {
    fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    fn destinations(&self) -> Vec<String> {
        let first = self.endpoint.0 as usize;
        let order = [first, (first + 1) % ENDPOINTS.len()];
        order
            .map(|at| ENDPOINTS[at])
            .map(|(host, port)| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            })
            .to_vec()
    }

    fn first_token(&mut self) {}

    fn progress(&mut self, _output_tokens: u32) {}

    fn served_by(&mut self, endpoint: EndpointId) {
        self.endpoint = endpoint;
    }

    fn unserved(mut self) {
        self.end("unserved".into());
    }

    fn finish(mut self, completion: Completion, usage: Usage) {
        let tokens = usage.output_tokens.map_or(String::new(), |tokens| format!(" {tokens} tokens"));
        self.end(format!("{completion:?}{tokens}"));
    }
}

impl Drop for TestGuard {
    fn drop(&mut self) {
        self.end("aborted".into());
    }
}

/// A session with its pool.
pub(crate) struct Rig {
    pub(crate) pool: TestPool,
    pub(crate) session: Session<TestPool>,
    pub(crate) said: Vec<String>,
    pub(crate) over: bool,
}

impl Rig {
    pub(crate) fn new(options: SessionOptions) -> Self {
        Self::over(TestPool::default(), options)
    }

    pub(crate) fn over(pool: TestPool, options: SessionOptions) -> Self {
        Self::of_gateway(pool, options, Arc::default())
    }

    pub(crate) fn of_gateway(pool: TestPool, options: SessionOptions, plane: Arc<DataPlane>) -> Self {
        Self { session: Session::new(pool.clone(), options, plane), pool, said: Vec::new(), over: false }
    }

    /// Handles a message, with the pool's result at once.
    pub(crate) fn send(&mut self, message: ProcessingRequest) {
        let mut out = Vec::new();
        let mut next = self.session.message(message, &mut out);
        if matches!(next, Next::Place) {
            let placed = self.pool.place(&facts(&self.session));
            next = self.session.placed(placed, &mut out);
        }
        self.note(&next, &out);
    }

    pub(crate) fn note(&mut self, next: &Next, out: &[ProcessingResponse]) {
        self.said.extend(out.iter().map(say));
        match next {
            Next::Read | Next::Place | Next::Withdraw => {}
            Next::End => {
                self.said.push("end".into());
                self.over = true;
            }
            Next::Abort(violation) => {
                self.said.push(format!("abort: {violation}"));
                self.over = true;
            }
        }
    }

    /// Sends messages until the session ends, closes it, and returns the responses.
    pub(crate) fn run(&mut self, messages: impl IntoIterator<Item = ProcessingRequest>) -> Vec<String> {
        for message in messages {
            if self.over {
                break;
            }
            self.send(message);
        }
        std::mem::take(&mut self.said)
    }

    pub(crate) fn ended(&self) -> Vec<(EndpointId, String)> {
        self.pool.ledger.ended.borrow().clone()
    }
}

/// The facts of the request that waits for its placement.
#[track_caller]
pub(crate) fn facts(session: &Session<TestPool>) -> RequestFacts {
    session.waiting_request().unwrap().placement.clone()
}

/// A response in one line.
pub(crate) fn say(response: &ProcessingResponse) -> String {
    let metadata = response.dynamic_metadata.as_ref().map_or("", |_| " +metadata");
    let words = match response.response.as_ref().unwrap() {
        Reply::RequestHeaders(head) => format!("request head{}", common(head.response.as_ref())),
        Reply::ResponseHeaders(head) => format!("response head{}", common(head.response.as_ref())),
        Reply::RequestBody(body) => format!("request body{}", common(body.response.as_ref())),
        Reply::ResponseBody(body) => format!("response body{}", common(body.response.as_ref())),
        Reply::RequestTrailers(_) => "request trailers".into(),
        Reply::ResponseTrailers(_) => "response trailers".into(),
        Reply::Immediate(answer) => format!("{} {}", answer.status.unwrap().code, answer.details),
    };
    words + metadata
}

fn common(response: Option<&pointsman_extproc::wire::CommonResponse>) -> String {
    let Some(response) = response else { return String::new() };
    let mut words = String::new();
    for field in response.header_mutation.iter().flat_map(|mutation| &mutation.set_headers) {
        let header = field.header.as_ref().unwrap();
        words += &format!(" {}={}", header.key, String::from_utf8_lossy(header.bytes()));
    }
    for name in response.header_mutation.iter().flat_map(|mutation| &mutation.remove_headers) {
        words += &format!(" -{name}");
    }
    match response.body_mutation.as_ref().and_then(|body| body.mutation.as_ref()) {
        None => {}
        Some(Mutation::Body(body)) => words += &format!(" whole {}", text(body)),
        Some(Mutation::ClearBody(_)) => words += " cleared",
        Some(Mutation::Streamed(piece)) => {
            words += &format!(" {}{}", text(&piece.body), if piece.end_of_stream { " end" } else { "" });
        }
    }
    words + if response.clear_route_cache { " clear" } else { "" }
}

fn text(bytes: &Bytes) -> String {
    if bytes.len() > 100 { format!("{} bytes", bytes.len()) } else { format!("{bytes:?}")[1..].to_owned() }
}

pub(crate) fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        value: Bytes::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    };
    HeaderMap { headers: fields.iter().map(field).collect() }
}

pub(crate) fn message(event: Event) -> ProcessingRequest {
    ProcessingRequest { request: Some(event), ..ProcessingRequest::default() }
}

/// Request headers: method and path, then fields.
pub(crate) fn head(line: &str, more: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    let (method, path) = line.split_once(' ').unwrap();
    let mut headers =
        fields(&[(":method", method), (":path", path), (":authority", "a"), (":scheme", "http")]);
    headers.headers.extend(fields(more).headers);
    message(Event::RequestHeaders(HttpHeaders { headers: Some(headers), end_of_stream }))
}

pub(crate) fn completions() -> ProcessingRequest {
    head("POST /v1/completions", &[("content-type", "application/json")], false)
}

pub(crate) fn body(text: &str, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(text.as_bytes());
    message(Event::RequestBody(HttpBody { body, end_of_stream }))
}

pub(crate) fn trailers() -> ProcessingRequest {
    message(Event::RequestTrailers(HttpTrailers::default()))
}

/// The head of an engine's response, as Envoy passes it on.
pub(crate) fn answer_head(status: &str, kind: &str, end_of_stream: bool) -> ProcessingRequest {
    let headers = Some(fields(&[
        (":status", status),
        ("x-envoy-upstream-service-time", "3"),
        ("content-type", kind),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ]));
    message(Event::ResponseHeaders(HttpHeaders { headers, end_of_stream }))
}

/// A response that Envoy makes itself.
pub(crate) fn gateways_answer(status: &str) -> ProcessingRequest {
    let headers = Some(fields(&[(":status", status), ("content-type", "text/plain")]));
    message(Event::ResponseHeaders(HttpHeaders { headers, end_of_stream: true }))
}

pub(crate) fn with_details(mut message: ProcessingRequest, details: &str) -> ProcessingRequest {
    let attributes = Struct::of("response.code_details", Kind::Text(details.to_owned()));
    message.attributes = [("envoy.filters.http.ext_proc".to_owned(), attributes)].into();
    message
}

pub(crate) fn answer_body(text: &str, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(text.as_bytes());
    message(Event::ResponseBody(HttpBody { body, end_of_stream }))
}

pub(crate) fn answer_trailers() -> ProcessingRequest {
    message(Event::ResponseTrailers(HttpTrailers::default()))
}

/// Adds the filter's configuration to the first message.
pub(crate) fn with_modes(mut message: ProcessingRequest, request: i32, response: i32) -> ProcessingRequest {
    message.protocol_config = Some(ProtocolConfiguration {
        request_body_mode: request,
        response_body_mode: response,
        send_body_without_waiting_for_header_response: false,
    });
    message
}

pub(crate) fn with_subset(message: ProcessingRequest, addresses: &[&str]) -> ProcessingRequest {
    let values = addresses.iter().map(|address| Value::text((*address).to_owned())).collect();
    let list = Struct::of("x-gateway-destination-endpoint-subset", Kind::List(ListValue { values }));
    message.with_metadata(&Metadata { filter_metadata: [("envoy.lb.subset_hint".to_owned(), list)].into() })
}

pub(crate) fn with_served(message: ProcessingRequest, address: &str) -> ProcessingRequest {
    let served = Struct::of("x-gateway-destination-endpoint-served", Kind::Text(address.to_owned()));
    message.with_metadata(&Metadata { filter_metadata: [("envoy.lb".to_owned(), served)].into() })
}
