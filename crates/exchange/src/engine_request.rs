//! A request as an engine is to receive it, in one or several attempts.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pointsman_core::{FailureCause, RequestFacts};
use pointsman_protocol::{Api, BodyFacts, Route, SplicedBody, StreamFormat};

use crate::body::UnreadBody;
use crate::engine_response::EngineResponse;
use crate::headers::strip_control_headers;

/// A request whose target model is resolved. Attempts borrow it and share its body without copying.
#[derive(Debug)]
pub struct EngineRequest {
    /// The facts that placement depends on.
    pub placement: RequestFacts,
    /// The API call that the path names.
    pub route: Route,
    body: Option<SplicedBody>,
    /// Whether the body can be sent again.
    replayable: bool,
    model: Option<Arc<str>>,
    target: Option<Arc<str>>,
    /// Whether the call leaves no state in the engine, so that it may run twice.
    stateless: bool,
    /// Whether the engine stores the response.
    stores: bool,
}

impl EngineRequest {
    pub(crate) fn buffered(
        placement: RequestFacts,
        api: Api,
        facts: BodyFacts,
        body: Bytes,
        spliced: Option<SplicedBody>,
        target: Option<Arc<str>>,
    ) -> Self {
        Self {
            placement,
            route: Route::Inference(api),
            body: Some(spliced.unwrap_or_else(|| SplicedBody { parts: [body, Bytes::new(), Bytes::new()] })),
            replayable: true,
            stateless: api.stateless(&facts),
            stores: api == Api::Responses && facts.store != Some(false),
            model: facts.model.map(|span| Arc::from(span.name)),
            target,
        }
    }

    pub(crate) const fn unread(placement: RequestFacts, route: Route, body: UnreadBody) -> Self {
        Self {
            placement,
            route,
            body: None,
            replayable: matches!(body, UnreadBody::None),
            model: None,
            target: None,
            stateless: false,
            stores: false,
        }
    }

    /// The body to send, as slices; `None` if the client's body streams through or there is none.
    #[must_use]
    pub const fn body(&self) -> Option<&SplicedBody> {
        self.body.as_ref()
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

    /// Turns the client's headers into the engine's: removes control headers and sets `content-length` to the spliced
    /// body's.
    pub fn prepare_headers(&self, headers: &mut HeaderMap) {
        strip_control_headers(headers);
        if let Some(body) = &self.body {
            headers.remove(header::EXPECT);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.content_length()));
        }
    }

    /// Whether an attempt that failed for this cause may be retried, provided that no response bytes went to the client.
    /// A replayable request may be retried if the engine cannot have seen it; afterwards only a stateless one.
    #[must_use]
    pub const fn may_retry(&self, cause: FailureCause) -> bool {
        if !self.replayable {
            return false;
        }
        cause.before_written()
            || self.stateless
                && match cause {
                    FailureCause::Lost
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
