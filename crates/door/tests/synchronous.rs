//! A synchronous front door, as a module inside a proxy's worker thread is one: no runtime, hyper or tonic of its own. The
//! fleet's tasks run on a runtime in another thread.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pointsman_config::{QuickOptions, quick_form};
use pointsman_core::FailureCause;
use pointsman_door::{Door, RequestContext};
use pointsman_exchange::{EngineRequest, Limits, Refusal, RequestHead, RequestReader, ResponseEnd};
use pointsman_fleet::{Fleet, FleetOptions, Placed, PoolHandle, Ticket};
use pointsman_telemetry::trace::Tracer;
use pointsman_telemetry::{BuildInfo, Exposition, Metrics, Outcome};
use tokio::runtime::Runtime;

const BODY: &str = r#"{"model":"llama","prompt":"Hello","stream":true}"#;
const EVENTS: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"Hi\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A door in front of two endpoints where nothing listens, and the runtime of its fleet.
fn door() -> (Runtime, Arc<Door>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let metrics = Metrics::new(&BuildInfo { version: "test", commit: "" });
    let fleet = Fleet::start_on(runtime.handle().clone(), FleetOptions::default(), metrics.clone()).unwrap();
    let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    fleet.apply(quick_form(&urls, &QuickOptions::default()).unwrap(), 0).unwrap();
    (runtime, Door::new(fleet, metrics, Tracer::disabled()))
}

fn pool(door: &Door) -> Arc<PoolHandle> {
    Arc::clone(&door.fleet.current().pools[0])
}

/// Reads and resolves a request, up to its placement.
fn resolve(door: &Door, context: &mut RequestContext) -> Result<EngineRequest, Refusal> {
    let headers = HeaderMap::new();
    let (method, path) = (&Method::POST, "/v1/completions");
    let head = RequestHead { method, path, headers: &headers, has_body: true, trusted: false };
    let mut reader = RequestReader::begin(&head, Limits { max_body_bytes: 1 << 20 })?;
    context.hold_body(BODY.len() as u64)?;
    reader.body_chunk(Bytes::from_static(BODY.as_bytes()))?;
    door.resolve(&pool(door), reader.finish(|_| Ok(()))?, door.draw(), false, path)
}

fn placed(ticket: Ticket, context: &mut RequestContext) -> Placed {
    let result = ticket.try_placed().unwrap_or_else(|_| panic!("the scheduler holds the request"));
    context.placed(&result);
    result.unwrap()
}

/// The sum of a metric's series with this label; an empty label selects all.
fn metric(door: &Door, name: &str, label: &str) -> f64 {
    let page = door.metrics.render(Exposition::negotiate(None));
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, |sum, value| sum + value)
}

#[test]
fn a_thread_without_a_runtime_places_retries_and_finishes_a_request() {
    let (runtime, door) = door();
    let serve = |door: &Arc<Door>| {
        let mut context = door.begin(&door.fleet.load().world.gateway, None);
        context.admit(1).unwrap();
        let request = resolve(door, &mut context).unwrap();
        let ticket = context.place(&pool(door), &request, || None);
        let first = placed(ticket, &mut context);
        let port = first.endpoint().address.port;
        let ticket = context.attempt_failed(first, FailureCause::Connect, true);
        let mut second = placed(ticket, &mut context);
        assert_ne!(second.endpoint().address.port, port);
        context.release_body();
        let mut response = request.response();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/event-stream".parse().unwrap());
        response.head(StatusCode::OK, &headers);
        context.set_status(200);
        context.set_streaming(response.is_stream());
        assert!(response.chunk(EVENTS.as_bytes()).first_token);
        context.first_token();
        second.first_token();
        let verdict = response.end(ResponseEnd::Clean);
        second.finish(verdict.completion, verdict.usage);
        context.finish(Outcome::Served(verdict.completion), verdict.usage);
    };
    std::thread::scope(|scope| scope.spawn(|| serve(&door)).join().unwrap());
    assert_eq!((door.fleet.in_flight(), door.requests_in_flight()), (0, 0));
    assert_eq!(metric(&door, "pointsman_held_body_bytes", ""), 0.0);
    assert_eq!(metric(&door, "pointsman_requests_total", r#"outcome="complete""#), 1.0);
    runtime.block_on(door.fleet.stop());
}

#[test]
fn a_request_dropped_on_the_way_counts_as_a_client_that_disconnected() {
    let (runtime, door) = door();
    let mut context = door.begin(&door.fleet.load().world.gateway, None);
    context.admit(1).unwrap();
    let request = resolve(&door, &mut context).unwrap();
    let ticket = context.place(&pool(&door), &request, || None);
    let guard = placed(ticket, &mut context);
    drop((context, guard));
    assert_eq!((door.fleet.in_flight(), door.requests_in_flight()), (0, 0));
    assert_eq!(metric(&door, "pointsman_requests_total", r#"outcome="client_gone""#), 1.0);
    runtime.block_on(door.fleet.stop());
}

#[test]
fn a_request_over_a_limit_is_refused() {
    let (runtime, door) = door();
    let mut policy = door.fleet.load().world.gateway.clone();
    policy.max_requests = 1;
    policy.max_held_bytes = 10;
    let (mut first, mut second) = (door.begin(&policy, None), door.begin(&policy, None));
    first.admit(1).unwrap();
    assert_eq!(second.admit(1), Err(Refusal::Busy));
    second.refuse(&Refusal::Busy);
    assert_eq!(first.hold_body(11), Err(Refusal::Busy));
    assert_eq!(first.hold_body(10), Ok(()));
    drop((first, second));
    assert_eq!(metric(&door, "pointsman_requests_total", r#"reason="busy""#), 1.0);
    runtime.block_on(door.fleet.stop());
}
