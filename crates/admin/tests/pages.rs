//! The admin server over loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot connect fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pointsman_admin::{AdminServer, AdminSources, Check, Readiness};
use pointsman_telemetry::{BuildInfo, Metrics};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

fn sources(ready: bool) -> AdminSources {
    AdminSources {
        ready: Arc::new(move || Readiness {
            checks: vec![Check { name: "pool default/llama".into(), passed: ready, detail: String::new() }],
            generation: 7,
            problems: vec!["a.yaml:3: no such pool".into()],
        }),
        pools: Arc::new(|| json!([{"name": "default/llama", "endpoints": []}])),
        decisions: Arc::new(|request| match request {
            Some("kept") => Some(json!({"requests": [{"client_id": "kept"}]})),
            Some(_) => Some(json!({"requests": []})),
            None => None,
        }),
        metrics: Metrics::new(&BuildInfo { version: "1.2.3", commit: "abc" }),
    }
}

async fn serve(sources: AdminSources) -> SocketAddr {
    let server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.serve(sources, std::future::pending()));
    address
}

/// Sends bytes and reads to the end of the connection.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have refused and closed before it took everything.
    let _ = stream.write_all(request).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8(response).unwrap()
}

async fn request(address: SocketAddr, line: &str, headers: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n{headers}\r\n");
    exchange(address, request.as_bytes()).await
}

#[tokio::test]
async fn every_page_has_its_status_and_content_type() {
    let (ready, unready) = (serve(sources(true)).await, serve(sources(false)).await);
    let check = async |address, line: &str, status: u16, content_type: &str, contains: &str| {
        let response = request(address, line, "").await;
        let head = response.split("\r\n\r\n").next().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {response}");
        assert!(head.contains(&format!("content-type: {content_type}")), "{line}: {head}");
        assert!(head.contains("cache-control: no-store"), "{line}: {head}");
        assert!(response.contains(contains), "{line}: {response}");
    };
    check(ready, "GET /", 200, "text/plain", "/readyz?verbose").await;
    check(ready, "GET /healthz", 200, "text/plain", "\r\n\r\nok\n").await;
    check(unready, "GET /healthz", 200, "text/plain", "\r\n\r\nok\n").await;
    check(ready, "GET /readyz", 200, "text/plain", "\r\n\r\nready\n").await;
    check(unready, "GET /readyz", 503, "text/plain", "\r\n\r\nnot ready: pool default/llama\n").await;
    check(
        ready,
        "GET /readyz?verbose",
        200,
        "text/plain",
        "[+] pool default/llama\nconfiguration generation 7",
    )
    .await;
    check(unready, "GET /readyz?a=b&verbose=true", 503, "text/plain", "[!] a.yaml:3: no such pool\n").await;
    check(ready, "GET /readyz?verbosely", 200, "text/plain", "\r\n\r\nready\n").await;
    check(ready, "GET /debug/pools", 200, "application/json", "\"name\": \"default/llama\"").await;
    check(ready, "GET /debug/decisions?request=kept", 200, "application/json", "\"client_id\": \"kept\"")
        .await;
    check(ready, "GET /debug/decisions?request=a%20b", 200, "application/json", "\"requests\": []").await;
    check(ready, "GET /debug/decisions", 404, "text/plain", "start with --decisions").await;
    check(ready, "GET /metrics", 200, "text/plain; version=0.0.4", "pointsman_build_info{version=\"1.2.3\"")
        .await;
    check(ready, "GET /nothing", 404, "text/plain", "no such page").await;
    check(ready, "GET /debug/", 404, "text/plain", "no such page").await;
    check(ready, "POST /metrics", 405, "text/plain", "allow: GET").await;
    check(ready, "DELETE /debug/pools", 405, "text/plain", "read-only").await;
}

#[tokio::test]
async fn the_accept_header_selects_the_metrics_format() {
    let address = serve(sources(true)).await;
    let accept =
        "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3\r\n";
    let open = request(address, "GET /metrics", accept).await;
    assert!(
        open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{open}"
    );
    assert!(open.ends_with("# EOF\n"));
    let plain = request(address, "GET /metrics", "accept: */*\r\n").await;
    assert!(!plain.contains("# EOF"));
}

#[tokio::test]
async fn a_head_request_gets_no_body() {
    let response = request(serve(sources(true)).await, "HEAD /healthz", "").await;
    assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with("\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let address = serve(sources(true)).await;
    let long = format!("x-long: {}\r\n", "a".repeat(64 << 10));
    let many: String = (0..1000).map(|number| format!("x-{number}: a\r\n")).collect();
    for headers in [long, many] {
        let response = request(address, "GET /healthz", &headers).await;
        assert!(!response.starts_with("HTTP/1.1 200"), "{response}");
    }
    assert!(request(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let address = serve(sources(true)).await;
    let response = exchange(address, b"\x16\x03\x01\x02\x00 hello\r\n\r\n").await;
    assert!(!response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(request(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_panic_in_a_source_fails_its_page_only() {
    let mut sources = sources(true);
    sources.pools = Arc::new(|| std::panic::resume_unwind(Box::new(())));
    let address = serve(sources).await;
    assert!(request(address, "GET /debug/pools", "").await.starts_with("HTTP/1.1 500"));
    assert!(request(address, "GET /readyz", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_response_in_progress_is_finished_at_shutdown() {
    let (entered, mut has_entered) = tokio::sync::mpsc::unbounded_channel();
    let released = Arc::new(AtomicBool::new(false));
    let mut sources = sources(true);
    let release = Arc::clone(&released);
    sources.pools = Arc::new(move || {
        let _ = entered.send(());
        while !release.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        json!("finished")
    });
    let server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(sources, async move {
        let _ = stopped.await;
    }));
    // An idle connection must not delay the shutdown.
    let idle = TcpStream::connect(address).await.unwrap();
    let response = tokio::spawn(async move { request(address, "GET /debug/pools", "").await });
    has_entered.recv().await.unwrap();
    stop.send(()).unwrap();
    released.store(true, Ordering::Release);
    assert!(response.await.unwrap().ends_with("\"finished\"\n"));
    serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let address = serve(sources(true)).await;
    let error = AdminServer::bind(address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
