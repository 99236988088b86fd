//! A test engine with a response by path and settable faults.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A server on a free port.
#[derive(Clone)]
pub struct Engine {
    pub port: u16,
    pub state: Arc<State>,
}

#[derive(Default)]
pub struct State {
    pub page: Mutex<(&'static str, Bytes)>,
    pub models: Mutex<Bytes>,
    pub healthy: AtomicBool,
    /// A path that is redirected, and where to.
    pub redirect: Mutex<Option<(String, String)>>,
    pub redirects: AtomicUsize,
    /// The path of the health page; `/health` where it is empty.
    pub health_path: Mutex<&'static str>,
    /// Requests are accepted and never answered.
    pub hangs: AtomicBool,
    pub scrapes: AtomicUsize,
    pub probes: AtomicUsize,
    pub connections: AtomicUsize,
}

impl Engine {
    pub async fn start(path: &'static str, page: impl Into<Bytes>) -> Self {
        Self::start_as(Version::HTTP_11, path, page).await
    }

    pub async fn start_as(version: Version, path: &'static str, page: impl Into<Bytes>) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { page: Mutex::new((path, page.into())), ..State::default() });
        state.healthy.store(true, Ordering::Relaxed);
        tokio::spawn(serve(version, listener, Arc::clone(&state)));
        Self { port, state }
    }

    pub fn set_page(&self, page: impl Into<Bytes>) {
        self.state.page.lock().unwrap().1 = page.into();
    }

    pub fn redirect(&self, from: &str, to: &str) {
        *self.state.redirect.lock().unwrap() = Some((from.to_owned(), to.to_owned()));
    }

    pub fn set_models(&self, models: &'static str) {
        *self.state.models.lock().unwrap() = models.into();
    }
}

async fn serve(version: Version, listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let stream = TokioIo::new(stream);
            // The client may disconnect first.
            if version == Version::HTTP_2 {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(stream, service).await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
            }
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if state.hangs.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let redirect = state.redirect.lock().unwrap().clone();
    if let Some((_, to)) = redirect.filter(|(from, _)| from == request.uri().path()) {
        state.redirects.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header("location", to);
        return Ok(response.body(Full::default()).unwrap());
    }
    let reply = |status, body| Response::builder().status(status).body(Full::new(body)).unwrap();
    let (path, page) = state.page.lock().unwrap().clone();
    let health_path = Some(*state.health_path.lock().unwrap()).filter(|path| !path.is_empty());
    Ok(match request.uri().path() {
        asked if asked == path => {
            state.scrapes.fetch_add(1, Ordering::Relaxed);
            reply(StatusCode::OK, page)
        }
        asked if asked == health_path.unwrap_or("/health") => {
            state.probes.fetch_add(1, Ordering::Relaxed);
            let healthy = state.healthy.load(Ordering::Relaxed);
            reply(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Bytes::new())
        }
        "/v1/models" => reply(StatusCode::OK, state.models.lock().unwrap().clone()),
        _ => reply(StatusCode::NOT_FOUND, Bytes::from_static(b"{\"detail\":\"Not Found\"}")),
    })
}
