//! A server with scripted responses that records its requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The scripted behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scripted {
    /// Two tokens and a complete end.
    Stream,
    /// The same, then closes the connection without announcing it.
    StreamThenClose,
    /// The body ends without finish reason and `[DONE]`.
    StreamWithoutEnd,
    /// An `error` event, then `[DONE]`, as vLLM does when its engine dies.
    StreamWithError,
    /// The connection breaks in the middle of the stream.
    StreamCutOff,
    /// A truncated JSON response with a matching length.
    HalfAnswer,
    /// A status with a short JSON body.
    Status(u16),
    /// No response.
    Silence,
    /// The connection closes without a response.
    HangUp,
}

/// Requests and connections of the server.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    connections: AtomicUsize,
    bodies: Mutex<Vec<Vec<u8>>>,
}

impl Seen {
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }
}

const TOKEN: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ERROR: &str =
    "data: {\"error\":{\"message\":\"engine died\",\"type\":\"InternalServerError\",\"code\":500}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

impl Scripted {
    /// Serves until the test ends.
    pub(crate) async fn serve(self) -> (SocketAddr, Arc<Seen>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(self.serve_connection(stream, Arc::clone(&shared)));
            }
        });
        (address, seen)
    }

    async fn serve_connection(self, mut stream: TcpStream, seen: Arc<Seen>) {
        while let Some(body) = read_request(&mut stream).await {
            seen.bodies.lock().unwrap().push(body);
            let keep = match self {
                Self::Stream => write_stream(&mut stream, &[TOKEN, TOKEN, FINISH, DONE], true).await,
                Self::StreamThenClose => {
                    write_stream(&mut stream, &[TOKEN, TOKEN, FINISH, DONE], true).await;
                    false
                }
                Self::StreamWithoutEnd => write_stream(&mut stream, &[TOKEN, TOKEN], true).await,
                Self::StreamWithError => write_stream(&mut stream, &[TOKEN, ERROR, DONE], true).await,
                Self::StreamCutOff => {
                    write_stream(&mut stream, &[TOKEN], false).await;
                    false
                }
                Self::HalfAnswer => write_whole(&mut stream, 200, "{\"choices\":[{\"ind").await,
                Self::Status(status) => write_whole(&mut stream, status, "{\"error\":{}}").await,
                Self::Silence => std::future::pending().await,
                Self::HangUp => false,
            };
            if !keep {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let head_end = read.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head_end) = head_end {
            let head = String::from_utf8_lossy(&read[..head_end]).to_ascii_lowercase();
            let length = head.split_once("content-length: ").map_or("", |(_, after)| after);
            let length: usize = length.lines().next().unwrap_or("").trim().parse().unwrap_or(0);
            if read.len() >= head_end + length {
                return Some(read[head_end..head_end + length].to_vec());
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn write_stream(stream: &mut TcpStream, events: &[&str], ended: bool) -> bool {
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_owned();
    for event in events {
        text.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
    }
    if ended {
        text.push_str("0\r\n\r\n");
    }
    stream.write_all(text.as_bytes()).await.is_ok()
}

async fn write_whole(stream: &mut TcpStream, status: u16, body: &str) -> bool {
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.is_ok()
}
