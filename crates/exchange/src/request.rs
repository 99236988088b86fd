//! A request that has been read, and does not yet know its pool.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_config::models::ModelRules;
use pointsman_core::{BlockHash, EndpointId, ModelKey, PoolId, RequestFacts};
use pointsman_protocol::{Api, BLOCK_TOKENS, BodyFacts, ErrorShape, Route, prompt_blocks, splice_model};

use crate::outgoing::Outgoing;
use crate::refusal::Refusal;

/// A request with everything known that its bytes can tell.
#[derive(Debug)]
pub struct Request {
    route: Route,
    objective: Option<String>,
    content: Content,
}

/// The body, as far as it is known.
enum Content {
    /// Held whole and read.
    Held { api: Api, body: Bytes, facts: BodyFacts },
    /// Not read by us.
    Unread(Unread),
}

/// A body that the gateway does not read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unread {
    /// There is none.
    Nothing,
    /// It streams through; its length in bytes where it was announced.
    Stream { length: Option<u64> },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held { api, body, .. } => write!(f, "Held({api:?}, {} bytes)", body.len()),
            Self::Unread(unread) => write!(f, "{unread:?}"),
        }
    }
}

/// What the pool adds to a request.
#[derive(Clone, Copy, Debug)]
pub struct Resolving<'a> {
    /// The pool's model rules.
    pub rules: &'a ModelRules,
    /// The pool's place in its state machine.
    pub pool: PoolId,
    /// The request's own random number, which draws among weighted targets.
    pub draw: u64,
    /// Whether the route names this very path, so that an administration path is meant.
    pub names_path_exactly: bool,
    /// The endpoint that holds the stored response which [`Request::stored_response`] names.
    pub holder: Option<EndpointId>,
}

impl Request {
    pub(crate) const fn held(api: Api, objective: Option<String>, body: Bytes, facts: BodyFacts) -> Self {
        Self { route: Route::Inference(api), objective, content: Content::Held { api, body, facts } }
    }

    pub(crate) const fn unread(route: Route, objective: Option<String>, body: Unread) -> Self {
        Self { route, objective, content: Content::Unread(body) }
    }

    /// What the path asks for. A door answers [`Route::Models`] by itself.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// The public model that the body names, for `x-gateway-model-name` and for labels.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match &self.content {
            Content::Held { facts, .. } => facts.model.as_ref().map(|span| span.name.as_str()),
            Content::Unread(_) => None,
        }
    }

    /// The shape that errors of this request's API have.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// The stored response that only its holder can serve.
    #[must_use]
    pub fn stored_response(&self) -> Option<&str> {
        match (&self.route, &self.content) {
            (Route::Stored { response_id }, _) => Some(response_id),
            (_, Content::Held { facts, .. }) => facts.previous_response_id.as_deref(),
            (_, Content::Unread(_)) => None,
        }
    }

    /// Applies the pool's rules: the target model, its splice into the body, the priority. Hashes a held body's
    /// prompt for that target, which takes time in proportion to its bytes: call it outside any lock.
    ///
    /// # Errors
    /// The model is not declared and the pool wants it so, the path is an administration path that the route does not
    /// name, or nobody is known to hold the stored response.
    pub fn resolve(self, with: &Resolving<'_>) -> Result<Outgoing, Refusal> {
        if matches!(self.route, Route::Administration) && !with.names_path_exactly {
            return Err(Refusal::Administration);
        }
        let subset = match (self.stored_response(), with.holder) {
            (None, _) => None,
            (Some(_), Some(endpoint)) => Some(Arc::from([endpoint])),
            (Some(_), None) => return Err(Refusal::UnknownResponse),
        };
        let resolved = with
            .rules
            .resolve(self.model(), self.objective.as_deref(), with.draw)
            .map_err(|_| Refusal::UndeclaredModel)?;
        let mut placement = RequestFacts::unknown(with.pool);
        placement.priority = resolved.priority;
        placement.subset = subset;
        match self.content {
            Content::Unread(body) => {
                placement.prompt_tokens = body.tokens();
                Ok(Outgoing::unread(placement, self.route, body))
            }
            Content::Held { api, body, facts } => {
                let name = resolved.target.as_deref().or(facts.model.as_ref().map(|span| span.name.as_str()));
                placement.target = name.map(ModelKey::of);
                placement.prompt_tokens = saturating_u32(facts.estimated_prompt_tokens());
                placement.blocks = prompt_blocks(&body, &facts, name).into_iter().map(BlockHash).collect();
                placement.block_tokens = if placement.blocks.is_empty() { 0 } else { BLOCK_TOKENS };
                placement.max_output_tokens =
                    facts.max_tokens.map(|tokens| tokens.saturating_mul(facts.n.max(1)));
                placement.observes_tokens = facts.stream && api.generates();
                let spliced = match (&resolved.target, &facts.model) {
                    (Some(target), Some(span)) if **target != *span.name => {
                        Some(splice_model(&body, span, target))
                    }
                    _ => None,
                };
                Ok(Outgoing::held(placement, api, facts, body, spliced, resolved.target))
            }
        }
    }
}

impl Unread {
    /// The most prompt tokens that such a body is taken for: its bytes may be an image or a recording.
    const MOST_TOKENS: u64 = 8_192;
    /// Bytes per token.
    const BYTES_PER_TOKEN: u64 = 4;

    fn tokens(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Stream { length } => {
                saturating_u32((length.unwrap_or(0) / Self::BYTES_PER_TOKEN).min(Self::MOST_TOKENS))
            }
        }
    }
}

fn saturating_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
