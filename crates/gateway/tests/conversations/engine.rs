//! Engines that follow a conversation's script.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::answer::{Answer, End, Framing, When};
use crate::draw::{Cut, Pieces};
use crate::engine_h2;
use crate::request::NAME;
use crate::script::{Conversation, Health};
use crate::support::engine::CHAT;

/// A response that nobody asked for.
const JUNK: &[u8] = b"HTTP/1.1 200 OK\r\nx-answer: junk\r\ncontent-length: 4\r\n\r\njunk";
/// Length of a response with which the junk comes in one piece.
const JUNK_LIMIT: usize = 4_000;

/// A request's body as an engine received it.
#[derive(Debug)]
pub struct Seen {
    pub number: usize,
    pub body: Vec<u8>,
    pub complete: bool,
}

/// State that the engines of a conversation share.
pub struct Engines {
    pub conversation: Conversation,
    /// Whether the script is over, and every request is served.
    pub recovered: AtomicBool,
    attempts: Mutex<HashMap<usize, usize>>,
    pub seen: Mutex<Vec<Seen>>,
    pub faults: Mutex<Vec<String>>,
}

/// The running engines of a conversation; dropping it ends them.
pub struct Hosts {
    pub engines: Arc<Engines>,
    pub addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    /// Holds the port that refuses connections.
    _dead: TcpSocket,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Hosts {
    pub async fn start(conversation: &Conversation) -> Self {
        let engines = Arc::new(Engines {
            conversation: conversation.clone(),
            recovered: AtomicBool::new(false),
            attempts: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
        });
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..conversation.engines {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tasks.push(tokio::spawn(accept(listener, Arc::clone(&engines))));
        }
        let dead = TcpSocket::new_v4().unwrap();
        dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        if conversation.dead_endpoint {
            addresses.push(dead.local_addr().unwrap());
        }
        Self { engines, addresses, tasks, _dead: dead }
    }
}

async fn accept(listener: TcpListener, engines: Arc<Engines>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let engines = Arc::clone(&engines);
        if engines.conversation.h2c {
            connections.spawn(engine_h2::serve(stream, engines));
        } else {
            connections.spawn(serve(stream, engines));
        }
        while connections.try_join_next().is_some() {}
    }
}

impl Engines {
    pub fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::SeqCst)
    }

    pub fn health(&self) -> Health {
        if self.is_recovered() { Health::Good } else { self.conversation.health }
    }

    /// The number and the answer of a request by its name; none if it is not of this conversation.
    pub fn answer(&self, name: &str) -> Option<(usize, Answer)> {
        let number = name.split_once('-').and_then(|(seed, number)| {
            (seed.parse() == Ok(self.conversation.seed)).then_some(number)?.parse().ok()
        });
        let Some(number) = number else {
            self.faults
                .lock()
                .unwrap()
                .push(format!("an engine received another conversation's request {name}"));
            return None;
        };
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(number).or_default();
        *attempt += 1;
        Some((number, self.conversation.answer(number, *attempt - 1)))
    }

    pub fn saw(&self, number: usize, body: Vec<u8>, complete: bool) {
        self.seen.lock().unwrap().push(Seen { number, body, complete });
    }
}

/// A request's head and what was read after it.
struct Incoming {
    stream: TcpStream,
    buffer: Vec<u8>,
}

async fn serve(stream: TcpStream, engines: Arc<Engines>) {
    let mut incoming = Incoming { stream, buffer: Vec::new() };
    while let Some(head) = incoming.head().await {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let stays = match path {
            "/health" => match engines.health() {
                Health::Good => incoming.respond("200 OK", "").await,
                Health::Bad => incoming.respond("500 Internal Server Error", "").await,
                Health::Silent => std::future::pending().await,
            },
            "/metrics" | "/prometheus/metrics" | "/server_info" | "/get_server_info" => {
                incoming.respond("404 Not Found", "none").await
            }
            _ => match field(&head, NAME) {
                // The gateway asks for the list of models, and may for other pages.
                None if head.starts_with("GET ") => incoming.respond("404 Not Found", "none").await,
                None => {
                    let (_, complete) = incoming.body(&head).await;
                    complete && incoming.respond("200 OK", CHAT).await
                }
                Some(name) => match engines.answer(&name) {
                    Some((number, answer)) => incoming.play(&head, number, &answer, &engines).await,
                    None => false,
                },
            },
        };
        if !stays {
            return;
        }
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

impl Incoming {
    async fn more(&mut self) -> bool {
        !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(0) | Err(_))
    }

    async fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(at + mark.len());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn head(&mut self) -> Option<String> {
        let end = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        Some(head)
    }

    async fn bytes(&mut self, count: usize) -> bool {
        while self.buffer.len() < count {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// The request's body as far as it comes, and whether it is complete.
    async fn body(&mut self, head: &str) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        if field(head, "transfer-encoding").is_none() {
            let length = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let complete = self.bytes(length).await;
            let there = length.min(self.buffer.len());
            body.extend(self.buffer.drain(..there));
            return (body, complete);
        }
        loop {
            let Some(line) = self.until(b"\r\n").await else { return (body, false) };
            let size = usize::from_str_radix(&String::from_utf8_lossy(&self.buffer[..line - 2]), 16).unwrap();
            self.buffer.drain(..line);
            if !self.bytes(size + 2).await {
                return (body, false);
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                return (body, true);
            }
        }
    }

    async fn respond(&mut self, status: &str, body: &str) -> bool {
        let length = body.len();
        let kind = "application/json";
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.write_all(head.as_bytes()).await.is_ok()
    }

    /// Plays an answer; returns whether the connection stays.
    async fn play(&mut self, head: &str, number: usize, answer: &Answer, engines: &Engines) -> bool {
        match answer.when {
            When::AfterBody => {
                let (body, complete) = self.body(head).await;
                engines.saw(number, body, complete);
                if !complete {
                    return false;
                }
            }
            When::MidBody => {
                let _ = tokio::time::timeout(Duration::from_millis(100), self.more()).await;
            }
            When::OnHead => {}
        }
        tokio::time::sleep(answer.delay).await;
        let mut wire = answer.wire();
        // What comes later than the response may meet the next request, whoever is between.
        let with_junk = answer.end == End::Junk
            && answer.cut.is_none()
            && answer.framing != Framing::Close
            && wire.len() < JUNK_LIMIT;
        let pieces = if with_junk { Pieces::WHOLE } else { answer.pieces };
        if with_junk {
            wire.extend_from_slice(JUNK);
        }
        let length = answer.cut.map_or(wire.len(), |(point, _)| point.of(wire.len()));
        for piece in pieces.of(&wire[..length]) {
            if self.stream.write_all(piece).await.is_err() {
                return false;
            }
            if !pieces.pause.is_zero() {
                tokio::time::sleep(pieces.pause).await;
            }
        }
        let cut = match (answer.cut, answer.end) {
            (Some((_, cut)), _) | (None, End::Cut(cut)) => cut,
            (None, _) if matches!(answer.framing, Framing::Close | Framing::Switch) => Cut::Close,
            (None, End::KeepAlive | End::Junk) if answer.when == When::AfterBody => return true,
            (None, End::KeepAlive | End::Junk) => {
                let (body, complete) = self.body(head).await;
                engines.saw(number, body, complete);
                return complete;
            }
        };
        self.end(cut).await;
        false
    }

    async fn end(&mut self, cut: Cut) {
        match cut {
            Cut::Close => {}
            Cut::Reset => {
                let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            }
            Cut::Stall | Cut::HalfClose => {
                if cut == Cut::HalfClose {
                    let _ = self.stream.shutdown().await;
                }
                let mut sink = vec![0; 16 << 10];
                while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
            }
        }
    }
}
