//! Clients that send nothing, or take nothing: they hold no endpoint and keep nobody else out.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use support::client::{Wire, ask, chat_request, post};
use support::engine::{self, Engine, ROLE, Step, TOKEN, events};
use support::{Running, world};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Sends requests on a connection that grants the gateway no byte of any response, and keeps it open.
async fn requests_without_a_window(address: SocketAddr, count: usize) -> impl Sized {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (mut client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let mut responses = Vec::new();
    for _ in 0..count {
        let request = Request::post(format!("http://{address}/v1/chat/completions"))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        client = client.ready().await.unwrap();
        let (response, mut sent) = client.send_request(request, false).unwrap();
        sent.send_data(body.into(), true).unwrap();
        responses.push(response.await.unwrap());
    }
    (client, responses, connection)
}

/// Waits until no endpoint has a request.
async fn no_reservation(gateway: &Running) {
    for _ in 0..1_000 {
        if gateway.fleet.in_flight() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(gateway.fleet.in_flight(), 0, "still reserved");
}

#[tokio::test]
async fn a_client_that_grants_no_window_holds_no_endpoint_and_leaves_room_for_others() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut world = world(&[engine.address]);
    world.gateway.max_requests = 40;
    let gateway = Running::start(world).await;
    let held = requests_without_a_window(gateway.address, 60).await;
    no_reservation(&gateway).await;
    assert!(gateway.metric("pointsman_requests_in_flight") < 40.0);
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 200);
    drop(held);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_with_its_engine() {
    let engine = Engine::start(|_| engine::stream()).await;
    let gateway = Running::before(&[engine.address]).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/v1/chat/completions", gateway.address))
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let (response, mut sent) = client.ready().await.unwrap().send_request(request, false).unwrap();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    sent.send_data(body.into(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    no_reservation(&gateway).await;

    body.flow_control().release_capacity(0).unwrap();
    drop(body);
    drop(connection);
    gateway.stop().await;
}

#[tokio::test]
async fn the_route_timeout_holds_for_a_client_that_does_not_read() {
    // More than fits into the buffers on the way.
    let flood = TOKEN.repeat(1_000);
    let engine = Engine::start(move |_| {
        let mut steps = events(&[ROLE]);
        let chunk = format!("{:x}\r\n{flood}\r\n", flood.len());
        steps.extend((0..500).map(|_| Step::Send(chunk.clone().into())));
        steps
    })
    .await;
    let text = format!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g}}
spec: {{gatewayClassName: pointsman, listeners: [{{name: http, port: 8080, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: g}}]
  rules:
  - backendRefs: [{{group: inference.networking.k8s.io, kind: InferencePool, name: p}}]
    timeouts: {{request: 2s}}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: p}}
spec:
  selector: {{matchLabels: {{app: p}}}}
  targetPorts: [{{number: {port}}}]
  endpointPickerRef: {{name: unused, port: {{number: 9002}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: p, labels: {{app: p}}, annotations: {{pointsman.dev/static-endpoints: "true"}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
"#,
        port = engine.address.port()
    );
    let gateway = Running::start(support::manifests(&text)).await;
    let mut client = Wire::open(gateway.address).await;
    client.send(&chat_request(true)).await;
    while gateway.fleet.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    no_reservation(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_reads_only_after_it_has_written_all() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut world = world(&[engine.address]);
    world.gateway.max_body_bytes = 1 << 10;
    let gateway = Running::start(world).await;
    let request = post("/v1/chat/completions", &"a".repeat(16 << 20));
    let mut client = Wire::open(gateway.address).await;
    client.send(&request).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.reason()), (413, "body_too_large"));
    assert_eq!(client.ask(&chat_request(false)).await.status, 200, "the connection is still good");
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_to_the_head_of_a_request_is_read_though_the_body_cannot_be_written() {
    let engine = answers_heads().await;
    let gateway = Running::before(&[engine]).await;
    let body =
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(5 << 20));
    for _ in 0..20 {
        let reply = ask(gateway.address, &post("/v1/chat/completions", &body)).await;
        assert_eq!(reply.status, 413);
        assert_eq!(reply.text(), "too long");
    }
    gateway.idle().await;
    gateway.stop().await;
}

/// An engine that answers each request once it has its head, and closes the connection.
async fn answers_heads() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1_024];
            let _ = stream.read(&mut head).await.unwrap();
            let answer =
                b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo long";
            stream.write_all(answer).await.unwrap();
        }
    });
    address
}

/// What a client reads that sends this request and ends its half of the connection at once.
fn ask_and_end(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut client = std::net::TcpStream::connect(address)?;
    client.write_all(request)?;
    client.shutdown(std::net::Shutdown::Write)?;
    let mut read = String::new();
    client.read_to_string(&mut read)?;
    Ok(read)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_ends_its_half_of_the_connection_gets_its_response() {
    for stream in [false, true, false, true] {
        let answer = if stream { engine::stream } else { engine::chat };
        let may_answer = Arc::new(tokio::sync::Notify::new());
        let wait = Arc::clone(&may_answer);
        let engine = Engine::start(move |_| [vec![Step::Wait(Arc::clone(&wait))], answer()].concat()).await;
        let gateway = Running::before(&[engine.address]).await;
        let address = gateway.address;
        // Nothing of the test's runtime comes between the request and the end.
        let client = tokio::task::spawn_blocking(move || ask_and_end(address, &chat_request(stream)));
        tokio::time::sleep(Duration::from_millis(400)).await;
        may_answer.notify_one();
        let read = client.await.unwrap().unwrap();
        let answer = read.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{read}");
        assert!(read.ends_with(if stream { "0\r\n\r\n" } else { "}" }), "{read}");
        gateway.idle().await;
        let complete = r#"pointsman_requests_total{pool="default/pool",outcome="complete""#;
        assert_eq!(gateway.metric(complete), 1.0);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_half_may_be_seen_before_its_request_is() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let address = gateway.address;
    for _ in 0..50 {
        let client = tokio::task::spawn_blocking(move || ask_and_end(address, &chat_request(false)));
        let read = client.await.unwrap().unwrap();
        assert!(read.ends_with('}'), "{read}");
    }
    gateway.idle().await;
    gateway.stop().await;
}
