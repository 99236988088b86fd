//! Requests of clients, with their flaws.

use pointsman_core::Rng;

use crate::draw::{one_in, pick};

/// The header by which engines know a request.
pub const NAME: &str = "x-conversation";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chat {
        stream: bool,
    },
    /// A stateful call, which is not repeated.
    Stored,
    /// A body that streams through.
    Upload,
    Page,
    /// Answered by the gateway.
    Models,
    Upgrade,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Less than was announced.
    Short,
    /// Bytes after the end.
    Long,
    BadChunk,
    /// A content-length beside chunks, which it contradicts.
    TwoFramings,
    TwoLengths,
    GarbageHead,
    HugeHead,
    /// No JSON.
    BadJson,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub seed: u64,
    pub number: usize,
    pub kind: Kind,
    /// Length of the prompt or upload in bytes.
    pub size: usize,
    pub chunked: bool,
    pub expects_continue: bool,
    pub flaw: Flaw,
}

/// A request as it goes over HTTP/1.1.
pub struct Wire {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

/// Longest body that the gateway accepts.
pub const MAX_BODY: usize = 256 << 10;

impl Request {
    pub fn draw(rng: &mut Rng, seed: u64, number: usize, plain: bool) -> Self {
        let kinds = [
            (4, Kind::Chat { stream: false }),
            (6, Kind::Chat { stream: true }),
            (1, Kind::Stored),
            (3, Kind::Upload),
            (1, Kind::Page),
            (1, Kind::Models),
            (1, Kind::Upgrade),
        ];
        let kind = pick(rng, if plain { &kinds[..5] } else { &kinds });
        let size = pick(rng, &[(6, 10), (3, 3_000), (2, 70_000), (1, 200_000), (1, MAX_BODY)]);
        let flaws = [
            (24, Flaw::None),
            (3, Flaw::Short),
            (2, Flaw::Long),
            (2, Flaw::BadChunk),
            (1, Flaw::TwoFramings),
            (1, Flaw::TwoLengths),
            (1, Flaw::GarbageHead),
            (1, Flaw::HugeHead),
            (1, Flaw::BadJson),
        ];
        Self {
            seed,
            number,
            kind,
            size: if plain { size.min(200_000) } else { size },
            chunked: one_in(rng, 3),
            expects_continue: one_in(rng, 6),
            flaw: if plain { Flaw::None } else { pick(rng, &flaws) },
        }
    }

    /// The same request, without the flaws that HTTP/2 cannot have.
    pub fn over_h2(mut self) -> Self {
        if !matches!(self.flaw, Flaw::Short | Flaw::BadJson) {
            self.flaw = Flaw::None;
        }
        self
    }

    pub fn is_api(&self) -> bool {
        matches!(self.kind, Kind::Chat { .. } | Kind::Stored)
    }

    pub fn method(&self) -> &'static str {
        match self.kind {
            Kind::Chat { .. } | Kind::Stored | Kind::Upload => "POST",
            Kind::Page | Kind::Models | Kind::Upgrade => "GET",
        }
    }

    pub fn path(&self) -> &'static str {
        match self.kind {
            Kind::Chat { .. } => "/v1/chat/completions",
            Kind::Stored => "/v1/responses",
            Kind::Upload => "/upload",
            Kind::Page => "/page",
            Kind::Models => "/v1/models",
            Kind::Upgrade => "/socket",
        }
    }

    pub fn content_type(&self) -> &'static str {
        if self.is_api() { "application/json" } else { "application/octet-stream" }
    }

    pub fn has_body(&self) -> bool {
        self.method() == "POST"
    }

    pub fn name(&self) -> String {
        format!("{}-{}", self.seed, self.number)
    }

    pub fn host(&self) -> String {
        host(self.seed)
    }

    /// The body that is meant.
    pub fn body(&self) -> Vec<u8> {
        let text = "x".repeat(self.size);
        match self.kind {
            _ if self.flaw == Flaw::BadJson && self.has_body() => format!("{{\"model\":\"m\",{text}").into(),
            Kind::Chat { stream } => format!(
                r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#
            )
            .into(),
            Kind::Stored => format!(r#"{{"model":"m","input":"{text}"}}"#).into(),
            Kind::Upload => text.into(),
            Kind::Page | Kind::Models | Kind::Upgrade => Vec::new(),
        }
    }

    /// Whether an engine may take the body for complete once all was sent.
    pub fn is_complete(&self) -> bool {
        match self.flaw {
            Flaw::None | Flaw::Long | Flaw::TwoFramings | Flaw::BadJson => true,
            Flaw::Short => !self.has_body(),
            Flaw::BadChunk => !self.has_body() || !self.chunked,
            // Chunks override lengths.
            Flaw::TwoLengths => self.has_body() && self.chunked,
            Flaw::GarbageHead | Flaw::HugeHead => false,
        }
    }

    pub fn wire(&self) -> Wire {
        if self.flaw == Flaw::GarbageHead {
            return Wire { head: b"\x00\x16\x03 what is this\r\n\r\n".to_vec(), body: Vec::new() };
        }
        let body = self.body();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n{NAME}: {}\r\n",
            self.method(),
            self.path(),
            self.host(),
            self.name()
        );
        if self.kind == Kind::Upgrade {
            head += "connection: upgrade\r\nupgrade: websocket\r\n";
        }
        if self.has_body() {
            head += &format!("content-type: {}\r\n", self.content_type());
            let length = if self.flaw == Flaw::Short { body.len() + 10 } else { body.len() };
            match (self.chunked, self.flaw) {
                (_, Flaw::TwoFramings) => head += "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
                (true, _) => head += "transfer-encoding: chunked\r\n",
                (false, _) => head += &format!("content-length: {length}\r\n"),
            }
        }
        match self.flaw {
            Flaw::TwoLengths => head += "content-length: 1\r\ncontent-length: 2\r\n",
            Flaw::HugeHead => head += &format!("x-filler: {}\r\n", "y".repeat(300_000)),
            _ => {}
        }
        if self.expects_continue && self.has_body() {
            head += "expect: 100-continue\r\n";
        }
        head += "\r\n";
        let mut body = match self.has_body() {
            false => Vec::new(),
            true if self.chunked || self.flaw == Flaw::TwoFramings => self.chunks(&body),
            true => body,
        };
        if self.flaw == Flaw::Long {
            body.extend_from_slice(b"more than was announced");
        }
        Wire { head: head.into(), body }
    }

    fn chunks(&self, body: &[u8]) -> Vec<u8> {
        let mut wire = chunked(body, body.len() / 3 + 1);
        match self.flaw {
            Flaw::Short => wire.truncate(wire.len() - b"0\r\n\r\n".len()),
            Flaw::BadChunk => {
                wire.truncate(wire.len() - b"0\r\n\r\n".len());
                wire.extend_from_slice(b"zz\r\nabc\r\n0\r\n\r\n");
            }
            _ => {}
        }
        wire
    }
}

/// A body in chunks, with its end.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

pub fn host(seed: u64) -> String {
    format!("s{seed}.test")
}
