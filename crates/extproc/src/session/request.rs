//! The request's half of a session.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pointsman_core::Rejection;
use pointsman_exchange::{
    Head, Incoming, Outgoing, Refusal, Request, Resolving, control_header, read_header,
};

use crate::address::SubsetHint;
use crate::wire::{Event, HttpBody, HttpHeaders, ProcessingResponse};

use super::reply::{self, Decision, Side};
use super::{Asking, BodyMode, Guard, Next, OutOfOrder, Pool, RequestHalf, Serving, Session};

/// The most messages that are kept while the pool is asked.
const BACKLOG: usize = 256;
/// The most header fields of a request.
const MAX_HEADERS: usize = 1_000;

/// A request whose body is held.
#[derive(Debug)]
pub(super) struct Held {
    incoming: Incoming,
    removed: Vec<HeaderName>,
    hint: Option<SubsetHint>,
}

impl Held {
    pub(super) fn announced(&self) -> u64 {
        self.incoming.announced_length().unwrap_or(0)
    }
}

/// A request for which the pool was asked.
#[derive(Debug)]
pub(super) struct Asked {
    outgoing: Outgoing,
    removed: Vec<HeaderName>,
    due: Due,
    later: Vec<Event>,
}

impl Asked {
    /// Keeps a message until the pool has answered.
    pub(super) fn keep(&mut self, event: Event) -> Next {
        if self.later.len() >= BACKLOG {
            return Next::Broken(OutOfOrder::Backlog);
        }
        self.later.push(event);
        Next::Read
    }
}

/// What the decision answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The head, after which nothing comes.
    HeadAlone,
    /// The head, after which a body comes that is not read.
    HeadBeforeBody,
    /// The head, and the body that was held in full duplex, which ended by itself.
    HeadAndBody,
    /// The same, and the trailers that ended it.
    HeadAndBodyAndTrailers,
    /// The body that the gateway holds.
    Body,
}

/// A head taken apart.
struct Parts {
    method: Method,
    path: String,
    /// The fields that are read.
    headers: HeaderMap,
    /// The control headers among them all, which end here.
    removed: Vec<HeaderName>,
}

impl<P: Pool> Session<P> {
    pub(super) fn request_headers(
        &mut self,
        message: HttpHeaders,
        hint: Option<SubsetHint>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        if !matches!(self.request, RequestHalf::Expected) {
            return Next::Broken(OutOfOrder::RequestHeadersRepeated);
        }
        let has_body = !message.end_of_stream;
        let Some(parts) = parts(message) else { return self.refuse(&Refusal::HeadersTooLarge, out) };
        let incoming = match self.begin(&parts, has_body) {
            Ok(incoming) => incoming,
            Err(refusal) => return self.refuse(&refusal, out),
        };
        self.shape = incoming.error_shape();
        let held = Held { removed: parts.removed, incoming, hint };
        if !held.incoming.holds_body() || !has_body {
            let due = if has_body { Due::HeadBeforeBody } else { Due::HeadAlone };
            return self.ask(held, due, out);
        }
        self.request = RequestHalf::Holding(Box::new(held));
        match self.modes().request {
            BodyMode::FullDuplex => {}
            BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::Streamed | BodyMode::Absent => {
                out.push(reply::go_on_with_head(Side::Request)); // The body comes only after this.
            }
        }
        Next::Read
    }

    fn begin(&self, parts: &Parts, has_body: bool) -> Result<Incoming, Refusal> {
        let Parts { method, path, headers, .. } = parts;
        let trusted = self.options.trust_request_headers;
        let head = Head { method, path, headers, has_body, trusted };
        let incoming = Incoming::begin(&head, self.options.limits)?;
        let unread = has_body && !self.modes().request.can_hold();
        Ok(if unread { incoming.without_body() } else { incoming })
    }

    pub(super) fn request_body(&mut self, message: HttpBody, out: &mut Vec<ProcessingResponse>) -> Next {
        self.request_bytes = self.request_bytes.saturating_add(message.body.len() as u64);
        let mode = self.modes().request;
        match std::mem::replace(&mut self.request, RequestHalf::Ended) {
            RequestHalf::Expected => Next::Broken(OutOfOrder::BodyBeforeHeaders),
            RequestHalf::Holding(held) => self.hold(held, message, out),
            RequestHalf::Passing => {
                if !message.end_of_stream {
                    self.request = RequestHalf::Passing;
                }
                pass(mode, Side::Request, message, out);
                Next::Read
            }
            // Asked requests keep their messages, so this is one after the end.
            RequestHalf::Asked(_) | RequestHalf::Ended => {
                if mode != BodyMode::FullDuplex {
                    out.push(reply::go_on_with_body(Side::Request));
                }
                Next::Read
            }
        }
    }

    fn hold(&mut self, mut held: Box<Held>, message: HttpBody, out: &mut Vec<ProcessingResponse>) -> Next {
        if let Err(refusal) = held.incoming.body_chunk(message.body) {
            return self.refuse(&refusal, out);
        }
        match self.modes().request {
            // Such a body comes in one message, with the mark or, where trailers follow, without.
            BodyMode::Buffered => self.ask(*held, Due::Body, out),
            BodyMode::BufferedPartial if !message.end_of_stream => {
                let limit = self.request_bytes;
                self.refuse(&Refusal::BodyTooLarge { limit }, out)
            }
            BodyMode::BufferedPartial => self.ask(*held, Due::Body, out),
            BodyMode::FullDuplex | BodyMode::Streamed | BodyMode::Absent if message.end_of_stream => {
                self.ask(*held, Due::HeadAndBody, out)
            }
            BodyMode::FullDuplex | BodyMode::Streamed | BodyMode::Absent => {
                self.request = RequestHalf::Holding(held);
                Next::Read
            }
        }
    }

    pub(super) fn request_trailers(&mut self, out: &mut Vec<ProcessingResponse>) -> Next {
        match std::mem::replace(&mut self.request, RequestHalf::Ended) {
            RequestHalf::Holding(held) => self.ask(*held, Due::HeadAndBodyAndTrailers, out),
            RequestHalf::Expected => Next::Broken(OutOfOrder::BodyBeforeHeaders),
            RequestHalf::Passing | RequestHalf::Ended | RequestHalf::Asked(_) => {
                out.push(reply::go_on_with_trailers(Side::Request));
                Next::Read
            }
        }
    }

    /// The request is known as far as it will be: asks the pool.
    fn ask(&mut self, held: Held, due: Due, out: &mut Vec<ProcessingResponse>) -> Next {
        let Held { incoming, removed, hint } = held;
        let resolved = incoming.finish().and_then(|request| self.resolve(request));
        let outgoing = match resolved {
            Ok(outgoing) => outgoing,
            Err(refusal) => return self.refuse(&refusal, out),
        };
        let mut facts = outgoing.placement().clone();
        facts.observes_tokens &= self.modes().response.shows_pace();
        if let Some(hint) = hint {
            let listed = self.pool.within(&hint);
            let subset = match &facts.subset {
                None => listed,
                Some(holders) => holders.iter().filter(|id| listed.contains(id)).copied().collect(),
            };
            if subset.is_empty() {
                return self.refuse(&Refusal::Pool(Rejection::EmptySubset), out);
            }
            facts.subset = Some(subset);
        }
        let asking = Asking { facts, model: outgoing.model().cloned(), target: outgoing.target().cloned() };
        self.request = RequestHalf::Asked(Box::new(Asked { outgoing, removed, due, later: Vec::new() }));
        Next::Ask(asking)
    }

    fn resolve(&self, request: Request) -> Result<Outgoing, Refusal> {
        let holder = request.stored_response().and_then(|id| self.pool.holder(id));
        request.resolve(&Resolving {
            rules: self.pool.rules(),
            pool: self.pool.pool_id(),
            draw: self.draw,
            names_path_exactly: self.options.administration,
            holder,
        })
    }

    /// The pool chose: answers the gateway, then takes the messages that came meanwhile.
    pub(super) fn dispatched(&mut self, guard: P::Guard, out: &mut Vec<ProcessingResponse>) -> Next {
        if !matches!(self.request, RequestHalf::Asked(_)) {
            return Next::Read; // Withdrawn meanwhile: the guard goes, and with it the load.
        }
        let RequestHalf::Asked(asked) = std::mem::replace(&mut self.request, RequestHalf::Ended) else {
            return Next::Read;
        };
        let Asked { outgoing, removed, due, later } = *asked;
        let mut destinations = guard.destinations();
        destinations.truncate(if self.options.single_destination { 1 } else { destinations.len() });
        let decision = Decision { destinations: destinations.join(","), removed, content_length: None };
        if due == Due::HeadBeforeBody {
            self.request = RequestHalf::Passing;
        }
        answer(decision, &outgoing, due, out);
        self.serving = Some(Serving { guard, answer: outgoing.answer() });
        for event in later {
            let next = match event {
                Event::RequestBody(body) => self.request_body(body, out),
                Event::RequestTrailers(_) => self.request_trailers(out),
                Event::RequestHeaders(_)
                | Event::ResponseHeaders(_)
                | Event::ResponseBody(_)
                | Event::ResponseTrailers(_) => Next::Read,
            };
            if !matches!(next, Next::Read) {
                return next;
            }
        }
        Next::Read
    }
}

/// The decision, where it is due, and the body behind it.
fn answer(mut decision: Decision, outgoing: &Outgoing, due: Due, out: &mut Vec<ProcessingResponse>) {
    let body = outgoing.body();
    match due {
        Due::HeadAlone | Due::HeadBeforeBody => out.push(decision.on_head()),
        Due::HeadAndBody | Due::HeadAndBodyAndTrailers => {
            out.push(decision.on_head());
            let parts = body.map(|body| body.parts.clone()).unwrap_or_default();
            pieces_of(parts, due == Due::HeadAndBody, out);
            if due == Due::HeadAndBodyAndTrailers {
                out.push(reply::go_on_with_trailers(Side::Request));
            }
        }
        Due::Body => {
            let changed = body.filter(|body| !body.parts[1].is_empty());
            decision.content_length = changed.map(|body| body.content_length());
            out.push(decision.on_body(changed.map(reply::joined)));
        }
    }
}

fn pieces_of(parts: [Bytes; 3], last: bool, out: &mut Vec<ProcessingResponse>) {
    reply::pieces(parts, Side::Request, last, out);
}

/// Lets a piece of a body that is not held through, in the way that its mode asks for.
pub(super) fn pass(mode: BodyMode, side: Side, message: HttpBody, out: &mut Vec<ProcessingResponse>) {
    match mode {
        BodyMode::FullDuplex => reply::pieces([message.body], side, message.end_of_stream, out),
        BodyMode::Absent | BodyMode::Streamed | BodyMode::Buffered | BodyMode::BufferedPartial => {
            out.push(reply::go_on_with_body(side));
        }
    }
}

/// `None` where there are too many fields.
fn parts(message: HttpHeaders) -> Option<Parts> {
    let fields = message.headers.map(|map| map.headers).unwrap_or_default();
    if fields.len() > MAX_HEADERS {
        return None;
    }
    let mut parts =
        Parts { method: Method::GET, path: String::new(), headers: HeaderMap::new(), removed: Vec::new() };
    for field in fields {
        match field.key.as_str() {
            ":method" => parts.method = Method::from_bytes(field.bytes()).unwrap_or(Method::GET),
            ":path" => parts.path = String::from_utf8_lossy(field.bytes()).into_owned(),
            pseudo if pseudo.starts_with(':') => {}
            name => {
                let control = control_header(name).filter(|control| !parts.removed.contains(control));
                parts.removed.extend(control);
                let value = || HeaderValue::from_maybe_shared(field.bytes().clone()).ok();
                if let Some((name, value)) = read_header(name).and_then(|name| Some((name, value()?))) {
                    parts.headers.append(name, value);
                }
            }
        }
    }
    Some(parts)
}
