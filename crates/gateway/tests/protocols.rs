//! HTTP/2, TLS, upgrades and headers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pointsman_config::{ApiKeyHeader, AppProtocol, TlsFiles, World};
use pointsman_fleet::{Fleet, FleetOptions, MonitorSettings};
use pointsman_gateway::{Gateway, GatewayError, GatewayOptions};
use pointsman_telemetry::{BuildInfo, Metrics};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::client::{Wire, ask, chat_request};
use support::engine::{self, CHAT, Engine, Step, TOKEN};
use support::{Running, endpoint, world};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

async fn h2_ask<S>(stream: S, authority: &str) -> (StatusCode, Bytes)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{authority}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(br#"{"model":"m","stream":true,"messages":[]}"#)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_accepted() {
    let engine = Engine::start(|_| engine::stream()).await;
    let gateway = Running::before(&[engine.address]).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (status, body) = h2_ask(stream, "h2.test").await;
    assert_eq!(status, 200);
    assert!(body.ends_with(b"[DONE]\n\n"));
    assert_eq!(engine.seen()[0].header("host"), Some("h2.test"));
    gateway.idle().await;
    gateway.stop().await;
}

/// An HTTP/2 engine that answers with the request's authority.
async fn h2_engine(tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(authority))))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = match tls {
                    None => server.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => {
                        let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else {
                            return;
                        };
                        server.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    address
}

#[tokio::test]
async fn http2_to_an_engine_in_plain_text() {
    let mut world = world(&[]);
    world.pools[0].endpoints = vec![endpoint(h2_engine(None).await, AppProtocol::H2c)];
    let gateway = Running::start(world).await;
    let all = (0..20).map(|_| async { ask(gateway.address, &chat_request(false)).await });
    for reply in futures_util::future::join_all(all).await {
        assert_eq!((reply.status, reply.text().as_str()), (200, "gateway.test"));
    }
    gateway.idle().await;
    gateway.stop().await;
}

/// A certificate for these names in `directory`, and its two files.
fn certificate(directory: &Path, names: &[&str]) -> (TlsFiles, rcgen::CertifiedKey<rcgen::KeyPair>) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = TlsFiles { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made)
}

fn server_config(files: &TlsFiles) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn http2_to_an_engine_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = certificate(directory.path(), &["127.0.0.1", "localhost"]);
    let address = h2_engine(Some(server_config(&files))).await;
    let mut trusting = world(&[]);
    trusting.pools[0].endpoints = vec![endpoint(address, AppProtocol::Https)];
    let mut doubting = trusting.clone();
    trusting.pools[0].access.ca = Some(files.certificate.clone());
    let gateway = Running::start(trusting).await;
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert_eq!((reply.status, reply.text()), (200, address.to_string()), "the host is the engine's");
    gateway.stop().await;
    let other = tempfile::tempdir().unwrap();
    doubting.pools[0].access.ca = Some(certificate(other.path(), &["elsewhere"]).0.certificate);
    let gateway = Running::start(doubting).await;
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert!([502, 503].contains(&reply.status), "{}", reply.head);
    gateway.idle().await;
    gateway.stop().await;
}

async fn tls_connect(
    address: SocketAddr,
    files: &TlsFiles,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&files.certificate).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", address.port())).await?;
    let name = ServerName::try_from("gateway.test").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A port that is likely to be free.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn tls_is_accepted_and_changed_certificates_are_reloaded() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = certificate(directory.path(), &["gateway.test"]);
    let engine = Engine::start(|_| engine::stream()).await;
    let mut world = world(&[engine.address]);
    let mut secure = world.listeners[0].clone();
    secure.port = free_port().await;
    secure.tls = Some(files.clone());
    world.listeners.push(secure);
    let gateway = Running::start(world).await;
    let address = *gateway.addresses.last().unwrap();
    let (status, _) = h2_ask(tls_connect(address, &files, b"h2").await.unwrap(), "gateway.test").await;
    assert_eq!(status, 200);
    assert_eq!(engine.seen()[0].header("x-forwarded-proto"), Some("https"));
    // An invalid file has no effect; a valid one is loaded without a restart.
    let old = tempfile::tempdir().unwrap();
    let kept = TlsFiles { certificate: old.path().join("tls.crt"), key: files.key.clone() };
    std::fs::copy(&files.certificate, &kept.certificate).unwrap();
    std::fs::write(&files.certificate, "nonsense").unwrap();
    while gateway.metric("pointsman_certificate_reloads_total") == 0.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(tls_connect(address, &kept, b"http/1.1").await.is_ok());
    certificate(directory.path(), &["gateway.test"]);
    while tls_connect(address, &files, b"http/1.1").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_that_counts_as_in_flight() {
    let accept =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_vec();
    let engine = Engine::start(move |_| vec![Step::Send(accept.clone()), Step::Echo]).await;
    let gateway = Running::before(&[engine.address]).await;
    let mut wire = Wire::open(gateway.address).await;
    let reply = wire
        .ask(b"GET /v1/realtime HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    wire.send(b"there").await;
    wire.read_until(b"there").await;
    assert_eq!(gateway.fleet.in_flight(), 1);
    drop(wire);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn request_headers_are_rewritten_for_the_engine() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let body = r#"{"model":"m","messages":[]}"#;
    let request = format!(
        "POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nauthorization: Bearer client\r\nconnection: x-private\r\nx-private: 1\r\n\
         x-gateway-model-name: forged\r\nx-gateway-destination-endpoint: 10.0.0.1:1\r\n\
         x-gateway-inference-objective: o\r\ntraceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n\
         x-forwarded-for: 192.0.2.7\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut wire = Wire::open(gateway.address).await;
    wire.send(request.as_bytes()).await;
    wire.read_until(b"100 Continue\r\n\r\n").await;
    wire.send(body.as_bytes()).await;
    wire.read_until(CHAT.as_bytes()).await;
    let seen = &engine.seen()[0];
    assert!(seen.head.starts_with("POST /v1/chat/completions?a=b HTTP/1.1\r\n"), "{}", seen.head);
    let expected = [
        ("host", Some("gateway.test")),
        ("authorization", Some("Bearer client")),
        ("traceparent", Some("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")),
        ("x-forwarded-for", Some("192.0.2.7, 127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("gateway.test")),
        ("x-private", None),
        ("x-gateway-model-name", None),
        ("x-gateway-destination-endpoint", None),
        ("x-gateway-inference-objective", None),
        ("expect", None),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name), value, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_engines_api_key_replaces_the_clients() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "engine-key\n").unwrap();
    for (header, expected) in [
        (ApiKeyHeader::Authorization, [("authorization", Some("Bearer engine-key")), ("x-api-key", None)]),
        (ApiKeyHeader::XApiKey, [("x-api-key", Some("engine-key")), ("authorization", None)]),
    ] {
        let engine = Engine::start(|_| engine::chat()).await;
        let mut world = world(&[engine.address]);
        world.pools[0].access.api_key = Some(key.clone());
        world.pools[0].access.api_key_header = header;
        let gateway = Running::start(world).await;
        let own = "\r\nauthorization: Bearer client\r\nx-api-key: client\r\n";
        let request = String::from_utf8(chat_request(false)).unwrap().replacen("\r\n", own, 1);
        ask(gateway.address, request.as_bytes()).await;
        for (name, value) in expected {
            assert_eq!(engine.seen()[0].header(name), value, "{name}");
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn responses_without_a_body_stay_without() {
    let steps = |text: &str| vec![Step::Send(text.as_bytes().to_vec())];
    let engine = Engine::start(move |n| match n {
        0 => steps("HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n"),
        1 => steps("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => steps(
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n",
        ),
    })
    .await;
    let gateway = Running::before(&[engine.address]).await;
    let mut wire = Wire::open(gateway.address).await;
    wire.send(b"HEAD /file HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let head = wire.read_until(b"\r\n\r\n").await;
    assert!(head.contains("200 OK") && head.contains("content-length: 77"), "{head}");
    let mut wire = Wire::open(gateway.address).await;
    assert_eq!(wire.ask(b"DELETE /file HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 204);
    let reply = wire.ask(b"GET /file HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("etag")), (304, Some("\"e\"")));
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_unread_body_keeps_its_framing() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let mut wire = Wire::open(gateway.address).await;
    wire.send(b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: h\r\ncontent-type: multipart/form-data; boundary=b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    assert_eq!(wire.ask(b"3\r\ndef\r\n0\r\n\r\n").await.status, 200);
    assert_eq!(engine.seen()[0].body, b"abcdef");
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn streams_end_during_the_drain() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let script = {
        let gate = Arc::clone(&gate);
        move |_| {
            let mut steps = engine::stream();
            steps.insert(3, Step::Wait(Arc::clone(&gate)));
            steps
        }
    };
    let engine = Engine::start(script).await;
    let gateway = Running::before(&[engine.address]).await;
    let mut wire = Wire::open(gateway.address).await;
    wire.send(&chat_request(true)).await;
    wire.read_until(TOKEN.as_bytes()).await;
    gateway.begin_stop();
    while TcpStream::connect(gateway.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.notify_one();
    let reply = wire.reply().await;
    assert!(reply.complete && reply.text().ends_with("[DONE]\n\n"));
    gateway.stop().await;
}

#[tokio::test]
async fn new_connections_are_served_until_the_end_of_the_handover() {
    let engine = Engine::start(|_| engine::chat()).await;
    let (world, handover) = (world(&[engine.address]), Duration::from_secs(2));
    let gateway = Running::with_handover(world, MonitorSettings::default(), handover).await;
    let mut kept = Wire::open(gateway.address).await;
    assert_eq!(kept.ask(&chat_request(false)).await.status, 200);
    gateway.begin_stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 200, "on a new connection");
    assert_eq!(kept.ask(&chat_request(false)).await.status, 200, "on a kept connection");
    let address = gateway.address;
    gateway.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_reload_under_load_drops_no_request() {
    let engines = [Engine::start(|_| engine::stream()).await, Engine::start(|_| engine::stream()).await];
    let gateway = Running::before(&[engines[0].address]).await;
    let address = gateway.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut wire = Wire::open(address).await;
                for _ in 0..25 {
                    let reply = wire.ask(&chat_request(true)).await;
                    assert!(reply.status == 200 && reply.complete, "{}", reply.head);
                }
            })
        })
        .collect();
    for n in 0..30 {
        let which = [&engines[..1], &engines[1..], &engines[..]][n % 3];
        let addresses: Vec<SocketAddr> = which.iter().map(|engine| engine.address).collect();
        gateway.fleet.apply(world(&addresses), 0).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let options = GatewayOptions { listen: Some(address), ..GatewayOptions::default() };
    let error = bind(world(&[]), options).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[tokio::test]
async fn a_reload_opens_and_closes_sockets() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = certificate(directory.path(), &["gateway.test"]);
    let mut more = world(&[engine.address]);
    let mut secure = more.listeners[0].clone();
    secure.port = free_port().await;
    secure.tls = Some(files.clone());
    let address = SocketAddr::from(([127, 0, 0, 1], secure.port));
    more.listeners.push(secure);
    gateway.fleet.apply(more.clone(), 0).unwrap();
    while tls_connect(address, &files, b"http/1.1").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    more.listeners.pop();
    gateway.fleet.apply(more, 0).unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 200, "the other listener stays open");
    gateway.stop().await;
}

#[tokio::test]
async fn a_listener_moves_to_another_address_of_its_port() {
    let engine = Engine::start(|_| engine::chat()).await;
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = certificate(directory.path(), &["gateway.test"]);
    let mut world = world(&[engine.address]);
    world.listeners[0].port = free_port().await;
    world.listeners[0].tls = Some(files.clone());
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], world.listeners[0].port));
    let gateway = Running::start(world.clone()).await;
    assert!(TcpStream::connect(elsewhere).await.is_err());
    // The port is taken until the socket on the old address is closed.
    world.listeners[0].address = [0, 0, 0, 0].into();
    gateway.fleet.apply(world, 0).unwrap();
    while tls_connect(elsewhere, &files, b"http/1.1").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_invalid_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = certificate(directory.path(), &["gateway.test"]);
    std::fs::write(&files.certificate, "nonsense").unwrap();
    let mut bad = world(&[]);
    bad.listeners[0].port = free_port().await;
    bad.listeners[0].tls = Some(files.clone());
    let error = bind(bad, GatewayOptions::default()).unwrap_err();
    assert!(error.to_string().contains(files.certificate.to_str().unwrap()), "{error}");
}

fn bind(world: World, options: GatewayOptions) -> Result<Gateway, GatewayError> {
    let metrics = Metrics::new(&BuildInfo { version: "test", commit: "" });
    let fleet = Fleet::start(FleetOptions::default(), metrics.clone()).unwrap();
    fleet.apply(world, 0).unwrap();
    Gateway::bind(options, fleet, metrics)
}

/// An HTTP/2 engine that refuses the first stream that `seen` counts, and serves the rest.
async fn refusing_h2_engine(seen: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if request.method() == http::Method::POST && seen.fetch_add(1, Ordering::SeqCst) == 0 {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    } else if let Ok(mut body) = respond.send_response(Response::new(()), false) {
                        let _ = body.send_data(Bytes::from_static(b"ok"), true);
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_refused_stream_is_always_retried() {
    let seen = Arc::new(AtomicUsize::new(0));
    let mut world = world(&[]);
    for _ in 0..2 {
        let address = refusing_h2_engine(Arc::clone(&seen)).await;
        world.pools[0].endpoints.push(endpoint(address, AppProtocol::H2c));
    }
    let gateway = Running::start(world).await;
    let stored = support::client::post("/v1/responses", r#"{"model":"m","input":"x"}"#);
    let reply = ask(gateway.address, &stored).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    gateway.idle().await;
    gateway.stop().await;
}
