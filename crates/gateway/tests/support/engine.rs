//! An engine with a script of raw bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A step of the engine's script after it has read a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Waits until the peer closes the connection, and counts that.
    AwaitClose,
    /// Sends nothing more.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Echoes all bytes until the connection ends.
    Echo,
    /// Waits for the test's notification.
    Wait(Arc<tokio::sync::Notify>),
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

type Script = dyn Fn(usize) -> Vec<Step> + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    hang_ups: Mutex<usize>,
    connections: Mutex<usize>,
}

/// A running engine; dropping it closes its listener and all its connections.
pub struct Engine {
    pub address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response with a content-length.
pub fn full_response(status: &str, content_type: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into(),
    )]
}

/// A completed chat as JSON.
pub fn chat() -> Vec<Step> {
    full_response("200 OK", "application/json", CHAT)
}

pub const CHAT: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;

/// The response to `GET /v1/models`.
const MODELS: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 110\r\n\
    access-control-allow-origin: *\r\n\r\n{\"object\":\"list\",\"data\":[{\"id\":\"served\",\"object\":\"model\",\
    \"created\":7,\"owned_by\":\"vllm\",\"max_model_len\":4096}]}";

/// The head of an event stream and these events, one chunk each.
pub fn events(events: &[&str]) -> Vec<Step> {
    let mut steps = vec![Step::Send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
    )];
    for event in events {
        steps.push(Step::Send(format!("{:x}\r\n{event}\r\n", event.len()).into()));
    }
    steps
}

/// The last chunk of a chunked body.
pub fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

pub const ROLE: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
pub const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub const ERROR: &str = "data: {\"error\":{\"message\":\"EngineCore died\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";

/// A complete event stream.
pub fn stream() -> Vec<Step> {
    let mut steps = events(&[ROLE, TOKEN, STOP, DONE]);
    steps.push(end());
    steps
}

impl Engine {
    /// Starts an engine that runs `script(n)` for its `n`th request, counted from 0. Scrapes and probes are answered
    /// separately and not counted.
    pub async fn start(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let script: Arc<Script> = Arc::new(script);
        let task = {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    *log.connections.lock().unwrap() += 1;
                    connections.spawn(serve(stream, Arc::clone(&log), Arc::clone(&script)));
                }
            })
        };
        Self { address, log, task }
    }

    /// An address that refuses connections.
    pub fn unused_address() -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.local_addr().unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.log.connections.lock().unwrap()
    }

    /// Waits until the peer has closed a connection in [`Step::AwaitClose`].
    pub async fn closed_by_peer(&self) {
        while *self.log.hang_ups.lock().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until this number of requests has been read.
    pub async fn got(&self, requests: usize) {
        while self.log.seen.lock().unwrap().len() < requests {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Log>, script: Arc<Script>) {
    let mut buffer = Vec::new();
    loop {
        let Some(seen) = read_request(&mut stream, &mut buffer).await else { return };
        let steps = match seen.head.split(' ').nth(1) {
            Some("/metrics" | "/prometheus/metrics" | "/server_info" | "/get_server_info") => {
                full_response("404 Not Found", "text/plain", "none")
            }
            Some("/health") => full_response("200 OK", "text/plain", ""),
            Some("/v1/models") if seen.header("authorization") == Some("Bearer wrong") => {
                full_response("401 Unauthorized", "application/json", r#"{"error":"Unauthorized"}"#)
            }
            Some("/v1/models") => vec![Step::Send(MODELS.into())],
            Some(_) | None => {
                let mut all = log.seen.lock().unwrap();
                all.push(seen);
                script(all.len() - 1)
            }
        };
        for step in steps {
            if !run(&mut stream, step, &log).await {
                return;
            }
        }
    }
}

/// Runs a step; returns whether the connection stays open.
async fn run(stream: &mut TcpStream, step: Step, log: &Log) -> bool {
    let mut sink = [0; 4096];
    match step {
        Step::Send(bytes) => {
            let sent = stream.write_all(&bytes).await.is_ok();
            // Each piece on its own, as engines send them.
            tokio::time::sleep(Duration::from_millis(2)).await;
            sent
        }
        Step::AwaitClose => {
            while !matches!(stream.read(&mut sink).await, Ok(0) | Err(_)) {}
            *log.hang_ups.lock().unwrap() += 1;
            false
        }
        Step::Hang => std::future::pending().await,
        Step::Close => false,
        Step::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            false
        }
        Step::Echo => loop {
            match stream.read(&mut sink).await {
                Ok(0) | Err(_) => return false,
                Ok(n) => {
                    if stream.write_all(&sink[..n]).await.is_err() {
                        return false;
                    }
                }
            }
        },
        Step::Wait(gate) => {
            gate.notified().await;
            true
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut seen = Seen { head, body: Vec::new() };
    buffer.drain(..head_end);
    if seen.header("transfer-encoding").is_some() {
        while !buffer.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        seen.body = super::client::unchunk(buffer).0;
        buffer.clear();
        return Some(seen);
    }
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = buffer.drain(..length).collect();
    Some(seen)
}
