//! Instant engines for overhead measurements: they respond at once, so further latency and CPU time belong to the proxy in
//! front of them.

mod stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use stream::EventBody;

/// A non-streaming response in vLLM's format, 336 bytes.
const ANSWER: &str = concat!(
    r#"{"id":"chatcmpl-5f0c6a52d1f94e0bb7a3","object":"chat.completion","created":1763715600,"#,
    r#""model":"stub","choices":[{"index":0,"message":{"role":"assistant","content":"It takes the "#,
    r#"second track, on the right.","tool_calls":[]},"logprobs":null,"finish_reason":"#,
    r#""stop"}],"usage":{"prompt_tokens":230,"total_tokens":242,"completion_tokens":12}}"#,
);

/// A metrics page of vLLM 0.32.0, so that the measurement includes the cost of scrapes.
const METRICS_PAGE: &str = include_str!("stub/metrics.txt");

/// The models that the stub serves.
const MODELS: &str = r#"{"object":"list","data":[{"id":"stub","object":"model","owned_by":"pointsman"}]}"#;

/// Bytes kept of a body's end, to find `stream` and `max_tokens`: the load generator writes them after the prompt.
const TAIL: usize = 256;

/// Instant engines on consecutive ports. They share the caller's runtime: one thread suffices and leaves the other cores to the
/// measured server.
#[derive(Debug)]
pub struct Stubs {
    listeners: Vec<TcpListener>,
    event_interval: Duration,
}

impl Stubs {
    /// Binds `count` ports from `listen` upwards, or any free ports where its port is 0.
    ///
    /// # Errors
    /// A port is in use or out of range.
    pub async fn bind(listen: SocketAddr, count: u16, event_interval: Duration) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for offset in 0..count {
            let port = match listen.port() {
                0 => 0,
                first => first.checked_add(offset).ok_or(io::ErrorKind::AddrNotAvailable)?,
            };
            listeners.push(TcpListener::bind(SocketAddr::new(listen.ip(), port)).await?);
        }
        Ok(Self { listeners, event_interval })
    }

    /// The bound addresses.
    ///
    /// # Errors
    /// The operating system does not report an address.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until dropped or until a listener fails.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn serve(self) -> io::Result<()> {
        let mut accepting = tokio::task::JoinSet::new();
        let event_interval = self.event_interval;
        for listener in self.listeners {
            accepting.spawn(async move {
                loop {
                    let (stream, _peer) = listener.accept().await?;
                    tokio::spawn(serve_connection(stream, event_interval));
                }
            });
        }
        match accepting.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(cause)) => Err(io::Error::other(cause)),
            None => Ok(()),
        }
    }
}

async fn serve_connection(stream: TcpStream, event_interval: Duration) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, event_interval).await) });
    // A closed connection is not an error.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

type ResponseReader = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, event_interval: Duration) -> ResponseReader {
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET, "/metrics") => full_response("text/plain; version=0.0.4; charset=utf-8", METRICS_PAGE),
        (&Method::GET, "/health") => full_response("text/plain", ""),
        (&Method::GET, "/v1/models") => full_response("application/json", MODELS),
        (&Method::POST, "/v1/chat/completions") => match read_tail(request.into_body()).await {
            Ok(tail) if contains(&tail, br#""stream":true"#) => {
                let body = EventBody::new(max_tokens(&tail), event_interval);
                typed(Response::new(body.boxed()), "text/event-stream; charset=utf-8")
            }
            Ok(_) => full_response("application/json", ANSWER),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        _ => status(StatusCode::NOT_FOUND),
    }
}

async fn read_tail(mut body: Incoming) -> Result<Arc<[u8]>, hyper::Error> {
    let mut tail: Vec<u8> = Vec::with_capacity(2 * TAIL);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            let useful = data.get(data.len().saturating_sub(TAIL)..).unwrap_or(data);
            tail.extend_from_slice(useful);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
    }
    Ok(tail.into())
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// The last `"max_tokens":N`, or 1.
fn max_tokens(tail: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(tail);
    let digits = text.rsplit_once(r#""max_tokens":"#).map_or("", |(_, after)| after);
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|number| number.parse().ok()).unwrap_or(1)
}

fn full_response(content_type: &'static str, body: &'static str) -> ResponseReader {
    typed(Response::new(Full::new(Bytes::from_static(body.as_bytes())).boxed()), content_type)
}

fn typed(mut response: ResponseReader, content_type: &'static str) -> ResponseReader {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(status: StatusCode) -> ResponseReader {
    let mut response = full_response("text/plain", "");
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_length_of_the_published_measurements() {
        assert_eq!(ANSWER.len(), 336);
        serde_json::from_str::<serde_json::Value>(ANSWER).unwrap();
    }

    #[test]
    fn max_tokens_is_read_from_the_end() {
        let check = |tail: &str, expect| assert_eq!(max_tokens(tail.as_bytes()), expect, "{tail}");
        check(r#""max_tokens":5 say \"x\""}],"max_tokens":150,"stream":true}"#, 150);
        check(r#""max_tokens":7"#, 7);
        check(r#""max_tokens":x"#, 1);
        check("", 1);
    }
}
