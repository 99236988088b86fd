//! A request that has been read and not yet resolved against a pool.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_config::models::ModelRules;
use pointsman_core::{BlockHash, EndpointId, ModelKey, PoolId, RequestFacts};
use pointsman_protocol::{
    Api, BLOCK_TOKENS, BlockKey, BodyFacts, ErrorShape, Route, prompt_blocks, splice_model,
};

use crate::body::UnreadBody;
use crate::engine_request::EngineRequest;
use crate::refusal::Refusal;

/// A request and the facts that its bytes contain.
#[derive(Debug)]
pub struct ParsedRequest {
    route: Route,
    objective: Option<String>,
    content: Content,
}

enum Content {
    /// A body that was buffered and read.
    Buffered {
        api: Api,
        body: Bytes,
        facts: BodyFacts,
    },
    Unread(UnreadBody),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Buffered { api, body, .. } => write!(f, "Buffered({api:?}, {} bytes)", body.len()),
            Self::Unread(unread) => write!(f, "{unread:?}"),
        }
    }
}

/// Facts of the pool and the route for [`ParsedRequest::resolve`].
#[derive(Clone, Copy, Debug)]
pub struct ResolveContext<'a> {
    /// The pool's model rules.
    pub rules: &'a ModelRules,
    /// The pool's number in its scheduler.
    pub pool: PoolId,
    /// The request's random number, for weighted target models.
    pub draw: u64,
    /// Whether the route matches this exact path, which administration paths require.
    pub names_path_exactly: bool,
    /// The endpoint that holds the response of [`ParsedRequest::stored_response`], if it is known.
    pub holder: Option<EndpointId>,
    /// The process's key of block hashes.
    pub block_key: &'a BlockKey,
}

impl ParsedRequest {
    pub(crate) const fn buffered(api: Api, objective: Option<String>, body: Bytes, facts: BodyFacts) -> Self {
        Self { route: Route::Inference(api), objective, content: Content::Buffered { api, body, facts } }
    }

    pub(crate) const fn unread(route: Route, objective: Option<String>, body: UnreadBody) -> Self {
        Self { route, objective, content: Content::Unread(body) }
    }

    /// The API call that the path names. The gateway answers [`Route::Models`] itself.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// The public model named in the body, for `x-gateway-model-name` and for metric labels.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match &self.content {
            Content::Buffered { facts, .. } => facts.model.as_ref().map(|span| span.name.as_str()),
            Content::Unread(_) => None,
        }
    }

    /// The error format of this request's API.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// The id of the stored response that the request refers to; only the engine that holds it can serve the request.
    #[must_use]
    pub fn stored_response(&self) -> Option<&str> {
        match (&self.route, &self.content) {
            (Route::Stored { response_id }, _) => Some(response_id),
            (_, Content::Buffered { facts, .. }) => facts.previous_response_id.as_deref(),
            (_, Content::Unread(_)) => None,
        }
    }

    /// Applies the pool's model rules: chooses the target model, splices its name into the body and sets the priority.
    /// Hashes the prompt of a buffered body for that target in time linear in its bytes, so it must not be called
    /// under a lock.
    ///
    /// # Errors
    /// The pool accepts declared models only and this one is not declared, the route does not match the exact
    /// administration path, or no engine is known to hold the stored response.
    pub fn resolve(self, context: &ResolveContext<'_>) -> Result<EngineRequest, Refusal> {
        if matches!(self.route, Route::Administration) && !context.names_path_exactly {
            return Err(Refusal::Administration);
        }
        let subset = match (self.stored_response(), context.holder) {
            (None, _) => None,
            (Some(_), Some(endpoint)) => Some(Arc::from([endpoint])),
            (Some(_), None) => return Err(Refusal::UnknownResponse),
        };
        let resolved = context
            .rules
            .resolve(self.model(), self.objective.as_deref(), context.draw)
            .map_err(|_| Refusal::UndeclaredModel)?;
        let mut placement = RequestFacts::unknown(context.pool);
        placement.priority = resolved.priority;
        placement.subset = subset;
        match self.content {
            Content::Unread(body) => {
                placement.prompt_tokens = body.estimated_tokens();
                Ok(EngineRequest::unread(placement, self.route, body))
            }
            Content::Buffered { api, body, facts } => {
                let name = resolved.target.as_deref().or(facts.model.as_ref().map(|span| span.name.as_str()));
                placement.target = name.map(ModelKey::of);
                placement.prompt_tokens = saturating_u32(facts.estimated_prompt_tokens());
                let blocks = prompt_blocks(context.block_key, &body, &facts, name);
                placement.blocks = blocks.into_iter().map(BlockHash).collect();
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
                Ok(EngineRequest::buffered(placement, api, facts, body, spliced, resolved.target))
            }
        }
    }
}

fn saturating_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
