//! Reads a request: its head first, then as much of the body as names its model.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use pointsman_protocol::{Api, BodyError, BodyFacts, ErrorShape, Route, UrlModel, scan_urlencoded};

use crate::body::BodyBuffer;
use crate::body_format::{BodyFormat, Looks, looks};
use crate::content::{Content, HeldBody};
use crate::content_coding::ContentCoding;
use crate::headers;
use crate::parsed_request::ParsedRequest;
use crate::refusal::Refusal;

/// The head of a request as its door received it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path with its query.
    pub path: &'a str,
    /// The client's headers. Only those that [`read_header`](crate::read_header) knows are read.
    pub headers: &'a HeaderMap,
    /// Whether a body follows, however long.
    pub has_body: bool,
    /// Whether the peer's control headers are trusted.
    pub trusted: bool,
}

/// Limits on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a body in bytes, buffered or not, compressed or not.
    pub max_body_bytes: u64,
}

/// A request whose head has been read. While [`RequestReader::needs_body`] says so, the door feeds it the body; then it
/// calls [`RequestReader::finish`], and what is left of the body streams through.
#[derive(Debug)]
pub struct RequestReader {
    route: Route,
    url_model: Option<UrlModel>,
    objective: Option<String>,
    length: Option<u64>,
    limits: Limits,
    format: BodyFormat,
    coding: ContentCoding,
    body: BodyBuffer,
    /// Whether the whole body has been received.
    ended: bool,
    /// Whether the method changes nothing.
    is_safe: bool,
}

impl RequestReader {
    /// Classifies a request by its head.
    ///
    /// # Errors
    /// The content-length is over the limit, there are several hosts, or the method is `CONNECT`.
    pub fn begin(head: &RequestHead<'_>, limits: Limits) -> Result<Self, Refusal> {
        let RequestHead { method, path, headers, has_body, trusted } = *head;
        if *method == Method::CONNECT {
            return Err(Refusal::Method);
        }
        if headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(Refusal::SeveralHosts);
        }
        let length = content_length(headers);
        if length.is_some_and(|length| length > limits.max_body_bytes) {
            return Err(Refusal::BodyTooLarge { limit: limits.max_body_bytes });
        }
        let route = Api::of(method.as_str(), path);
        let format = BodyFormat::of(method, &route, headers, has_body);
        let is_request = !matches!(format, BodyFormat::None);
        Ok(Self {
            url_model: UrlModel::of(path).filter(|_| is_request),
            objective: trusted.then(|| headers::objective(headers)).flatten().map(str::to_owned),
            length,
            limits,
            format,
            coding: ContentCoding::of(headers),
            body: BodyBuffer::Empty,
            ended: !has_body,
            is_safe: [Method::GET, Method::HEAD, Method::OPTIONS].contains(method),
            route,
        })
    }

    /// The same request for a door that does not receive its body: the model stays unknown and placement depends on
    /// load alone.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { format: BodyFormat::Opaque, ..self }
    }

    /// Whether more of the body must be read before an endpoint is chosen.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        !self.ended
            && match &self.format {
                BodyFormat::Json { .. } | BodyFormat::UrlEncoded | BodyFormat::Sniffed => true,
                BodyFormat::Multipart(scanner) => {
                    self.coding != ContentCoding::Identity || !scanner.is_named()
                }
                BodyFormat::None | BodyFormat::Opaque | BodyFormat::Unreadable(_) => false,
            }
    }

    /// The client's content-length in bytes.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// The error format of this request's API.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// Appends a chunk of the body.
    ///
    /// # Errors
    /// The body exceeds the limit.
    pub fn body_chunk(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let total = self.body.bytes().len() as u64 + chunk.len() as u64;
        if total > self.limits.max_body_bytes {
            return Err(Refusal::BodyTooLarge { limit: self.limits.max_body_bytes });
        }
        if let BodyFormat::Multipart(scanner) = &mut self.format
            && self.coding == ContentCoding::Identity
            && let Err(error) = scanner.push(&chunk)
        {
            self.format = BodyFormat::Unreadable(Refusal::Body(error));
        }
        let expected = self.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        self.body.push(chunk, expected);
        if matches!(self.format, BodyFormat::Sniffed) {
            match looks(self.body.bytes()) {
                Looks::Undecided => {}
                Looks::LikeJson => self.format = BodyFormat::Json { declared: false },
                Looks::Otherwise => self.format = BodyFormat::Opaque,
            }
        }
        Ok(())
    }

    /// The body has ended.
    pub const fn body_ended(&mut self) {
        self.ended = true;
    }

    /// Gives up reading for `reason`, which counts only where the model is needed.
    pub fn give_up(&mut self, reason: Refusal) {
        self.format = BodyFormat::Unreadable(reason);
    }

    /// Whether what was read may pass although the rest of it is not read.
    #[must_use]
    pub const fn may_give_up(&self) -> bool {
        matches!((&self.format, self.coding), (BodyFormat::Multipart(_), ContentCoding::Identity))
    }

    /// Ends the reading and extracts the facts that routing depends on. `hold` is asked before the memory for a decoded
    /// body is taken, with the number of bytes so far.
    ///
    /// # Errors
    /// The decoded body exceeds the limit, or an error of `hold`.
    pub fn finish(self, mut hold: impl FnMut(u64) -> Result<(), Refusal>) -> Result<ParsedRequest, Refusal> {
        let received = self.body.bytes().len() as u64;
        let decodes = self.coding != ContentCoding::Identity
            && match self.format {
                BodyFormat::Json { .. } | BodyFormat::UrlEncoded | BodyFormat::Multipart(_) => true,
                BodyFormat::None | BodyFormat::Opaque | BodyFormat::Sniffed | BodyFormat::Unreadable(_) => {
                    false
                }
            };
        let mut held = HeldBody {
            bytes: self.body.into_bytes(),
            received,
            more: !self.ended,
            announced: self.length,
            decoded: false,
        };
        let mut format = self.format;
        if decodes {
            let mut hold = |bytes| hold(received + bytes);
            match self.coding.decode(held.bytes.clone(), self.limits.max_body_bytes, &mut hold) {
                Ok(bytes) => (held.bytes, held.decoded) = (bytes, true),
                Err(Refusal::ContentEncoding) => format = BodyFormat::Unreadable(Refusal::ContentEncoding),
                Err(refusal) => return Err(refusal),
            }
        }
        let content = content(format, &held, self.route.api());
        let Self { route, url_model, objective, is_safe, .. } = self;
        Ok(ParsedRequest { route, url_model, objective, is_safe, content, held })
    }
}

/// Reads the bytes that are held.
fn content(format: BodyFormat, held: &HeldBody, api: Option<Api>) -> Content {
    let scan =
        || api.map_or_else(|| BodyFacts::scan(&held.bytes), |api| BodyFacts::scan_as(api, &held.bytes));
    let unreadable =
        |error: BodyError, declared| Content::Unreadable { reason: Refusal::Body(error), declared };
    match format {
        BodyFormat::None => Content::None,
        BodyFormat::Opaque | BodyFormat::Sniffed => Content::Opaque,
        BodyFormat::Unreadable(reason) => {
            let declared = reason == Refusal::ContentEncoding;
            Content::Unreadable { reason, declared }
        }
        BodyFormat::Json { .. } if held.bytes.is_empty() && api.is_none() => Content::None,
        BodyFormat::Json { declared } => match scan() {
            Ok(facts) => Content::Json(Box::new(facts)),
            Err(error) => unreadable(error, declared),
        },
        BodyFormat::UrlEncoded if matches!(looks(&held.bytes), Looks::LikeJson) => match scan() {
            Ok(facts) => Content::Json(Box::new(facts)),
            Err(error) => unreadable(error, false),
        },
        BodyFormat::UrlEncoded => match scan_urlencoded(&held.bytes) {
            Ok(model) => Content::Form { model, scanner: None },
            Err(error) => unreadable(error, false),
        },
        BodyFormat::Multipart(mut scanner) => {
            let read = if held.decoded { scanner.push(&held.bytes) } else { Ok(()) };
            let read = read.and_then(|()| if held.more { Ok(()) } else { scanner.finish() });
            match read {
                Ok(()) => {
                    Content::Form { model: scanner.model().cloned(), scanner: held.more.then_some(scanner) }
                }
                Err(error) => unreadable(error, false),
            }
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
