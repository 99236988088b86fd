//! A running picker, and constructors of messages.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use pointsman_config::{Consumer, Options, SourceText, World, load};
use pointsman_extproc::wire::{
    Event, HeaderMap, HeaderValue, HttpBody, HttpHeaders, Kind, ListValue, Metadata, Mutation,
    ProcessingRequest, ProcessingResponse, ProtocolConfiguration, Reply, Struct, Value,
};
use pointsman_extproc::{Picker, PickerOptions, Security};
use pointsman_fleet::{Fleet, FleetOptions};
use pointsman_telemetry::{BuildInfo, Exposition, Metrics};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// Ports of endpoints, all closed: a picker does not connect to them for requests.
pub(crate) const POOL: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: engine}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: public}
spec:
  modelName: public
  criticality: Critical
  poolRef: {name: pool}
  targetModels: [{name: a-much-longer-target}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: batch}
spec:
  modelName: batch
  criticality: Sheddable
  poolRef: {name: pool}
";

pub(crate) fn world(ports: &[u16]) -> World {
    world_of(POOL, ports)
}

pub(crate) fn world_of(pool: &str, ports: &[u16]) -> World {
    let listed: String =
        ports.iter().map(|port| format!("- {{name: engine-{port}, port: {port}}}\n")).collect();
    let slice = format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: slice, labels: {{app: engine}}, annotations: {{pointsman.dev/static-endpoints: \"true\"}}}}
addressType: IPv4
endpoints:
- addresses: [\"127.0.0.1\"]
ports:
{listed}"
    );
    let slice = if ports.is_empty() { String::new() } else { slice };
    let options = Options { consumer: Consumer::Picker { config: None }, ..Options::default() };
    let loaded = load(&[SourceText::new("pool.yaml", pool.to_owned() + &slice)], &options);
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    loaded.world
}

pub(crate) fn options() -> PickerOptions {
    PickerOptions {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        grpc_port: 0,
        health_port: 0,
        security: Security::Plain,
        ..PickerOptions::default()
    }
}

pub(crate) struct Running {
    pub(crate) fleet: Fleet,
    pub(crate) metrics: Metrics,
    pub(crate) grpc: std::net::SocketAddr,
    pub(crate) health: std::net::SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(world: World) -> Self {
        Self::with(world, options()).await
    }

    pub(crate) async fn with(world: World, options: PickerOptions) -> Self {
        let metrics = Metrics::new(&BuildInfo { version: "0", commit: "test" });
        let fleet = Fleet::start(FleetOptions::default(), metrics.clone()).unwrap();
        fleet.apply(world, 0).unwrap();
        let picker = Picker::bind(options, fleet.clone(), metrics.clone()).unwrap();
        let (grpc, health) = (picker.grpc_addr, picker.health_addr);
        let stop = CancellationToken::new();
        let task = tokio::spawn(picker.run(stop.clone().cancelled_owned(), Duration::from_secs(20)));
        Self { fleet, metrics, grpc, health, stop, task }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.grpc).await
    }

    /// Waits until no request is in flight.
    pub(crate) async fn settle(&self) {
        assert!(self.fleet.drain(Duration::from_secs(20)).await, "a request stays in flight");
    }

    pub(crate) fn page(&self) -> String {
        self.metrics.render(Exposition::Prometheus)
    }
}

fn message(event: Event) -> ProcessingRequest {
    ProcessingRequest { request: Some(event), ..ProcessingRequest::default() }
}

fn fields(fields: &[(&str, &str)]) -> Option<HeaderMap> {
    let field = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        value: Bytes::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Some(HeaderMap { headers: fields.iter().map(field).collect() })
}

pub(crate) fn post() -> ProcessingRequest {
    post_with(&[])
}

/// The head of a POST that announces this many bytes.
pub(crate) fn post_of(bytes: u64) -> ProcessingRequest {
    post_with(&[("content-length", &bytes.to_string())])
}

fn post_with(further: &[(&str, &str)]) -> ProcessingRequest {
    let mut head = vec![
        (":method", "POST"),
        (":path", "/v1/completions"),
        (":authority", "a"),
        ("content-type", "application/json"),
    ];
    head.extend(further);
    let headers = fields(&head);
    message(Event::RequestHeaders(HttpHeaders { headers, end_of_stream: false }))
}

pub(crate) fn get(path: &str) -> ProcessingRequest {
    let headers = fields(&[(":method", "GET"), (":path", path), (":authority", "a")]);
    message(Event::RequestHeaders(HttpHeaders { headers, end_of_stream: true }))
}

pub(crate) fn ask(text: &str) -> ProcessingRequest {
    part(text, true)
}

pub(crate) fn part(text: &str, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(text.as_bytes());
    message(Event::RequestBody(HttpBody { body, end_of_stream }))
}

pub(crate) fn answer(status: &str, kind: &str, end_of_stream: bool) -> ProcessingRequest {
    let headers = fields(&[(":status", status), ("content-type", kind)]);
    message(Event::ResponseHeaders(HttpHeaders { headers, end_of_stream }))
}

pub(crate) fn answer_part(text: &str, end_of_stream: bool) -> ProcessingRequest {
    let body = Bytes::copy_from_slice(text.as_bytes());
    message(Event::ResponseBody(HttpBody { body, end_of_stream }))
}

pub(crate) fn buffered(mut message: ProcessingRequest) -> ProcessingRequest {
    message.protocol_config = Some(ProtocolConfiguration {
        request_body_mode: 2,
        response_body_mode: 2,
        send_body_without_waiting_for_header_response: false,
    });
    message
}

pub(crate) fn within(message: ProcessingRequest, addresses: &[&str]) -> ProcessingRequest {
    let values = addresses.iter().map(|address| Value::text((*address).to_owned())).collect();
    let list = Struct::of(pointsman_extproc::SUBSET, Kind::List(ListValue { values }));
    message.with_metadata(&Metadata { filter_metadata: [("envoy.lb.subset_hint".to_owned(), list)].into() })
}

/// The first destination of a decision.
pub(crate) fn destination(response: &ProcessingResponse) -> Option<String> {
    let common = match response.response.as_ref()? {
        Reply::RequestHeaders(head) => head.response.as_ref()?,
        Reply::RequestBody(body) => body.response.as_ref()?,
        Reply::ResponseHeaders(_)
        | Reply::ResponseBody(_)
        | Reply::RequestTrailers(_)
        | Reply::ResponseTrailers(_)
        | Reply::Immediate(_) => return None,
    };
    let field = common.header_mutation.as_ref()?.set_headers.first()?.header.as_ref()?;
    let value = std::str::from_utf8(field.bytes()).unwrap();
    Some(value.split(',').next().unwrap().to_owned())
}

/// The forwarded bytes of a response.
pub(crate) fn bytes(response: &ProcessingResponse) -> Bytes {
    let common = match response.response.as_ref().unwrap() {
        Reply::RequestBody(body) | Reply::ResponseBody(body) => body.response.as_ref().unwrap(),
        other => panic!("{other:?}"),
    };
    match common.body_mutation.as_ref().and_then(|body| body.mutation.as_ref()) {
        Some(Mutation::Streamed(piece)) => piece.body.clone(),
        Some(Mutation::Body(body)) => body.clone(),
        other => panic!("{other:?}"),
    }
}

/// Status and reason of a refusal.
pub(crate) fn refused(response: &ProcessingResponse) -> Option<(i32, String)> {
    match response.response.as_ref()? {
        Reply::Immediate(answer) => Some((answer.status?.code, answer.details.clone())),
        Reply::RequestHeaders(_)
        | Reply::ResponseHeaders(_)
        | Reply::RequestBody(_)
        | Reply::ResponseBody(_)
        | Reply::RequestTrailers(_)
        | Reply::ResponseTrailers(_) => None,
    }
}
