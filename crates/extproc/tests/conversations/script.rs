//! A conversation, drawn from its seed: a connection with some streams.

use std::time::Duration;

use bytes::Bytes;
use pointsman_core::Rng;
use pointsman_extproc::wire::{
    Event, HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest,
    ProtocolConfiguration,
};

use crate::draw::{Cut, Pieces, one_in, pick};

/// What the request's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Completions,
    /// With a content-length that has nothing to do with the body.
    Announcing(u64),
    Page,
    Upload,
    Endless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    FirstHalf,
    SecondHalf,
    NoJson,
    Empty,
    Long,
}

/// A step of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    Head {
        head: Head,
        end: bool,
        modes: Option<(i32, i32)>,
    },
    Body {
        part: Part,
        end: bool,
    },
    Trailers,
    AnswerHead {
        status: u16,
        events: bool,
        end: bool,
    },
    AnswerBody {
        done: bool,
        end: bool,
    },
    AnswerTrailers,
    /// A message without an event.
    Nothing,
    /// Bytes that are no message.
    NoMessage,
    /// The beginning of a message of four gigabytes.
    Endless,
    /// A message that claims to be compressed.
    Compressed,
    Pause(Duration),
}

#[derive(Clone, Debug)]
pub struct CallScript {
    pub after: Duration,
    pub steps: Vec<Say>,
    pub pieces: Pieces,
    pub reads: bool,
    /// How the gateway ends the stream: `Stall` leaves that to the picker, for a while.
    pub end: Cut,
}

#[derive(Clone, Debug)]
pub struct Conversation {
    pub seed: u64,
    pub calls: Vec<CallScript>,
    pub window: u32,
    /// Closes the connection this long after its start, whatever its streams do.
    pub closes: Option<Duration>,
}

const MODES: [(usize, Option<(i32, i32)>); 7] = [
    (6, None),
    (4, Some((4, 4))),
    (4, Some((2, 2))),
    (2, Some((2, 1))),
    (2, Some((4, 0))),
    (1, Some((1, 1))),
    (1, Some((3, 9))),
];

impl Conversation {
    pub fn draw(seed: u64) -> Self {
        let rng = &mut Rng::stream(seed, 0);
        let count = pick(rng, &[(3, 1), (2, 3), (1, 10)]);
        Self {
            seed,
            calls: (0..count).map(|_| CallScript::draw(rng)).collect(),
            window: pick(rng, &[(6, 65_535), (1, 1 << 20), (1, 100), (1, 5), (1, 0)]),
            closes: one_in(rng, 6).then(|| Duration::from_millis(rng.below(800) as u64)),
        }
    }
}

impl CallScript {
    fn draw(rng: &mut Rng) -> Self {
        let mut steps = natural(rng);
        for _ in 0..pick(rng, &[(3, 0), (2, 1), (1, 3), (1, 8)]) {
            let at = rng.below(steps.len());
            match rng.below(5) {
                0 => {
                    steps.remove(at);
                }
                1 => steps.insert(at, steps[at]),
                2 => steps.swap(at, 0),
                3 => steps.truncate(at + 1),
                _ => steps.insert(at, any(rng)),
            }
            if steps.is_empty() {
                break;
            }
        }
        if one_in(rng, 3) {
            steps.truncate(rng.below(steps.len() + 1));
        }
        let ends = [(4, Cut::HalfClose), (2, Cut::Reset), (1, Cut::Close), (2, Cut::Stall)];
        Self {
            after: Duration::from_millis(pick(rng, &[(3, 0), (1, 30), (1, 300)])),
            steps,
            pieces: Pieces {
                pause: Duration::from_millis(pick(rng, &[(4, 0), (1, 1), (1, 5)])),
                ..Pieces::draw(rng)
            },
            reads: !one_in(rng, 6),
            end: pick(rng, &ends),
        }
    }

    /// Whether the picker waits for the rest of a body when the steps are over.
    pub fn awaits_body(&self) -> bool {
        let Some((Say::Head { head: Head::Completions, end: false, modes }, rest)) = self.steps.split_first()
        else {
            return false;
        };
        let streams = matches!(modes, None | Some((4, 4) | (4, 0)));
        rest.iter().all(|step| match step {
            Say::Pause(_) => true,
            Say::Body { part, end: false } => streams && *part != Part::NoJson,
            _ => false,
        }) && (streams || matches!(modes, Some((2, _))))
    }
}

fn natural(rng: &mut Rng) -> Vec<Say> {
    let heads = [
        (8, Head::Completions),
        (1, Head::Announcing(10)),
        (1, Head::Announcing(u64::MAX)),
        (2, Head::Page),
        (2, Head::Upload),
        (1, Head::Endless),
    ];
    let (head, modes) = (pick(rng, &heads), pick(rng, &MODES));
    let end = head == Head::Page;
    let mut steps = vec![Say::Head { head, end, modes }];
    let bodies = [
        (4, &[(Part::Whole, true)][..]),
        (2, &[(Part::FirstHalf, false), (Part::SecondHalf, true)]),
        (1, &[(Part::FirstHalf, false), (Part::SecondHalf, false), (Part::Empty, true)]),
        (1, &[(Part::Long, true)]),
        (1, &[(Part::NoJson, true)]),
    ];
    if !end {
        steps.extend(pick(rng, &bodies).iter().map(|(part, end)| Say::Body { part: *part, end: *end }));
    }
    if one_in(rng, 4) {
        steps.push(Say::Trailers);
    }
    steps.push(Say::Pause(Duration::from_millis(pick(rng, &[(2, 0), (1, 50), (1, 500)]))));
    let status = pick(rng, &[(6, 200), (1, 404), (1, 503), (1, 500)]);
    let events = one_in(rng, 2);
    steps.push(Say::AnswerHead { status, events, end: false });
    for _ in 0..rng.below(4) {
        steps.push(Say::AnswerBody { done: false, end: false });
    }
    steps.push(Say::AnswerBody { done: true, end: true });
    steps
}

fn any(rng: &mut Rng) -> Say {
    let end = one_in(rng, 2);
    pick(
        rng,
        &[
            (2, Say::Head { head: Head::Completions, end, modes: None }),
            (2, Say::Body { part: Part::Whole, end }),
            (1, Say::Body { part: Part::FirstHalf, end }),
            (1, Say::Body { part: Part::Long, end }),
            (2, Say::Trailers),
            (2, Say::AnswerHead { status: 200, events: true, end }),
            (2, Say::AnswerBody { done: false, end }),
            (1, Say::AnswerTrailers),
            (1, Say::Nothing),
            (1, Say::NoMessage),
            (1, Say::Endless),
            (1, Say::Compressed),
            (2, Say::Pause(Duration::from_millis(200))),
        ],
    )
}

const ASK: &str = r#"{"model":"m","stream":true,"prompt":"hello, how are you?"}"#;

impl Say {
    /// The bytes of the message, with gRPC's prefix.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Pause(_) => Vec::new(),
            Self::NoMessage => vec![0, 0, 0, 0, 3, 0xff, 0xff, 0xff],
            Self::Endless => vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3],
            Self::Compressed => vec![1, 0, 0, 0, 2, 8, 1],
            _ => framed(&self.message()),
        }
    }

    fn message(self) -> ProcessingRequest {
        let (event, modes) = match self {
            Self::Head { head, end, modes } => (Some(Event::RequestHeaders(head.fields(end))), modes),
            Self::Body { part, end } => (Some(Event::RequestBody(body(part.bytes(), end))), None),
            Self::Trailers => (Some(Event::RequestTrailers(HttpTrailers::default())), None),
            Self::AnswerHead { status, events, end } => {
                let kind = if events { "text/event-stream" } else { "application/json" };
                let headers = fields(&[(":status", &status.to_string()), ("content-type", kind)]);
                (Some(Event::ResponseHeaders(HttpHeaders { headers, end_of_stream: end })), None)
            }
            Self::AnswerBody { done, end } => {
                let stop =
                    "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
                let token = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
                let text = if done { stop } else { token };
                (Some(Event::ResponseBody(body(text.into(), end))), None)
            }
            Self::AnswerTrailers => (Some(Event::ResponseTrailers(HttpTrailers::default())), None),
            _ => (None, None),
        };
        let protocol_config = modes.map(|(request_body_mode, response_body_mode)| ProtocolConfiguration {
            request_body_mode,
            response_body_mode,
            send_body_without_waiting_for_header_response: false,
        });
        ProcessingRequest { request: event, protocol_config, ..ProcessingRequest::default() }
    }
}

impl Head {
    fn fields(self, end_of_stream: bool) -> HttpHeaders {
        let (method, path) = match self {
            Self::Page => ("GET", "/page"),
            Self::Upload => ("POST", "/upload"),
            _ => ("POST", "/v1/completions"),
        };
        let kind = if self == Self::Upload { "application/octet-stream" } else { "application/json" };
        let all = [(":method", method), (":path", path), (":authority", "a"), ("content-type", kind)];
        let mut headers = fields(&all).unwrap();
        match self {
            Self::Announcing(length) => {
                headers.headers.extend(fields(&[("content-length", &length.to_string())]).unwrap().headers);
            }
            Self::Endless => {
                let filler = fields(&[("x-filler", "y")]).unwrap().headers;
                headers.headers.extend(filler.into_iter().cycle().take(1_500));
            }
            _ => {}
        }
        HttpHeaders { headers: Some(headers), end_of_stream }
    }
}

impl Part {
    fn bytes(self) -> String {
        match self {
            Self::Whole => ASK.into(),
            Self::FirstHalf => ASK[..20].into(),
            Self::SecondHalf => ASK[20..].into(),
            Self::NoJson => "{]".into(),
            Self::Empty => String::new(),
            Self::Long => format!(r#"{{"model":"m","prompt":"{}"}}"#, "p".repeat(150_000)),
        }
    }
}

fn body(text: String, end_of_stream: bool) -> HttpBody {
    HttpBody { body: Bytes::from(text), end_of_stream }
}

fn fields(fields: &[(&str, &str)]) -> Option<HeaderMap> {
    let field = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        value: Bytes::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Some(HeaderMap { headers: fields.iter().map(field).collect() })
}

fn framed(message: &impl prost::Message) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut bytes).unwrap();
    bytes
}
