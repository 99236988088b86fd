//! Connections to engines, and what a change of the configuration means for them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::SendResponse;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pointsman_config::{AppProtocol, World};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::client::{Wire, ask, chat_request, post};
use support::engine::{self, CHAT, Engine, Step, full_response};
use support::{Running, endpoint, manifests, world};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

/// A world with one engine of this protocol.
fn world_of(address: SocketAddr, protocol: AppProtocol) -> World {
    let mut world = world(&[]);
    world.pools[0].endpoints = vec![endpoint(address, protocol)];
    world
}

/// An HTTP/2 engine that allows few streams on a connection, and answers once `requests` are there together.
async fn engine_with_few_streams(streams: u32, requests: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let barrier = Arc::new(Barrier::new(requests));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let barrier = Arc::clone(&barrier);
            let service = service_fn(move |request: Request<Incoming>| {
                let barrier = Arc::clone(&barrier);
                async move {
                    if request.method() == Method::POST {
                        barrier.wait().await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
                }
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(streams);
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    address
}

#[tokio::test]
async fn requests_beyond_a_connections_streams_get_another_connection() {
    const REQUESTS: usize = 20;
    let engine = engine_with_few_streams(3, REQUESTS).await;
    let mut world = world_of(engine, AppProtocol::H2c);
    world.pools[0].timeouts.first_byte = Duration::from_secs(10);
    let gateway = Running::start(world).await;
    for _ in 0..2 {
        let asked = (0..REQUESTS).map(|_| async { ask(gateway.address, &chat_request(false)).await });
        for reply in join_all(asked).await {
            assert_eq!(reply.status, 200, "{} {}", reply.head, reply.text());
        }
    }
    gateway.idle().await;
    gateway.stop().await;
}

/// An engine with TLS and HTTP/1.1 that takes this long for each handshake; its certificate.
async fn slow_handshakes(delay: Duration) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
                });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn handshakes_with_one_endpoint_do_not_wait_for_each_other() {
    let (engine, certificate) = slow_handshakes(Duration::from_millis(500)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let mut world = world_of(engine, AppProtocol::Https);
    world.pools[0].access.ca = Some(file);
    // Enough for a few handshakes, not for one after the other.
    world.pools[0].timeouts.first_byte = Duration::from_secs(3);
    let gateway = Running::start(world).await;
    let asked = (0..12).map(|_| async { ask(gateway.address, &chat_request(false)).await.status });
    assert_eq!(join_all(asked).await, [200; 12]);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_connection_that_fails_fails_for_all_that_wait_for_it() {
    // Accepts connections, and never speaks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = world_of(listener.local_addr().unwrap(), AppProtocol::H2c);
    world.pools[0].timeouts.connect = Duration::from_millis(500);
    world.pools[0].timeouts.first_byte = Duration::from_secs(3);
    world.pools[0].policy.retry_budget.max_attempts = 1;
    let gateway = Running::start(world).await;
    let asked = (0..12).map(|_| async { ask(gateway.address, &chat_request(false)).await });
    for reply in join_all(asked).await {
        let reason = reply.header("x-pointsman-reason").unwrap_or_default().to_owned();
        assert!(["connect", "no_ready_endpoint"].contains(&reason.as_str()), "{}", reply.head);
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_changed_keep_alive_needs_no_restart() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut world = world(&[engine.address]);
    world.pools[0].timeouts.keep_alive = Duration::from_secs(60);
    let gateway = Running::start(world.clone()).await;
    let asked = |gateway: &Running| {
        let address = gateway.address;
        async move {
            assert_eq!(ask(address, &chat_request(false)).await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    asked(&gateway).await;
    let before = engine.connections();
    asked(&gateway).await;
    assert_eq!(engine.connections(), before, "the connection is reused");
    world.pools[0].timeouts.keep_alive = Duration::from_millis(1);
    gateway.fleet.apply(world, 0).unwrap();
    asked(&gateway).await;
    asked(&gateway).await;
    assert!(engine.connections() >= before + 2, "each has its own");
    gateway.stop().await;
}

#[tokio::test]
async fn a_pool_may_be_replaced_while_a_body_is_sent() {
    let (old, new) = (Engine::start(|_| engine::chat()).await, Engine::start(|_| engine::chat()).await);
    let gateway = Running::before(&[old.address]).await;
    let request = chat_request(false);
    let (first, rest) = request.split_at(request.len() - 10);
    let mut wire = Wire::open(gateway.address).await;
    wire.send(first).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut replaced = world(&[new.address]);
    replaced.pools[0].name = support::name("other");
    gateway.fleet.apply(replaced, 0).unwrap();
    assert_eq!(wire.ask(rest).await.status, 200);
    assert_eq!(new.seen().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn the_backend_timeout_is_that_of_each_attempt() {
    let notify = Arc::new(tokio::sync::Notify::new());
    let (wait, waited) = (Step::Wait(Arc::clone(&notify)), Arc::clone(&notify));
    let engine = Engine::start(move |number| {
        let answer = match number {
            0 => full_response("503 Service Unavailable", "application/json", "{}"),
            _ => engine::chat(),
        };
        [vec![wait.clone()], answer].concat()
    })
    .await;
    let world = world_with_backend_timeout(engine.address.port());
    let gateway = Running::start(world).await;
    let released = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            waited.notify_one();
        }
    };
    let (reply, ()) = tokio::join!(async { ask(gateway.address, &chat_request(false)).await }, released);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(engine.seen().len(), 2);
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert_eq!((reply.status, reply.header("x-pointsman-reason")), (504, Some("request_timeout")));
    gateway.idle().await;
    gateway.stop().await;
}

/// A route with `backendRequest` to a pool of one engine.
fn world_with_backend_timeout(port: u16) -> World {
    manifests(&format!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g}}
spec:
  gatewayClassName: p
  listeners: [{{name: http, port: 8080, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: g}}]
  rules:
  - timeouts: {{backendRequest: 2s}}
    backendRefs: [{{group: inference.networking.k8s.io, kind: InferencePool, name: p}}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: p}}
spec:
  selector: {{matchLabels: {{app: p}}}}
  targetPorts: [{{number: {port}}}]
  endpointPickerRef: {{name: p, port: {{number: 9002}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: p
  labels: {{app: p}}
  annotations: {{pointsman.dev/static-endpoints: "true"}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
"#,
    ))
}

/// A gateway before an engine that answers these requests like this, and the replies to as many requests.
async fn ask_after_stale(
    is_closed: fn(usize) -> bool,
    max_attempts: u32,
    requests: usize,
) -> (Engine, Running, Vec<u16>) {
    let script = move |number| if is_closed(number) { vec![Step::Close] } else { engine::chat() };
    let engine = Engine::start(script).await;
    let mut world = world(&[engine.address]);
    world.pools[0].policy.retry_budget.max_attempts = max_attempts;
    let gateway = Running::start(world).await;
    let mut replies = Vec::new();
    for _ in 0..requests {
        replies.push(ask(gateway.address, &chat_request(false)).await.status);
    }
    gateway.idle().await;
    (engine, gateway, replies)
}

const STALE_RETRIES: &str = r#"pointsman_retries_total{pool="default/pool",cause="stale_connection""#;

#[tokio::test]
async fn a_request_lost_on_a_kept_connection_is_retried_on_a_new_one() {
    // Every second request arrives on a kept connection, and is lost there.
    let (engine, gateway, replies) = ask_after_stale(|number| number % 2 == 1, 3, 5).await;
    assert_eq!((replies, engine.seen().len()), (vec![200; 5], 9));
    assert_eq!(gateway.metric("pointsman_attempts_total"), 9.0, "each is an attempt");
    assert_eq!(gateway.metric(STALE_RETRIES), 4.0);
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 0.0, "and nobody's failure");
    assert_eq!(gateway.metric("pointsman_endpoint_ejections_total"), 0.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_lost_on_a_new_connection_as_well_is_a_failure() {
    let (engine, gateway, replies) = ask_after_stale(|number| matches!(number, 1 | 2), 3, 2).await;
    assert_eq!((replies, engine.seen().len()), (vec![200; 2], 4));
    assert_eq!(gateway.metric(STALE_RETRIES), 1.0);
    let lost = r#"pointsman_retries_total{pool="default/pool",cause="lost""#;
    assert_eq!(gateway.metric(lost), 1.0);
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 1.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_without_a_further_attempt_takes_a_new_connection() {
    let (engine, gateway, replies) = ask_after_stale(|_| false, 1, 3).await;
    assert_eq!((replies, engine.seen().len()), (vec![200; 3], 3));
    // Those after the first belong to requests, one each; probes and scrapes share theirs.
    let others = ask_after_stale(|_| false, 3, 3).await;
    assert_eq!(engine.connections(), others.0.connections() + 2);
    gateway.stop().await;
    others.1.stop().await;
}

/// An engine that speaks HTTP/2 and does this with requests other than the gateway's own.
async fn scripted_h2_engine<F>(serve: fn(Request<h2::RecvStream>, SendResponse<Bytes>) -> F) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut response))) = connection.accept().await {
                    if request.method() == Method::GET {
                        let head = Response::builder().status(200).body(()).unwrap();
                        response.send_response(head, true).unwrap();
                    } else {
                        tokio::spawn(serve(request, response));
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_stated_length_ends_a_response_over_http2() {
    let engine = scripted_h2_engine(|_, mut response| async move {
        let head = Response::builder()
            .header("content-type", "application/json")
            .header("content-length", CHAT.len())
            .body(())
            .unwrap();
        let mut stream = response.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(CHAT.as_bytes()), false).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stream.send_data(Bytes::new(), true);
    });
    let gateway = Running::start(world_of(engine.await, AppProtocol::H2c)).await;
    assert_eq!(ask(gateway.address, &chat_request(false)).await.text(), CHAT);
    gateway.idle().await;
    let complete = gateway.metric(r#"pointsman_requests_total{pool="default/pool",outcome="complete""#);
    assert_eq!(complete, 1.0, "and the outcome is that");
    gateway.stop().await;
}

#[tokio::test]
async fn a_connection_that_gives_no_response_in_time_takes_no_further_requests() {
    // Bodies that the engine does not read fill the connection's window.
    let engine = scripted_h2_engine(|request, mut response| async move {
        let (head, mut body) = request.into_parts();
        if head.uri.path() == "/upload" {
            return std::future::pending().await;
        }
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        let head = Response::builder().header("content-type", "application/json").body(()).unwrap();
        let mut stream = response.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(CHAT.as_bytes()), true).unwrap();
    });
    let mut world = world_of(engine.await, AppProtocol::H2c);
    world.pools[0].timeouts.first_byte = Duration::from_millis(500);
    let gateway = Running::start(world).await;
    let upload = post("/upload", &"u".repeat(200_000));
    assert_eq!(ask(gateway.address, &upload).await.reason(), "first_byte_timeout");
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 200);
    gateway.idle().await;
    gateway.stop().await;
}
