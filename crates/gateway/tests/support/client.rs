//! A client that reads raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response as received.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether it ended by its framing, and not with the connection.
    pub complete: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn reason(&self) -> &str {
        self.header("x-pointsman-reason").unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A POST with a JSON body.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub fn chat_request(stream: bool) -> Vec<u8> {
    post(
        "/v1/chat/completions",
        &format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#),
    )
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads up to `mark` and returns what was read.
    pub async fn read_until(&mut self, mark: &[u8]) -> String {
        while !self.buffer.windows(mark.len()).any(|window| window == mark) {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "ended before {:?}", String::from_utf8_lossy(mark));
        }
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Sends a request and reads its response.
    pub async fn ask(&mut self, request: &[u8]) -> Reply {
        // The gateway may refuse and close before it has read all.
        let _ = self.stream.write_all(request).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => {
                    return Reply {
                        status: 0,
                        head: String::new(),
                        body: self.buffer.clone(),
                        complete: false,
                    };
                }
                Ok(_) => {}
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        self.buffer.drain(..head_end);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new(), complete: true };
        if reply.status == 101 {
            return reply;
        }
        if reply.header("transfer-encoding").is_some() {
            loop {
                let (body, complete) = unchunk(&self.buffer);
                reply.body = body;
                if complete {
                    self.buffer.clear();
                    return reply;
                }
                if !self.more().await {
                    reply.complete = false;
                    return reply;
                }
            }
        }
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            if !self.more().await {
                reply.complete = false;
                break;
            }
        }
        let length = length.min(self.buffer.len());
        reply.body = self.buffer.drain(..length).collect();
        reply
    }

    async fn more(&mut self) -> bool {
        !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(0) | Err(_))
    }
}

/// The data of a chunked body, and whether it is complete.
pub fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = bytes.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&bytes[..line]).unwrap().split(';').next().unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (body, bytes.ends_with(b"\r\n"));
        }
        if bytes.len() < size + 2 {
            body.extend_from_slice(&bytes[..size.min(bytes.len())]);
            return (body, false);
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}

/// Sends a request on a new connection and reads its response.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Reply {
    Wire::open(address).await.ask(request).await
}
