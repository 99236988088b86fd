//! One generation request in the engine: its prompts, its outputs and its token counts.

use pointsman_sim::engine::{Request, SubmitError};
use serde::Serialize;

use super::fields::Fields;
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use crate::app::{App, RequestedModel, unix_seconds};
use crate::error::{ApiError, ErrorType};
use crate::live::{RequestHandle, SequenceRequest};
use crate::text::{BlockHasher, Finish, FinishReason, Output, SamplingParams, Token};

/// Upper bound of a request's choices, over all its prompts.
const MAX_CHOICES: usize = 128;

/// The fields that identify a response.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ResponseHeader {
    pub(super) id: String,
    pub(super) object: &'static str,
    /// Unix seconds.
    pub(super) created: u64,
    /// The model as the request names it.
    pub(super) model: String,
}

impl ResponseHeader {
    /// The id is `prefix` and the body's `request_id`, the `X-Request-Id` header or a new id.
    pub(super) fn new(
        app: &App,
        fields: &Fields,
        (prefix, object): (&str, &'static str),
        request: &ApiRequest,
    ) -> Result<Self, ApiError> {
        let given = fields.string("request_id")?.or(request.request_id.as_deref());
        let id = given.map_or_else(|| app.new_id(), str::to_owned);
        let model = fields.string("model")?.unwrap_or(&app.config.model).to_owned();
        Ok(Self { id: format!("{prefix}{id}"), object, created: unix_seconds(), model })
    }
}

/// The model that a request names; the base model where it names none.
pub(super) fn requested_model(app: &App, fields: &Fields) -> Result<RequestedModel, ApiError> {
    let base = &app.config.model;
    let name = fields.string("model")?.unwrap_or(base);
    app.model(name).ok_or_else(|| {
        let message = format!("The model `{name}` does not exist. Valid aliases: {base}.");
        ApiError::with_param(ErrorType::NotFound, "model", message)
    })
}

/// Token counts of a request, over all its prompts and choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenCounts {
    pub(super) prompt: u32,
    pub(super) completion: u32,
    /// Prompt tokens that were found in the prefix cache.
    pub(super) cached: u32,
    /// Prompt tokens of full blocks that the request added to the prefix cache.
    pub(super) newly_cached: u32,
}

impl TokenCounts {
    pub(super) fn total(&self) -> u32 {
        self.prompt + self.completion
    }
}

/// A generation request in the engine. Dropping it aborts the request.
pub(super) struct Generation {
    pub(super) handle: RequestHandle,
    /// The choices of the first prompt, then those of the next.
    pub(super) outputs: Vec<Output>,
    prompt_tokens: u32,
    /// Prompt tokens in full blocks.
    prompt_block_tokens: u32,
    choices_per_prompt: usize,
}

impl Generation {
    /// Draws the outputs and queues the request.
    pub(super) fn start(
        app: &App,
        fields: &Fields,
        sampling: &SamplingFields,
        model: &RequestedModel,
        prompts: &[Vec<Token>],
    ) -> Result<Self, ApiError> {
        let profile = &app.config.profile;
        let params = sampling.params(fields, profile.max_model_len)?;
        let choices = sampling.choices(fields)?;
        if prompts.is_empty() || choices.saturating_mul(prompts.len()) > MAX_CHOICES {
            let message = format!("a request may have 1 to {MAX_CHOICES} choices.");
            return Err(ApiError::parameter("n", choices, message));
        }
        let (mut outputs, mut sequences) = (Vec::new(), Vec::new());
        let (mut prompt_tokens, mut prompt_block_tokens) = (0, 0);
        for prompt in prompts {
            let hasher = hash_prompt(app, fields, model, prompt)?;
            prompt_tokens += hasher.tokens;
            prompt_block_tokens += hasher.tokens / profile.block_size * profile.block_size;
            let room = profile.max_model_len - hasher.tokens;
            let params = SamplingParams { max_tokens: params.max_tokens.min(room), ..params.clone() };
            for choice in 0..choices {
                let choice = u32::try_from(choice).unwrap_or(u32::MAX);
                let output = Output::draw(&params, app.config.seed, hasher.fingerprint(), choice);
                sequences.push(sequence_request(model, hasher.clone(), &output, params.max_tokens));
                outputs.push(output);
            }
        }
        let handle = app.engine.submit(sequences).map_err(submit_error)?;
        Ok(Self { handle, outputs, prompt_tokens, prompt_block_tokens, choices_per_prompt: choices })
    }

    /// The finish of the first choice; for APIs without `n`, the only one.
    pub(super) fn finish(&self) -> Finish<'_> {
        let finish = self.outputs.first().map(Output::finish);
        finish.unwrap_or(Finish { reason: FinishReason::Stop, stop_reason: None })
    }

    /// The text of the first choice; for APIs without `n`, the only one.
    pub(super) fn text(&self) -> String {
        self.outputs.first().map(Output::text).unwrap_or_default()
    }

    /// The token counts once `sent` tokens of each choice are sent.
    pub(super) fn counts(&self, sent: impl IntoIterator<Item = u32>) -> TokenCounts {
        // The choices of a prompt share its cached blocks: each prompt counts once.
        let firsts = (0..self.outputs.len()).step_by(self.choices_per_prompt);
        let cached = firsts.map(|choice| self.handle.progress.sequence(choice).cached).sum();
        TokenCounts {
            prompt: self.prompt_tokens,
            completion: sent.into_iter().sum(),
            cached,
            newly_cached: self.prompt_block_tokens.saturating_sub(cached),
        }
    }

    /// The token counts of the finished request.
    pub(super) fn final_counts(&self) -> TokenCounts {
        self.counts(self.outputs.iter().map(|output| output.tokens))
    }
}

/// Hashes the blocks of a prompt, and checks its length.
pub(super) fn hash_prompt(
    app: &App,
    fields: &Fields,
    model: &RequestedModel,
    prompt: &[Token],
) -> Result<BlockHasher, ApiError> {
    let limit = app.config.profile.max_model_len;
    if prompt.is_empty() {
        return Err(ApiError::new(ErrorType::BadRequestError, "The decoder prompt cannot be empty"));
    }
    if prompt.len() >= limit as usize {
        let at_least = limit + 1;
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your prompt contains at least \
             {at_least} input tokens, which exceeds this limit even without any output tokens. Please reduce the \
             length of the input prompt."
        );
        return Err(ApiError::parameter("input_tokens", at_least, message));
    }
    let salt = fields.string("cache_salt")?.unwrap_or_default();
    let mut hasher = BlockHasher::new(app.config.profile.block_size, &[&model.cache_salt, salt]);
    for token in prompt {
        hasher.push(*token);
    }
    Ok(hasher)
}

fn sequence_request(
    model: &RequestedModel,
    mut hasher: BlockHasher,
    output: &Output,
    max_tokens: u32,
) -> SequenceRequest {
    let prompt_tokens = hasher.tokens;
    output.token_ids().for_each(|token| hasher.push(token));
    let request = Request {
        prompt_tokens,
        output_tokens: output.tokens,
        hashes: hasher.hashes.into(),
        adapter: model.adapter,
    };
    SequenceRequest { request, max_tokens, finish_reason: output.finish().reason }
}

/// The response to a request that the engine refuses.
pub(super) fn submit_error(error: SubmitError) -> ApiError {
    ApiError::new(ErrorType::BadRequestError, error.to_string())
}
