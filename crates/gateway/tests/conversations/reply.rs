//! Responses as a client reads them from HTTP/1.1.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::answer::ANSWER;
use crate::script::Reading;

#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The name of the engine's answer; none for the gateway's own.
    pub answer: Option<String>,
    /// The gateway's reason.
    pub reason: String,
    pub body: Vec<u8>,
    /// Whether it ended by its framing, and not with the connection.
    pub complete: bool,
    /// Whether no other response follows on the connection.
    pub last: bool,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The gateway closed the connection.
    Closed,
    /// The client leaves.
    Left,
}

/// Reads responses in the client's manner.
pub struct Replies<R> {
    reader: R,
    buffer: Vec<u8>,
    reading: Reading,
    read: usize,
    begun: Instant,
}

impl<R: AsyncRead + Unpin> Replies<R> {
    pub fn new(reader: R, reading: Reading) -> Self {
        Self { reader, buffer: Vec::new(), reading, read: 0, begun: Instant::now() }
    }

    /// Whether bytes came after the last response.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    async fn more(&mut self) -> Result<(), Stop> {
        let most = match self.reading {
            Reading::All | Reading::Nothing => 64 << 10,
            Reading::Slow => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if self.begun.elapsed() > Duration::from_secs(2) {
                    return Err(Stop::Left);
                }
                50
            }
            Reading::Leave { after, .. } if self.read >= after => return Err(Stop::Left),
            Reading::Leave { after, .. } => after - self.read,
        };
        let start = self.buffer.len();
        let mut limited = (&mut self.reader).take(most as u64);
        match limited.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Stop::Closed),
            Ok(_) => {
                self.read += self.buffer.len() - start;
                Ok(())
            }
        }
    }

    /// The end of the first line that ends in `mark`.
    async fn until(&mut self, mark: &[u8]) -> Result<usize, Stop> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Ok(from + at + mark.len());
            }
            from = self.buffer.len().saturating_sub(mark.len());
            self.more().await?;
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<(), Stop> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(())
    }

    /// The next response, or why there is none; `interim` is told of those before the final one.
    pub async fn next(&mut self, interim: impl Fn()) -> (Option<Reply>, Option<Stop>) {
        let mut reply = loop {
            let end = match self.until(b"\r\n\r\n").await {
                Ok(end) => end,
                Err(stop) => return (None, Some(stop)),
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end);
            let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                interim();
                continue;
            }
            break (Reply { status, ..Reply::default() }, head);
        };
        let stop = self.body(&mut reply.0, &reply.1).await.err();
        (Some(reply.0), stop)
    }

    async fn body(&mut self, reply: &mut Reply, head: &str) -> Result<(), Stop> {
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        reply.answer = field(ANSWER);
        reply.reason = field("x-pointsman-reason").unwrap_or_default();
        reply.last = field("connection").is_some_and(|value| value.contains("close")) || reply.status == 101;
        if reply.status == 101 {
            return Ok(());
        }
        if field("transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = String::from_utf8_lossy(&self.buffer[..line - 2]).into_owned();
                let size = usize::from_str_radix(&size, 16).map_err(|_| Stop::Closed)?;
                self.buffer.drain(..line);
                let read = self.bytes(size + 2).await;
                let there = size.min(self.buffer.len());
                reply.body.extend(self.buffer.drain(..there));
                read?;
                self.buffer.drain(..2);
                if size == 0 {
                    reply.complete = true;
                    return Ok(());
                }
            }
        }
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let read = self.bytes(length).await;
        let there = length.min(self.buffer.len());
        reply.body = self.buffer.drain(..there).collect();
        read?;
        reply.complete = true;
        Ok(())
    }
}
