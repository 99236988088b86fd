//! A request as an engine is to receive it, in one or several attempts.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pointsman_core::{FailureCause, RequestFacts};
use pointsman_protocol::{Api, BodyError, MultipartScanner, Route, SplicedBody, StreamFormat};

use crate::content::Content;
use crate::engine_response::EngineResponse;
use crate::headers::strip_control_headers;
use crate::parsed_request::ParsedRequest;

/// A request whose target model is resolved. Attempts borrow it and share its body without copying.
#[derive(Debug)]
pub struct EngineRequest {
    /// The facts that placement depends on.
    pub placement: RequestFacts,
    /// The API call that the path names, or that the body means where the path leaves it open.
    pub route: Route,
    body: Option<SplicedBody>,
    /// Whether the body differs from the client's.
    changes_body: bool,
    /// Whether the content-encoding was removed.
    decoded: bool,
    /// Whether the client's body goes on after what is held.
    streams: bool,
    /// Length of the whole body, if it is known.
    length: Option<u64>,
    rest: Option<RestScanner>,
    /// The path and query to send, where they differ from those of the route.
    path: Option<String>,
    model: Option<Arc<str>>,
    target: Option<Arc<str>>,
    /// Whether the call leaves no state in the engine, so that it may run twice.
    stateless: bool,
    /// Whether the engine stores the response.
    stores: bool,
}

/// What the model rules changed.
pub(crate) struct Sent {
    pub(crate) model: Option<String>,
    pub(crate) target: Option<Arc<str>>,
    pub(crate) spliced: Option<SplicedBody>,
    pub(crate) path: Option<String>,
}

/// Reads the rest of a form as it streams through: the pool's rules apply to the model that was found, so there must be no
/// second one.
#[derive(Debug)]
pub struct RestScanner(Box<MultipartScanner>);

impl RestScanner {
    /// Reads the next chunk.
    ///
    /// # Errors
    /// Engines may take another model from the form than the one found.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        self.0.push(chunk)
    }
}

impl EngineRequest {
    pub(crate) fn new(parsed: ParsedRequest, placement: RequestFacts, sent: Sent) -> Self {
        let ParsedRequest { mut route, is_safe, content, held, .. } = parsed;
        let Sent { model, target, spliced, path } = sent;
        let mut stateless = is_safe && matches!(content, Content::None);
        let (mut stores, mut rest) = (false, None);
        match content {
            Content::Json(facts) => {
                if let Route::Inference(api) = route {
                    let api = api.of_body(&facts);
                    route = Route::Inference(api);
                    stateless = api.stateless(&facts);
                    stores = api == Api::Responses && facts.store != Some(false);
                }
            }
            Content::Form { scanner, .. } => rest = scanner.map(RestScanner),
            Content::None | Content::Opaque | Content::Unreadable { .. } => {}
        }
        let changes_body = spliced.is_some() || held.decoded;
        let received = held.received;
        let whole = |bytes: Bytes| SplicedBody { parts: [bytes, Bytes::new(), Bytes::new()] };
        let is_read = !held.bytes.is_empty() || matches!(route, Route::Inference(_)) && !held.more;
        let body = spliced.or_else(|| is_read.then(|| whole(held.bytes)));
        let sent_bytes = body.as_ref().map_or(0, SplicedBody::content_length);
        let length = if held.more {
            held.announced.map(|announced| announced.saturating_sub(received) + sent_bytes)
        } else {
            body.is_some().then_some(sent_bytes)
        };
        Self {
            placement,
            route,
            body,
            changes_body,
            decoded: held.decoded,
            streams: held.more,
            length,
            rest,
            path,
            model: model.map(Arc::from),
            target,
            stateless,
            stores,
        }
    }

    /// The bytes of the body that are held, as slices; `None` if there are none.
    #[must_use]
    pub const fn body(&self) -> Option<&SplicedBody> {
        self.body.as_ref()
    }

    /// Whether [`EngineRequest::body`] differs from what the client sent.
    #[must_use]
    pub const fn changes_body(&self) -> bool {
        self.changes_body
    }

    /// Whether the client's content-encoding was removed.
    #[must_use]
    pub const fn decoded(&self) -> bool {
        self.decoded
    }

    /// Whether the client's body goes on after [`EngineRequest::body`] and streams through.
    #[must_use]
    pub const fn streams(&self) -> bool {
        self.streams
    }

    /// The scanner of what streams through, once; `None` if it may contain anything.
    pub const fn take_rest(&mut self) -> Option<RestScanner> {
        self.rest.take()
    }

    /// The path and query to send instead of those of the route: they name the target model.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The public model named by the client.
    #[must_use]
    pub const fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// The model that the engine is asked for, after rewrites and traffic splits.
    #[must_use]
    pub fn target(&self) -> Option<&Arc<str>> {
        self.target.as_ref().or(self.model.as_ref())
    }

    /// Turns the client's headers into the engine's: removes control headers and sets `content-length` to the body's.
    pub fn prepare_headers(&self, headers: &mut HeaderMap) {
        strip_control_headers(headers);
        if self.body.is_some() {
            headers.remove(header::EXPECT);
        }
        if let Some(length) = self.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if self.decoded {
            headers.remove(header::CONTENT_ENCODING);
        }
    }

    /// Whether an attempt that failed for this cause may be retried, provided that no response bytes went to the client.
    /// `untouched` says that none of the body that streams through has been sent. A request whose body can be sent again
    /// may be retried if the engine cannot have seen it whole; afterwards only a stateless one.
    #[must_use]
    pub const fn may_retry(&self, cause: FailureCause, untouched: bool) -> bool {
        if self.streams {
            let lost = matches!(cause, FailureCause::Lost | FailureCause::StaleConnection);
            return untouched && (cause.before_written() || lost);
        }
        cause.before_written()
            || self.stateless
                && match cause {
                    FailureCause::Lost
                    | FailureCause::StaleConnection
                    | FailureCause::Stalled
                    | FailureCause::Unavailable
                    | FailureCause::EngineError
                    | FailureCause::Declined => true,
                    FailureCause::Connect
                    | FailureCause::Tls
                    | FailureCause::Refused
                    | FailureCause::FirstByteTimeout
                    | FailureCause::Truncated
                    | FailureCause::Garbage => false,
                }
    }

    /// An observer of one attempt's response.
    #[must_use]
    pub fn response(&self) -> EngineResponse {
        let format = self.route.api().map_or(StreamFormat::Unknown, Api::stream_format);
        EngineResponse::new(self.route.api(), format, self.stores)
    }
}
