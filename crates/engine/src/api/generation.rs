//! One request for text, whatever its API: its prompts, its answers, its place in the engine.

use pointsman_sim::engine::{Request, SubmitError};

use super::fields::Fields;
use crate::app::{App, ServedModel};
use crate::live::{Served, Submission, Ticket};
use crate::reply::{ApiError, ErrorType, quoted};
use crate::text::{Answer, AnswerRequest, BlockHasher, Ending, Token};

/// The most inputs of one request for embeddings or scores.
const MAX_INPUTS: usize = 2048;

/// The most choices of one request, over all its prompts.
const MAX_CHOICES: usize = 128;

/// What every answer repeats: who it is from and to.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The response's id, as JSON.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
    /// The model as the request named it, as JSON.
    pub(crate) model: String,
}

/// How an API names what it says about answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// The fields that may limit an answer, the preferred one first.
    pub(crate) max_tokens: &'static [&'static str],
    /// The limit where none is given; absent, what the model's length leaves.
    pub(crate) default_max_tokens: Option<u32>,
    /// The field with stop strings.
    pub(crate) stop: &'static str,
    /// Whether `n` asks for several answers.
    pub(crate) choices: bool,
}

/// A prompt as tokens.
#[derive(Clone, Default)]
pub(crate) struct Prompt(pub(crate) Vec<Token>);

/// Token counts of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) cached_tokens: u32,
    /// Prompt tokens in full blocks that are in the cache now and were not before.
    pub(crate) created_cache_tokens: u32,
}

impl Usage {
    pub(crate) fn total_tokens(&self) -> u32 {
        self.prompt_tokens + self.completion_tokens
    }
}

/// A request in the engine.
pub(crate) struct Generation {
    ticket: Ticket,
    answers: Vec<Answer>,
    prompt_tokens: u32,
    /// The same in full blocks.
    prompt_block_tokens: u32,
    /// Which choices are the first of their prompt: their cached tokens count.
    choices_per_prompt: usize,
}

/// What a body says about its answers, beside their length.
fn answer_request(fields: &Fields, dialect: &Dialect, limit: u32) -> Result<AnswerRequest, ApiError> {
    if let Some(temperature) = fields.number("temperature")?.filter(|temperature| *temperature < 0.0) {
        let message = format!(
            "temperature must be non-negative, got {temperature:?}. (parameter=temperature, value={temperature:?})"
        );
        return Err(ApiError::about(ErrorType::BadRequestError, "temperature", message));
    }
    let bounded = |name: &str| -> Result<u32, ApiError> {
        Ok(u32::try_from(fields.integer(name)?.unwrap_or(0).max(0)).unwrap_or(limit).min(limit))
    };
    Ok(AnswerRequest {
        max_tokens: limit,
        min_tokens: bounded("min_tokens")?,
        ignore_eos: fields.flag("ignore_eos")?,
        stop: fields.texts(dialect.stop)?,
        seed: fields.integer("seed")?.unwrap_or(0).cast_unsigned(),
    })
}

/// The most tokens an answer may have, by the field that limits it.
fn max_tokens(fields: &Fields, dialect: &Dialect, model_len: u32) -> Result<u32, ApiError> {
    for name in dialect.max_tokens {
        let Some(value) = fields.integer(name)? else { continue };
        if value < 1 {
            let message =
                format!("{name} must be at least 1, got {value}. (parameter={name}, value={value})");
            return Err(ApiError::about(ErrorType::BadRequestError, *name, message));
        }
        return u32::try_from(value).ok().filter(|value| *value <= model_len).ok_or_else(|| {
            let message = format!(
                "{name}={value} cannot be greater than max_model_len={model_len}. Please request fewer output \
                 tokens. (parameter={name}, value={value})"
            );
            ApiError::about(ErrorType::BadRequestError, *name, message)
        });
    }
    Ok(dialect.default_max_tokens.unwrap_or(model_len))
}

impl Generation {
    /// Draws the answers and queues the request.
    pub(crate) fn start(
        app: &App,
        fields: &Fields,
        model: &ServedModel,
        prompts: &[Prompt],
        dialect: &Dialect,
    ) -> Result<Self, ApiError> {
        let profile = &app.config.profile;
        let limit = max_tokens(fields, dialect, profile.max_model_len)?;
        let wanted = answer_request(fields, dialect, limit)?;
        let choices = if dialect.choices { fields.integer("n")?.unwrap_or(1).max(1) } else { 1 };
        let choices = usize::try_from(choices).unwrap_or(usize::MAX);
        if prompts.is_empty() || choices.saturating_mul(prompts.len()) > MAX_CHOICES {
            let message =
                format!("a request may have 1 to {MAX_CHOICES} choices. (parameter=n, value={choices})");
            return Err(ApiError::about(ErrorType::BadRequestError, "n", message));
        }
        let salt = fields.text("cache_salt")?.unwrap_or_default();
        let (mut answers, mut submissions) = (Vec::new(), Vec::new());
        let (mut prompt_tokens, mut prompt_block_tokens) = (0, 0);
        for prompt in prompts {
            let hasher = hashed(app, model, salt, prompt)?;
            prompt_tokens += hasher.tokens();
            prompt_block_tokens += hasher.tokens() / profile.block_size * profile.block_size;
            let room = profile.max_model_len - hasher.tokens();
            let wanted = AnswerRequest { max_tokens: wanted.max_tokens.min(room), ..wanted.clone() };
            for choice in 0..choices {
                let choice = u32::try_from(choice).unwrap_or(u32::MAX);
                let answer = Answer::draw(&wanted, app.config.seed, hasher.fingerprint(), choice);
                submissions.push(submission(model, hasher.clone(), &answer, wanted.max_tokens));
                answers.push(answer);
            }
        }
        let ticket = app.live.submit(submissions).map_err(refused)?;
        Ok(Self { ticket, answers, prompt_tokens, prompt_block_tokens, choices_per_prompt: choices })
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    pub(crate) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Token counts as they stand, `sent` being the tokens of the answers that count.
    pub(crate) fn usage(&self, sent: impl IntoIterator<Item = u32>) -> Usage {
        let firsts = (0..self.answers.len()).step_by(self.choices_per_prompt);
        let cached_tokens = firsts.map(|choice| self.ticket.delivery().part(choice).cached).sum();
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: sent.into_iter().sum(),
            cached_tokens,
            created_cache_tokens: self.prompt_block_tokens.saturating_sub(cached_tokens),
        }
    }

    /// Token counts of the finished request.
    pub(crate) fn final_usage(&self) -> Usage {
        self.usage(self.answers.iter().map(|answer| answer.tokens))
    }
}

fn hashed(app: &App, model: &ServedModel, salt: &str, prompt: &Prompt) -> Result<BlockHasher, ApiError> {
    let limit = app.config.profile.max_model_len;
    if prompt.0.is_empty() {
        return Err(ApiError::new(ErrorType::BadRequestError, "The decoder prompt cannot be empty"));
    }
    if prompt.0.len() >= limit as usize {
        let at_least = limit + 1;
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your prompt contains at least \
             {at_least} input tokens, which exceeds this limit even without any output tokens. Please reduce the \
             length of the input prompt. (parameter=input_tokens, value={at_least})"
        );
        return Err(ApiError::about(ErrorType::BadRequestError, "input_tokens", message));
    }
    let mut hasher = BlockHasher::new(app.config.profile.block_size, &[&model.salt, salt]);
    for token in &prompt.0 {
        hasher.push(*token);
    }
    Ok(hasher)
}

fn submission(model: &ServedModel, mut hasher: BlockHasher, answer: &Answer, max_tokens: u32) -> Submission {
    let prompt_tokens = hasher.tokens();
    answer.hash_into(&mut hasher);
    let served = match answer.ending {
        Ending::Natural | Ending::Stop(_) => Served::Stop,
        Ending::Length => Served::Length,
    };
    let request = Request {
        prompt_tokens,
        output_tokens: answer.tokens,
        hashes: hasher.into_hashes().into(),
        adapter: model.adapter,
    };
    Submission { request, max_tokens, served }
}

/// The engine's refusal as an answer.
pub(crate) fn refused(error: SubmitError) -> ApiError {
    ApiError::new(ErrorType::BadRequestError, error.to_string())
}

/// The head of an answer: id by the caller's wish (`request_id` in the body, `X-Request-Id`) or drawn.
pub(crate) fn header(
    app: &App,
    fields: &Fields,
    prefix: &str,
    request_id: Option<&str>,
) -> Result<Header, ApiError> {
    let named = fields.text("request_id")?.or(request_id).map(str::to_owned);
    let id = named.unwrap_or_else(|| app.draw_id());
    let model = fields.text("model")?.unwrap_or(&app.config.model);
    Ok(Header { id: quoted(&format!("{prefix}{id}")), created: app.unix_seconds(), model: quoted(model) })
}

/// Prompts in the engine that end without an answer.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) ticket: Ticket,
    /// What each result is drawn from.
    pub(crate) fingerprints: Vec<u64>,
    pub(crate) prompt_tokens: u32,
}

/// Queues prompts without an answer, as embeddings and scores are.
pub(crate) fn pool(
    app: &App,
    fields: &Fields,
    model: &ServedModel,
    prompts: &[Prompt],
) -> Result<Pooled, ApiError> {
    if prompts.is_empty() || prompts.len() > MAX_INPUTS {
        let message = format!("a request may have 1 to {MAX_INPUTS} inputs");
        return Err(ApiError::new(ErrorType::BadRequestError, message));
    }
    let salt = fields.text("cache_salt")?.unwrap_or_default();
    let hashers =
        prompts.iter().map(|prompt| hashed(app, model, salt, prompt)).collect::<Result<Vec<_>, _>>()?;
    let fingerprints = hashers.iter().map(BlockHasher::fingerprint).collect();
    let prompt_tokens = hashers.iter().map(BlockHasher::tokens).sum();
    let submissions = hashers.into_iter().map(|hasher| Submission {
        request: Request {
            prompt_tokens: hasher.tokens(),
            output_tokens: 0,
            hashes: hasher.into_hashes().into(),
            adapter: model.adapter,
        },
        max_tokens: 0,
        served: Served::Stop,
    });
    let ticket = app.live.submit(submissions.collect()).map_err(refused)?;
    Ok(Pooled { ticket, fingerprints, prompt_tokens })
}
