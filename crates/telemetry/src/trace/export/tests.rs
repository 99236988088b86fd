//! The exporter against a collector in this process.

use std::sync::{Arc, Mutex};

use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::trace::{Attribute, SpanName, TraceContext};

/// A collector that answers with the given statuses in turn, then 200, and keeps what it was sent.
struct Collector {
    address: std::net::SocketAddr,
    posts: Arc<Mutex<Vec<(http::request::Parts, Value)>>>,
}

impl Collector {
    async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posts);
        let service = service_fn(move |request: Request<Incoming>| {
            let kept = Arc::clone(&kept);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let mut kept = kept.lock().unwrap();
                let status = statuses.get(kept.len()).copied().unwrap_or(200);
                kept.push((head, serde_json::from_slice(&body).unwrap()));
                let mut answer = http::Response::new(Empty::<Bytes>::new());
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        Self { address, posts }
    }

    fn exporter(&self) -> (Tracer, Exporter, Counter) {
        exporter(&format!("http://{}/otel/v1/traces", self.address))
    }

    fn spans(&self) -> Vec<Value> {
        let posts = self.posts.lock().unwrap();
        posts.iter().flat_map(|(_, body)| spans(body).iter().cloned()).collect()
    }
}

fn spans(body: &Value) -> &Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

fn exporter(endpoint: &str) -> (Tracer, Exporter, Counter) {
    let dropped = Counter::default();
    let options = OtlpOptions {
        endpoint: endpoint.into(),
        encoding: Encoding::Json,
        headers: HeaderMap::from_iter([(
            header::AUTHORIZATION,
            http::HeaderValue::from_static("Bearer key"),
        )]),
        service: "edge".into(),
        version: "1.2.3".into(),
        share: 1.0,
    };
    let (tracer, mut exporter) = Tracer::otlp(options, dropped.clone()).unwrap();
    let short = Duration::from_millis(5);
    exporter.timing = Timing { fill: short, back_off: short, ..TIMING };
    (tracer, exporter, dropped)
}

#[tokio::test]
async fn a_span_arrives_as_the_specification_has_it() {
    let collector = Collector::start(&[]).await;
    let (tracer, exporter, dropped) = collector.exporter();
    let parent = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let mut request = tracer.start(parent, SpanName::Request);
    let own = request.traceparent().unwrap();
    drop(request.child(SpanName::Attempt));
    request.set(Attribute::Pool("default/llama".into()));
    request.set(Attribute::Model("m".repeat(1000).into()));
    request.set(Attribute::Status(502));
    request.set(Attribute::Reason("silent"));
    request.set(Attribute::FirstToken(Duration::from_millis(250)));
    drop(request);
    drop(tracer);
    exporter.run(std::future::pending()).await;

    let posts = collector.posts.lock().unwrap();
    let (head, body) = &posts[0];
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/otel/v1/traces"));
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(head.headers[header::AUTHORIZATION], "Bearer key");
    let resource = &body["resourceSpans"][0]["resource"]["attributes"];
    assert_eq!(resource[0], serde_json::json!({"key": "service.name", "value": {"stringValue": "edge"}}));
    let [attempt, request] = spans(body).as_slice() else { panic!("{body}") };
    assert_eq!(request["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(request["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(request["spanId"], format!("{:016x}", own.span));
    assert_eq!(attempt["parentSpanId"], request["spanId"]);
    assert_eq!(attempt["traceId"], request["traceId"]);
    assert_eq!((&request["kind"], &attempt["kind"]), (&Value::from(2), &Value::from(3)));
    assert_eq!((&request["status"]["code"], &attempt["status"]["code"]), (&Value::from(2), &Value::Null));
    let time = |field: &str| request[field].as_str().unwrap().parse::<u128>().unwrap();
    assert!(time("endTimeUnixNano") >= time("startTimeUnixNano") && time("startTimeUnixNano") > 1 << 60);
    let name = "m".repeat(256);
    assert_eq!(
        request["attributes"],
        serde_json::json!([
            {"key": "pointsman.pool", "value": {"stringValue": "default/llama"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": name}},
            {"key": "http.response.status_code", "value": {"intValue": "502"}},
            {"key": "error.type", "value": {"stringValue": "silent"}},
            {"key": "pointsman.time_to_first_token", "value": {"doubleValue": 0.25}},
        ])
    );
    assert_eq!(dropped.get(), 0);
}

#[tokio::test]
async fn a_collector_that_is_down_for_a_moment_gets_the_batch_again() {
    let collector = Collector::start(&[503, 429, 502]).await;
    let (tracer, exporter, dropped) = collector.exporter();
    drop(tracer.start(None, SpanName::Request));
    drop(tracer);
    exporter.run(std::future::pending()).await;
    assert_eq!((collector.spans().len(), dropped.get()), (4, 0));
}

#[tokio::test]
async fn lost_batches_are_counted() {
    let check = async |statuses, posts: usize| {
        let collector = Collector::start(statuses).await;
        let (tracer, exporter, dropped) = collector.exporter();
        for _ in 0..3 {
            drop(tracer.start(None, SpanName::Request));
        }
        drop(tracer);
        exporter.run(std::future::pending()).await;
        assert_eq!((collector.posts.lock().unwrap().len(), dropped.get()), (posts, 3), "{statuses:?}");
    };
    check(&[400], 1).await;
    check(&[404], 1).await;
    check(&[503, 503, 503, 503], 4).await;
    check(&[503, 503, 413], 3).await;
}

#[tokio::test]
async fn nobody_listening_costs_the_spans_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (tracer, exporter, dropped) = exporter(&format!("http://{address}"));
    drop(tracer.start(None, SpanName::Request));
    drop(tracer);
    exporter.run(std::future::pending()).await;
    assert_eq!(dropped.get(), 1);
}

#[tokio::test]
async fn what_is_left_at_shutdown_is_sent() {
    let collector = Collector::start(&[]).await;
    let (tracer, mut exporter, dropped) = collector.exporter();
    // The batch would wait for an hour to fill.
    exporter.timing.fill = Duration::from_hours(1);
    let (stop, stopped) = oneshot::channel::<()>();
    drop(tracer.start(None, SpanName::Request));
    let running = tokio::spawn(exporter.run(async {
        let _ = stopped.await;
    }));
    // The exporter takes the first span into its batch before the rest comes.
    tokio::task::yield_now().await;
    drop(tracer.start(None, SpanName::Request));
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!((collector.spans().len(), dropped.get()), (2, 0));
    drop(tracer.start(None, SpanName::Request));
    assert_eq!(dropped.get(), 1, "a span after the end is a lost one");
}

#[tokio::test]
async fn batches_are_bounded() {
    let collector = Collector::start(&[]).await;
    let (tracer, exporter, dropped) = collector.exporter();
    for _ in 0..QUEUE + 100 {
        drop(tracer.start(None, SpanName::Request));
    }
    drop(tracer);
    exporter.run(std::future::pending()).await;
    let posts = collector.posts.lock().unwrap();
    assert!(posts.iter().all(|(_, body)| spans(body).len() <= BATCH));
    assert_eq!(posts.iter().map(|(_, body)| spans(body).len()).sum::<usize>(), QUEUE);
    assert_eq!(dropped.get(), 100);
}
