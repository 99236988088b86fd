//! A conversation, drawn from its seed.

use std::time::Duration;

use pointsman_core::Rng;

use crate::answer::Answer;
use crate::draw::{Cut, Pieces, Point, one_in, pick};
use crate::payload::Shape;
use crate::request::{Flaw, Kind, Request};

/// What a client does with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    All,
    /// A few bytes at a time, and not to the end.
    Slow,
    /// Nothing, for as long as the gateway keeps something for it.
    Nothing,
    /// Leaves after so many bytes.
    Leave {
        after: usize,
        reset: bool,
    },
}

#[derive(Clone, Debug)]
pub struct H1Client {
    pub requests: Vec<Request>,
    /// Writes all requests before it reads.
    pub pipelined: bool,
    pub pieces: Pieces,
    /// Where writing ends too early, of all requests, and how.
    pub cut: Option<(Point, Cut)>,
    pub reading: Reading,
    /// Keeps the connection after its requests, until the gateway closes it.
    pub stays: bool,
}

/// A request on a stream of its own.
#[derive(Clone, Debug)]
pub struct H2Stream {
    pub request: Request,
    pub after: Duration,
    pub pieces: Pieces,
    /// Where the body ends too early: by a reset, or never.
    pub cut: Option<(Point, Cut)>,
    pub trailers: bool,
    pub reading: Reading,
}

#[derive(Clone, Debug)]
pub struct H2Client {
    pub streams: Vec<H2Stream>,
    pub window: u32,
    pub stays: bool,
}

#[derive(Clone, Debug)]
pub enum Client {
    H1(H1Client),
    H2(H2Client),
    /// Bytes that are no request, and then silence.
    Silent(&'static [u8]),
}

/// How an engine answers probes while the conversation lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    Bad,
    Silent,
}

#[derive(Clone, Debug)]
pub struct Conversation {
    pub seed: u64,
    /// Whether neither side does anything wrong, so that each request must be answered in full.
    pub plain: bool,
    pub client: Client,
    pub health: Health,
    /// Whether the engines speak HTTP/2.
    pub h2c: bool,
    pub engines: usize,
    /// Whether one more endpoint refuses connections.
    pub dead_endpoint: bool,
    /// The route's timeout.
    pub timeout: Option<Duration>,
}

impl Conversation {
    pub fn draw(seed: u64) -> Self {
        let rng = &mut Rng::stream(seed, 0);
        let plain = one_in(rng, 6);
        let client = match rng.below(10) {
            0..6 => Client::H1(H1Client::draw(rng, seed, plain)),
            6..9 => Client::H2(H2Client::draw(rng, seed, plain)),
            _ if plain => Client::H1(H1Client::draw(rng, seed, plain)),
            _ => Client::Silent(pick(
                rng,
                &[
                    (1, &b""[..]),
                    (1, b"PRI * HT"),
                    (1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                    (1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"),
                    (1, b"POST /v1/chat/comp"),
                    (1, b"\r\n\r\n"),
                ],
            )),
        };
        let healths = [(3, Health::Good), (1, Health::Bad), (1, Health::Silent)];
        Self {
            seed,
            plain,
            client,
            health: if plain { Health::Good } else { pick(rng, &healths) },
            h2c: one_in(rng, 5),
            engines: pick(rng, &[(1, 1), (2, 2)]),
            dead_endpoint: !plain && one_in(rng, 10),
            timeout: (!plain && one_in(rng, 4)).then(|| Duration::from_secs(1)),
        }
    }

    /// What an engine answers to an attempt at a request.
    pub fn answer(&self, number: usize, attempt: usize) -> Answer {
        let name = format!("{}-{number}-{attempt}", self.seed);
        let rng = &mut Rng::stream(self.seed, 1 + number as u64 * 100 + attempt as u64);
        if !self.plain {
            return Answer::draw(name, rng);
        }
        let mut answer = Answer::plain(name, rng);
        if self.requests()[number].kind == Kind::Stored {
            // Its streams have other events.
            answer.shape = Shape::Json;
        }
        answer
    }

    pub fn requests(&self) -> Vec<&Request> {
        match &self.client {
            Client::H1(client) => client.requests.iter().collect(),
            Client::H2(client) => client.streams.iter().map(|stream| &stream.request).collect(),
            Client::Silent(_) => Vec::new(),
        }
    }
}

fn reading(rng: &mut Rng) -> Reading {
    let after = pick(rng, &[(1, 0), (1, 1), (1, 150), (1, 2_000), (1, 100_000)]);
    let reset = one_in(rng, 2);
    pick(
        rng,
        &[
            (10, Reading::All),
            (1, Reading::Slow),
            (3, Reading::Nothing),
            (3, Reading::Leave { after, reset }),
        ],
    )
}

const CUTS: [(usize, Cut); 4] = [(2, Cut::Stall), (1, Cut::HalfClose), (1, Cut::Close), (1, Cut::Reset)];

impl H1Client {
    fn draw(rng: &mut Rng, seed: u64, plain: bool) -> Self {
        let count = pick(rng, &[(4, 1), (2, 2), (1, 4)]);
        let cut = one_in(rng, 4).then(|| (Point::draw(rng), pick(rng, &CUTS)));
        let mut requests: Vec<Request> =
            (0..count).map(|number| Request::draw(rng, seed, number, plain)).collect();
        let pipelined = one_in(rng, 4);
        if pipelined {
            // The next request would fill a stated length.
            requests.iter_mut().for_each(|request| request.chunked |= request.flaw == Flaw::Short);
        }
        Self {
            requests,
            pipelined,
            pieces: if plain { Pieces::WHOLE } else { Pieces::draw(rng) },
            cut: cut.filter(|_| !plain),
            reading: if plain { Reading::All } else { reading(rng) },
            stays: one_in(rng, 4),
        }
    }
}

impl H2Client {
    fn draw(rng: &mut Rng, seed: u64, plain: bool) -> Self {
        let count = pick(rng, &[(2, 1), (2, 3), (1, 8)]);
        let windows = [(4, 65_535), (1, 1 << 20), (1, 200), (1, 1), (1, 0)];
        let stream = |rng: &mut Rng, number| {
            let cut = one_in(rng, 4).then(|| (Point::draw(rng), pick(rng, &CUTS)));
            H2Stream {
                request: Request::draw(rng, seed, number, plain).over_h2(),
                after: Duration::from_millis(pick(rng, &[(3, 0), (1, 20), (1, 300)])),
                pieces: if plain { Pieces::WHOLE } else { Pieces::draw(rng) },
                cut: cut.filter(|_| !plain),
                trailers: one_in(rng, 5),
                reading: if plain { Reading::All } else { reading(rng) },
            }
        };
        Self {
            streams: (0..count).map(|number| stream(rng, number)).collect(),
            window: if plain { 65_535 } else { pick(rng, &windows) },
            stays: one_in(rng, 4),
        }
    }
}
