//! A request that is ready to be sent to an engine, as often as it takes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pointsman_core::{FailureCause, RequestFacts};
use pointsman_protocol::{Api, BodyFacts, ErrorShape, Grammar, Route, SplicedBody};

use crate::answer::Answer;
use crate::headers::strip_control_headers;
use crate::request::Unread;

/// A request whose target model is settled. Attempts borrow it; its body is shared, not copied, between them.
#[derive(Debug)]
pub struct Outgoing {
    placement: RequestFacts,
    route: Route,
    body: Option<SplicedBody>,
    replayable: bool,
    model: Option<Arc<str>>,
    target: Option<Arc<str>>,
    stateless: bool,
    stores: bool,
}

impl Outgoing {
    pub(crate) fn held(
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

    pub(crate) const fn unread(placement: RequestFacts, route: Route, body: Unread) -> Self {
        Self {
            placement,
            route,
            body: None,
            replayable: matches!(body, Unread::Nothing),
            model: None,
            target: None,
            stateless: false,
            stores: false,
        }
    }

    /// What the pool is asked with.
    #[must_use]
    pub const fn placement(&self) -> &RequestFacts {
        &self.placement
    }

    /// The body to send, in pieces; `None` where the client's streams through.
    #[must_use]
    pub const fn body(&self) -> Option<&SplicedBody> {
        self.body.as_ref()
    }

    /// The public model, as the client named it.
    #[must_use]
    pub const fn model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// The model that the engine is asked for.
    #[must_use]
    pub fn target(&self) -> Option<&Arc<str>> {
        self.target.as_ref().or(self.model.as_ref())
    }

    /// What the path asks for.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// The shape that errors of this request's API have.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// Makes the client's headers fit for the engine: control headers go, and `content-length` follows the splice.
    pub fn prepare_headers(&self, headers: &mut HeaderMap) {
        strip_control_headers(headers);
        if let Some(body) = &self.body {
            headers.remove(header::EXPECT);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.content_length()));
        }
    }

    /// Whether an attempt that failed for this cause may be repeated elsewhere, as long as nothing went to the client:
    /// anything held may be where the engine cannot have seen it, and after that only what leaves nothing behind.
    #[must_use]
    pub const fn may_repeat(&self, cause: FailureCause) -> bool {
        if !self.replayable {
            return false;
        }
        cause.before_written()
            || self.stateless
                && match cause {
                    FailureCause::Lost
                    | FailureCause::Stalled
                    | FailureCause::Unavailable
                    | FailureCause::EngineError => true,
                    FailureCause::Connect
                    | FailureCause::Tls
                    | FailureCause::Refused
                    | FailureCause::FirstByteTimeout
                    | FailureCause::Truncated
                    | FailureCause::Garbage => false,
                }
    }

    /// A watch over the answer of one attempt.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let grammar = match &self.route {
            Route::Inference(api) => api.streams(),
            Route::Models { .. } | Route::Stored { .. } | Route::Administration | Route::Unknown => {
                Grammar::Unknown
            }
        };
        Answer::new(self.route.api(), grammar, self.stores)
    }
}
