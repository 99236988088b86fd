//! Engines' responses, with their flaws.

use std::time::Duration;

use pointsman_core::Rng;

use crate::draw::{Cut, Pieces, Point, one_in, pick};
use crate::payload::Shape;
use crate::request::chunked;

/// The response header that names the answer.
pub const ANSWER: &str = "x-answer";

/// When the engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    OnHead,
    MidBody,
    AfterBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// The end of the connection ends the body.
    Close,
    /// A content-length beside chunks, which it contradicts.
    Both,
    TwoLengths,
    /// A content-length below the body's length.
    TooShort,
    /// A content-length above the body's length.
    TooLong,
    BadChunk,
    Garbage,
    EndlessHead,
    /// `101 Switching Protocols`, asked for or not.
    Switch,
}

/// What follows the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    KeepAlive,
    /// Bytes that nobody asked for.
    Junk,
    Cut(Cut),
}

/// One attempt at one request, as the engine plays it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub name: String,
    pub when: When,
    pub delay: Duration,
    /// Responses before the final one.
    pub interim: usize,
    pub status: u16,
    pub shape: Shape,
    pub size: usize,
    pub framing: Framing,
    pub pieces: Pieces,
    /// Where the response ends too early, and how.
    pub cut: Option<(Point, Cut)>,
    pub end: End,
}

/// The body with which a response may look complete to the client.
#[derive(Debug)]
pub enum Complete {
    Never,
    With(Vec<u8>),
    /// With any first part: where the connection's end ends the body, and nothing in it shows that it is cut.
    WithAnyPart,
    /// With anything behind it: the junk after the response is the rest of what it announced.
    WithAnyEnd,
}

impl Answer {
    /// An answer without a flaw.
    pub fn plain(name: String, rng: &mut Rng) -> Self {
        Self {
            name,
            when: When::AfterBody,
            delay: Duration::ZERO,
            interim: 0,
            status: 200,
            shape: pick(rng, &[(1, Shape::Json), (1, Shape::Events)]),
            size: pick(rng, &[(3, 0), (1, 5_000), (1, 100_000)]),
            framing: pick(rng, &[(1, Framing::Length), (1, Framing::Chunked)]),
            pieces: Pieces::WHOLE,
            cut: None,
            end: End::KeepAlive,
        }
    }

    pub fn draw(name: String, rng: &mut Rng) -> Self {
        let mut answer = Self::plain(name, rng);
        if one_in(rng, 4) {
            return answer;
        }
        answer.when = pick(rng, &[(8, When::AfterBody), (1, When::OnHead), (1, When::MidBody)]);
        answer.delay = Duration::from_millis(pick(rng, &[(8, 0), (2, 50), (1, 400), (1, 900)]));
        answer.interim = pick(rng, &[(8, 0), (1, 1), (1, 2)]);
        answer.status = pick(rng, &[(14, 200), (1, 400), (1, 429), (1, 500), (1, 502), (2, 503), (1, 404)]);
        answer.shape = pick(
            rng,
            &[
                (4, Shape::Json),
                (6, Shape::Events),
                (1, Shape::EventsWithoutEnd),
                (1, Shape::EventsWithError),
                (1, Shape::EventsAfterEnd),
                (1, Shape::EventsOfComments),
                (2, Shape::Opaque),
                (1, Shape::Nothing),
            ],
        );
        answer.size = pick(rng, &[(8, 0), (4, 5_000), (2, 200_000), (1, 6 << 20)]);
        answer.framing = pick(
            rng,
            &[
                (8, Framing::Length),
                (10, Framing::Chunked),
                (2, Framing::Close),
                (1, Framing::Both),
                (1, Framing::TwoLengths),
                (1, Framing::TooShort),
                (1, Framing::TooLong),
                (1, Framing::BadChunk),
                (1, Framing::Garbage),
                (1, Framing::EndlessHead),
                (1, Framing::Switch),
            ],
        );
        answer.pieces = Pieces::draw(rng);
        let cuts = [(2, Cut::Stall), (1, Cut::HalfClose), (2, Cut::Close), (2, Cut::Reset)];
        answer.cut = one_in(rng, 3).then(|| (Point::draw(rng), pick(rng, &cuts)));
        let ends = [(6, End::KeepAlive), (1, End::Junk)].into_iter();
        let ends: Vec<_> = ends.chain(cuts.map(|(weight, cut)| (weight, End::Cut(cut)))).collect();
        answer.end = pick(rng, &ends);
        answer
    }

    pub fn body(&self) -> Vec<u8> {
        self.shape.body(&self.name, self.size)
    }

    /// With what body this answer to a request, to an inference API or not, may look complete.
    pub fn complete(&self, to_api: bool, h2: bool) -> Complete {
        let mut body = self.body();
        let is_read = to_api && self.status < 300 && !matches!(self.shape, Shape::Opaque | Shape::Nothing);
        match self.framing {
            // Over HTTP/2 too the stated length ends the response.
            Framing::TooShort => {
                body.truncate(body.len() / 2);
                Complete::With(body)
            }
            _ if h2 => Complete::With(body),
            Framing::TooLong if self.end == End::Junk => Complete::WithAnyEnd,
            Framing::TwoLengths
            | Framing::TooLong
            | Framing::Garbage
            | Framing::EndlessHead
            | Framing::Switch => Complete::Never,
            Framing::BadChunk if body.is_empty() => Complete::Never,
            Framing::Close if self.cut.is_some() && !is_read => Complete::WithAnyPart,
            Framing::Close | Framing::BadChunk | Framing::Length | Framing::Chunked | Framing::Both => {
                Complete::With(body)
            }
        }
    }

    /// The bytes of the whole response over HTTP/1.1.
    pub fn wire(&self) -> Vec<u8> {
        let body = self.body();
        let mut head = String::new();
        for number in 0..self.interim {
            head += ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]
                [number % 2];
        }
        if self.framing == Framing::Garbage {
            return format!("{head}\x01\x02 what is this\r\n\r\n").into();
        }
        if self.framing == Framing::Switch {
            return format!("{head}HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n{ANSWER}: {}\r\n\r\n", self.name).into();
        }
        head += &format!(
            "HTTP/1.1 {} Status\r\n{ANSWER}: {}\r\ncontent-type: {}\r\n",
            self.status,
            self.name,
            self.shape.content_type()
        );
        let length = body.len();
        match self.framing {
            Framing::Length => head += &format!("content-length: {length}\r\n"),
            Framing::Chunked | Framing::BadChunk => head += "transfer-encoding: chunked\r\n",
            Framing::Close => head += "connection: close\r\n",
            Framing::Both => head += "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            Framing::TwoLengths => {
                head += &format!("content-length: {length}\r\ncontent-length: 1{length}\r\n");
            }
            Framing::TooShort => head += &format!("content-length: {}\r\n", length / 2),
            Framing::TooLong => head += &format!("content-length: {}\r\n", length + 9),
            Framing::EndlessHead => head += &format!("x-filler: {}\r\n", "y".repeat(1_000)).repeat(300),
            Framing::Garbage | Framing::Switch => {}
        }
        head += "\r\n";
        let body = match self.framing {
            Framing::Chunked | Framing::Both => chunked(&body, (length / 5).max(40)),
            Framing::BadChunk => {
                let mut wire = chunked(&body, (length / 5).max(40));
                wire.truncate(wire.len() - b"0\r\n\r\n".len());
                wire.extend_from_slice(b"zz\r\nabc\r\n0\r\n\r\n");
                wire
            }
            _ => body,
        };
        [head.as_bytes(), &body].concat()
    }
}
