//! A request that has been read and not yet resolved against a pool.

use std::sync::Arc;

use http::Method;
use pointsman_config::models::ModelRules;
use pointsman_core::{BlockHash, EndpointId, ModelKey, PoolId, RequestFacts};
use pointsman_protocol::{
    Api, BLOCK_TOKENS, BlockKey, BodyFacts, ErrorShape, ModelSlot, Route, SplicedBody, UrlModel,
    prompt_blocks, splice_model,
};

use crate::body_format::requires_model;
use crate::content::{Content, HeldBody};
use crate::engine_request::{EngineRequest, Sent};
use crate::refusal::Refusal;

/// A request and the facts that its bytes contain.
#[derive(Debug)]
pub struct ParsedRequest {
    pub(crate) route: Route,
    pub(crate) url_model: Option<UrlModel>,
    pub(crate) objective: Option<String>,
    pub(crate) is_safe: bool,
    pub(crate) content: Content,
    pub(crate) held: HeldBody,
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
    /// The model of requests that name none.
    pub default_model: Option<&'a str>,
    /// The path and query that the engine will get.
    pub path: &'a str,
    /// The process's key of block hashes.
    pub block_key: &'a BlockKey,
}

impl ParsedRequest {
    /// The API call that the path names.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// Classifies the request by the path that the engine will get, where a route changes it. Only a path that is no
    /// administration path on either side counts as none.
    pub fn at_engine(&mut self, method: &Method, path_and_query: &str) {
        if self.route != Route::Administration {
            self.route = Api::of(method.as_str(), path_and_query);
        }
        if !matches!(self.content, Content::None) {
            self.url_model = UrlModel::of(path_and_query);
        }
    }

    /// The public model that the request names, for `x-gateway-model-name` and for metric labels: in its path, in its
    /// body, or in its query, the first that does.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let in_path = self.url_model.as_ref().filter(|model| model.in_path);
        let in_url = self.url_model.as_ref().map(|model| model.name.as_str());
        match in_path {
            Some(model) => Some(&model.name),
            None => self.body_model().or(in_url),
        }
    }

    fn body_model(&self) -> Option<&str> {
        match &self.content {
            Content::Json(facts) => facts.model.as_deref(),
            Content::Form { model, .. } => model.as_ref().map(|model| model.name.as_str()),
            Content::None | Content::Opaque | Content::Unreadable { .. } => None,
        }
    }

    /// Whether the request has a body that names no model, so that the pool's default model applies.
    #[must_use]
    pub fn lacks_model(&self) -> bool {
        self.is_read() && self.model().is_none()
    }

    /// Whether the body has been read.
    const fn is_read(&self) -> bool {
        matches!(self.content, Content::Json(_) | Content::Form { .. })
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
            (_, Content::Json(facts)) => facts.previous_response_id.as_deref().filter(|id| !id.is_empty()),
            (_, Content::None | Content::Form { .. } | Content::Opaque | Content::Unreadable { .. }) => None,
        }
    }

    /// Bytes of the body that are held.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held.bytes.len() as u64
    }

    /// Applies the pool's model rules: chooses the target model, writes its name into the request and sets the priority.
    /// Hashes the prompt of a buffered body for that target in time linear in its bytes, so it must not be called
    /// under a lock.
    ///
    /// # Errors
    /// The pool accepts declared models only and this one is not declared, or cannot be read; the body is invalid for its
    /// API, or names no model where the API requires one and there is no default; the route does not match the exact
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
        let name = self.lawful_model(context)?.map(str::to_owned);
        let resolved = context
            .rules
            .resolve(name.as_deref(), self.objective.as_deref(), context.draw)
            .map_err(|_| Refusal::UndeclaredModel)?;
        let sent = resolved.target.as_deref().or(name.as_deref());
        let mut placement = RequestFacts::unknown(context.pool);
        placement.priority = resolved.priority;
        placement.subset = subset;
        placement.target = sent.map(ModelKey::of);
        match &self.content {
            Content::Json(facts) => self.describe(&mut placement, facts, sent, context.block_key),
            Content::None => {}
            Content::Form { .. } | Content::Opaque | Content::Unreadable { .. } => {
                placement.prompt_tokens = self.held.estimated_tokens();
            }
        }
        let spliced = self.spliced(sent);
        let path = self.rewritten_path(sent, context.path);
        Ok(EngineRequest::new(self, placement, Sent { model: name, target: resolved.target, spliced, path }))
    }

    /// The model that the pool's rules apply to.
    fn lawful_model<'a>(&'a self, context: &ResolveContext<'a>) -> Result<Option<&'a str>, Refusal> {
        let named = self.model();
        match self.route {
            Route::Administration | Route::Stored { .. } | Route::Models { .. } => return Ok(named),
            Route::Inference(_) | Route::Unknown => {}
        }
        let is_inference = matches!(self.route, Route::Inference(_));
        let rules = context.rules;
        match &self.content {
            Content::Unreadable { reason, declared } => {
                let counts = named.is_none() && !rules.is_empty() || *declared && is_inference;
                if counts { Err(reason.clone()) } else { Ok(named) }
            }
            Content::Opaque if named.is_none() && rules.rejects_undeclared() => Err(Refusal::MissingModel),
            Content::None | Content::Opaque => Ok(named),
            Content::Json(_) | Content::Form { .. } => {
                let model = named.or(context.default_model);
                let required = requires_model(&self.route) || rules.rejects_undeclared();
                if model.is_none() && required { Err(Refusal::MissingModel) } else { Ok(model) }
            }
        }
    }

    /// Adds what the body says to the facts of the placement.
    fn describe(
        &self,
        placement: &mut RequestFacts,
        facts: &BodyFacts,
        sent: Option<&str>,
        block_key: &BlockKey,
    ) {
        placement.prompt_tokens = saturating_u32(facts.estimated_prompt_tokens());
        let blocks = prompt_blocks(block_key, &self.held.bytes, facts, sent);
        placement.blocks = blocks.into_iter().map(BlockHash).collect();
        placement.block_tokens = if placement.blocks.is_empty() { 0 } else { BLOCK_TOKENS };
        placement.max_output_tokens = facts.max_tokens.map(|tokens| tokens.saturating_mul(facts.n.max(1)));
        let generates = self.route.api().is_some_and(|api| api.of_body(facts).generates());
        placement.observes_tokens = facts.stream && generates;
    }

    /// The body with the name that is sent, if it has another one or needs one.
    fn spliced(&self, sent: Option<&str>) -> Option<SplicedBody> {
        let sent = sent?;
        let slot: &ModelSlot = match &self.content {
            Content::Json(facts) => {
                let is_inference = matches!(self.route, Route::Inference(_));
                let is_due = match (&facts.model, self.url_model.as_ref().filter(|model| model.in_path)) {
                    (Some(model), None) => model != sent,
                    (Some(model), Some(_)) => model != sent && is_inference,
                    (None, _) => requires_model(&self.route),
                };
                Some(&facts.model_slot).filter(|_| is_due)
            }
            Content::Form { model, .. } => {
                model.as_ref().filter(|model| model.name != sent).map(|model| &model.slot)
            }
            Content::None | Content::Opaque | Content::Unreadable { .. } => None,
        }?;
        Some(splice_model(&self.held.bytes, slot, sent))
    }

    /// The path with the name that is sent, if the URL names another one.
    fn rewritten_path(&self, sent: Option<&str>, path: &str) -> Option<String> {
        let url = self.url_model.as_ref()?;
        let counts = url.in_path || self.body_model().is_none();
        let sent = sent.filter(|sent| counts && *sent != url.name)?;
        Some(url.replaced(path, sent))
    }
}

fn saturating_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
