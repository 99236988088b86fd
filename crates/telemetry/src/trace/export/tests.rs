//! The exporter against a collector in this process.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::trace::options::Protocol;
use crate::trace::otlp::{KeyValue, STATUS_ERROR, Span, Value};
use crate::trace::tls::TlsFiles;
use crate::trace::{Attribute, SpanName, TraceContext};
use collector::{Collector, Reply};

mod collector;

const SHORT: Duration = Duration::from_millis(5);

fn options(address: SocketAddr, protocol: Protocol, authority: Option<PathBuf>) -> OtlpOptions {
    let scheme = if authority.is_some() { "https" } else { "http" };
    let path = match protocol {
        Protocol::Grpc => "",
        Protocol::HttpProtobuf => "/otel/v1/traces",
    };
    OtlpOptions {
        endpoint: format!("{scheme}://{address}{path}").parse().unwrap(),
        protocol,
        headers: [(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer key"))]
            .into_iter()
            .collect(),
        timeout: Duration::from_secs(10),
        tls: TlsFiles { authorities: authority, client: None },
        service: "edge".into(),
        version: "1.2.3".into(),
        share: 1.0,
    }
}

fn exporter(options: OtlpOptions) -> (Tracer, Exporter, Counter) {
    let dropped = Counter::default();
    let (tracer, mut exporter) = Tracer::otlp(options, dropped.clone()).unwrap();
    exporter.timing.fill = SHORT;
    exporter.timing.back_off = SHORT;
    (tracer, exporter, dropped)
}

/// Exports this number of request spans and returns the number of dropped ones.
async fn export(options: OtlpOptions, spans: usize) -> u64 {
    let (tracer, exporter, dropped) = exporter(options);
    for _ in 0..spans {
        drop(tracer.start(None, SpanName::Request));
    }
    drop(tracer);
    exporter.run(std::future::pending()).await;
    dropped.get()
}

#[tokio::test]
async fn spans_arrive_over_both_protocols_with_and_without_tls() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        for tls in [false, true] {
            let collector = Collector::start(&[], tls).await;
            let (tracer, exporter, dropped) =
                exporter(options(collector.address, protocol, collector.authority()));
            let parent = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
            let mut request = tracer.start(parent, SpanName::Request);
            let context = request.traceparent().unwrap();
            drop(request.child(SpanName::Attempt));
            request.set(Attribute::Pool("default/llama".into()));
            request.set(Attribute::Model("m".repeat(1000).into()));
            request.set(Attribute::Status(502));
            request.set(Attribute::Reason("stalled"));
            request.set(Attribute::FirstToken(Duration::from_millis(250)));
            drop(request);
            drop(tracer);
            exporter.run(std::future::pending()).await;

            assert_eq!(dropped.get(), 0, "{protocol:?}, TLS: {tls}");
            let exports = collector.exports();
            let (head, message) = &exports[0];
            let (path, content_type) = match protocol {
                Protocol::Grpc => {
                    ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc")
                }
                Protocol::HttpProtobuf => ("/otel/v1/traces", "application/x-protobuf"),
            };
            assert_eq!((head.method.as_str(), head.uri.path()), ("POST", path));
            assert_eq!(head.headers[http::header::CONTENT_TYPE], content_type);
            assert_eq!(head.headers[http::header::AUTHORIZATION], "Bearer key");
            let resource = message.resource_spans[0].resource.as_ref().unwrap();
            assert_eq!(text(&resource.attributes, "service.name"), "edge");
            check_spans(&message.resource_spans[0].scope_spans[0].spans, context);
        }
    }
}

fn check_spans(spans: &[Span], context: TraceContext) {
    let [attempt, request] = spans else { panic!("{spans:?}") };
    assert_eq!(request.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(request.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(request.span_id, context.span.to_be_bytes());
    assert_eq!((&attempt.parent_span_id, &attempt.trace_id), (&request.span_id, &request.trace_id));
    assert_eq!((request.kind, attempt.kind), (2, 3));
    assert_eq!((request.status.map(|status| status.code), attempt.status), (Some(STATUS_ERROR), None));
    assert!(request.end_time_unix_nano >= request.start_time_unix_nano);
    assert!(request.start_time_unix_nano > 1 << 60);
    assert_eq!(text(&request.attributes, "gen_ai.request.model"), "m".repeat(256));
    assert_eq!(text(&request.attributes, "error.type"), "stalled");
    assert_eq!(value(&request.attributes, "http.response.status_code"), Value::Int(502));
    assert_eq!(value(&request.attributes, "pointsman.time_to_first_token"), Value::Double(0.25));
}

fn value(attributes: &[KeyValue], key: &str) -> Value {
    let attribute = attributes.iter().find(|attribute| attribute.key == key).unwrap();
    attribute.value.clone().and_then(|value| value.value).unwrap()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Value::String(text) => text,
        other @ (Value::Int(_) | Value::Double(_)) => panic!("{key} is {other:?}"),
    }
}

#[tokio::test]
async fn batches_are_retried_while_the_collector_is_unavailable() {
    let check = async |protocol, replies: &'static [Reply]| {
        let collector = Collector::start(replies, false).await;
        let dropped = export(options(collector.address, protocol, None), 1).await;
        assert_eq!((collector.exports().len(), dropped), (replies.len() + 1, 0), "{replies:?}");
    };
    check(Protocol::HttpProtobuf, &[Reply::Status(503), Reply::Status(429), Reply::Status(502)]).await;
    check(
        Protocol::Grpc,
        &[Reply::Code(tonic::Code::Unavailable), Reply::Code(tonic::Code::Aborted), Reply::Status(503)],
    )
    .await;
}

#[tokio::test]
async fn dropped_spans_are_counted() {
    let check = async |protocol, replies: &'static [Reply], exports: usize, expected: u64| {
        let collector = Collector::start(replies, false).await;
        let dropped = export(options(collector.address, protocol, None), 3).await;
        assert_eq!((collector.exports().len(), dropped), (exports, expected), "{replies:?}");
    };
    let http = Protocol::HttpProtobuf;
    check(http, &[Reply::Status(400)], 1, 3).await;
    check(http, &[Reply::Status(404)], 1, 3).await;
    check(http, &[Reply::Status(503), Reply::Status(503), Reply::Status(503), Reply::Status(503)], 4, 3)
        .await;
    check(http, &[Reply::Status(503), Reply::Status(503), Reply::Status(413)], 3, 3).await;
    check(http, &[Reply::Rejected(2)], 1, 2).await;
    check(Protocol::Grpc, &[Reply::Code(tonic::Code::Unauthenticated)], 1, 3).await;
    check(Protocol::Grpc, &[Reply::Rejected(2)], 1, 2).await;
}

#[tokio::test]
async fn spans_are_dropped_when_the_collector_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        assert_eq!(export(options(address, protocol, None), 1).await, 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_collector_with_an_untrusted_certificate_gets_no_spans() {
    let (collector, other) = (Collector::start(&[], true).await, Collector::start(&[], true).await);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let dropped = export(options(collector.address, protocol, other.authority()), 1).await;
        assert_eq!((collector.exports().len(), dropped), (0, 1), "{protocol:?}");
    }
}

#[tokio::test]
async fn unusable_certificate_files_are_refused() {
    let collector = Collector::start(&[], false).await;
    let missing = options(collector.address, Protocol::Grpc, Some("/nonexistent/ca.pem".into()));
    let error = Tracer::otlp(missing, Counter::default()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/ca.pem"), "{error}");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into();
    let no_certificate = options(collector.address, Protocol::Grpc, Some(source));
    let error = Tracer::otlp(no_certificate, Counter::default()).unwrap_err().to_string();
    assert!(error.contains("it holds no certificate"), "{error}");
}

#[tokio::test]
async fn remaining_spans_are_flushed_at_shutdown() {
    let collector = Collector::start(&[], false).await;
    let (tracer, mut exporter, dropped) = exporter(options(collector.address, Protocol::HttpProtobuf, None));
    // The batch would wait for an hour to fill.
    exporter.timing.fill = Duration::from_hours(1);
    let (stop, stopped) = oneshot::channel::<()>();
    drop(tracer.start(None, SpanName::Request));
    let running = tokio::spawn(exporter.run(async {
        let _ = stopped.await;
    }));
    // The exporter takes the first span into its batch before the second comes.
    tokio::task::yield_now().await;
    drop(tracer.start(None, SpanName::Request));
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!((collector.batch_sizes(), dropped.get()), (vec![2], 0));
    drop(tracer.start(None, SpanName::Request));
    assert_eq!(dropped.get(), 1, "a span after the shutdown is dropped");
}

#[tokio::test]
async fn batches_are_bounded() {
    let collector = Collector::start(&[], false).await;
    let dropped = export(options(collector.address, Protocol::HttpProtobuf, None), QUEUE + 100).await;
    let sizes = collector.batch_sizes();
    assert!(sizes.iter().all(|size| *size <= BATCH), "{sizes:?}");
    assert_eq!((sizes.iter().sum::<usize>(), dropped), (QUEUE, 100));
}
