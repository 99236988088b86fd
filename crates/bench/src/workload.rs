//! What to send and when: a seeded plan of requests, pure data, replayable against any arm.

mod arrivals;
mod lengths;
mod prompt;
mod sharegpt;

use std::sync::Arc;
use std::time::Duration;

pub use arrivals::Arrivals;
pub use lengths::Lengths;
pub use prompt::{Prompt, SharedPrefix};
pub use sharegpt::{Conversation, ShareGptError, parse_sharegpt};

use bytes::Bytes;
use pointsman_protocol::Api;
use pointsman_report::Random;
use serde::Serialize;

/// More requests than one plan may hold: a plan is built before it runs.
const MAX_REQUESTS: usize = 5_000_000;

/// What a load generator needs to make a plan.
#[derive(Debug, Clone)]
pub struct Workload {
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// For how long requests arrive; answers may come later.
    pub duration: Duration,
    /// Where prompts and output lengths come from.
    pub source: Source,
    /// The models that requests name, with their shares.
    pub models: Vec<WeightedModel>,
    /// The share of requests that ask for a stream, from 0 to 1.
    pub stream_share: f64,
    /// The API to speak.
    pub api: GenerationApi,
    /// Adds `ignore_eos`, an extension of vLLM and SGLang, so that every answer has exactly the planned
    /// length; strict OpenAI servers refuse it.
    pub ignore_eos: bool,
}

/// Where prompts and output lengths come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Random words of given lengths in tokens.
    Generated {
        /// Prompt lengths, the shared prefix not counted.
        prompt: Lengths,
        /// Output lengths.
        output: Lengths,
        /// Prefixes that several prompts share.
        shared_prefix: Option<SharedPrefix>,
    },
    /// Recorded conversations, drawn with replacement.
    Conversations(Vec<Conversation>),
}

/// A model and its weight among all models of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedModel {
    /// The public name.
    pub name: Arc<str>,
    /// Its share relative to the other weights.
    pub weight: f64,
}

/// The APIs that the load generator speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationApi {
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `/v1/completions`.
    Completions,
}

impl GenerationApi {
    /// The path that requests go to.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }

    /// The protocol's name of the API.
    #[must_use]
    pub const fn api(self) -> Api {
        match self {
            Self::ChatCompletions => Api::ChatCompletions,
            Self::Completions => Api::Completions,
        }
    }
}

/// A workload that cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WorkloadError {
    /// The rate is zero, negative, infinite or not a number.
    #[error("the rate must be a positive number of requests per second")]
    Rate,
    /// The plan would hold too many requests.
    #[error("the plan would hold more than {MAX_REQUESTS} requests: lower the rate or the duration")]
    TooManyRequests,
    /// A length distribution makes no sense.
    #[error("{0} lengths: {1}")]
    Lengths(&'static str, &'static str),
    /// No model, or weights that are not positive numbers.
    #[error("at least one model is needed, each with a positive weight")]
    Models,
    /// The share of streams is outside 0 to 1.
    #[error("the share of streamed requests must be between 0 and 1")]
    StreamShare,
    /// The shared prefix has no groups.
    #[error("shared prefixes need at least one group")]
    PrefixGroups,
    /// No conversation to draw from.
    #[error("the conversation file holds no conversation that can be used")]
    NoConversations,
}

/// One request of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRequest {
    /// When to send it, counted from the plan's start.
    pub at: Duration,
    /// What to ask.
    pub prompt: Prompt,
    /// How many tokens to ask for.
    pub max_tokens: u32,
    /// Which model to ask.
    pub model: Arc<str>,
    /// Whether to ask for a stream.
    pub stream: bool,
}

/// What is sent, when: the same for every arm that replays it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The API that all requests speak.
    pub api: GenerationApi,
    /// Whether requests ask the engine to ignore its end-of-sequence token.
    pub ignore_eos: bool,
    /// For how long requests arrive.
    pub duration: Duration,
    /// The requests, by time.
    pub requests: Vec<PlannedRequest>,
}

impl Workload {
    /// Draws a plan. The same workload and seed give the same plan; arrivals, lengths, models and
    /// texts come from separate generators, so changing one leaves the others as they were.
    ///
    /// # Errors
    /// When the workload makes no sense: see [`WorkloadError`].
    pub fn plan(&self, seed: u64) -> Result<Plan, WorkloadError> {
        self.validate()?;
        let times = self.arrivals.times(self.duration, &mut Random::for_part(seed, 1), MAX_REQUESTS)?;
        let (mut lengths, mut texts) = (Random::for_part(seed, 2), Random::for_part(seed, 3));
        let (mut models, mut streams) = (Random::for_part(seed, 4), Random::for_part(seed, 5));
        let requests = times
            .into_iter()
            .map(|at| {
                let (prompt, max_tokens) = self.source.draw(&mut lengths, &mut texts);
                let model = self.draw_model(&mut models);
                let stream = streams.unit() < self.stream_share;
                PlannedRequest { at, prompt, max_tokens, model, stream }
            })
            .collect();
        Ok(Plan { api: self.api, ignore_eos: self.ignore_eos, duration: self.duration, requests })
    }

    fn validate(&self) -> Result<(), WorkloadError> {
        let weight_ok = |model: &WeightedModel| model.weight.is_finite() && model.weight > 0.0;
        if self.models.is_empty() || !self.models.iter().all(weight_ok) {
            return Err(WorkloadError::Models);
        }
        if !(0.0..=1.0).contains(&self.stream_share) {
            return Err(WorkloadError::StreamShare);
        }
        self.source.validate()
    }

    fn draw_model(&self, random: &mut Random) -> Arc<str> {
        let total: f64 = self.models.iter().map(|model| model.weight).sum();
        let mut left = random.unit() * total;
        for model in &self.models {
            left -= model.weight;
            if left < 0.0 {
                return Arc::clone(&model.name);
            }
        }
        self.models.last().map_or_else(|| Arc::from(""), |model| Arc::clone(&model.name))
    }
}

impl Source {
    fn validate(&self) -> Result<(), WorkloadError> {
        match self {
            Self::Generated { prompt, output, shared_prefix } => {
                prompt.validate().map_err(|cause| WorkloadError::Lengths("prompt", cause))?;
                output.validate().map_err(|cause| WorkloadError::Lengths("output", cause))?;
                match shared_prefix {
                    Some(SharedPrefix { groups: 0, .. }) => Err(WorkloadError::PrefixGroups),
                    Some(_) | None => Ok(()),
                }
            }
            Self::Conversations(conversations) if conversations.is_empty() => {
                Err(WorkloadError::NoConversations)
            }
            Self::Conversations(_) => Ok(()),
        }
    }

    fn draw(&self, lengths: &mut Random, texts: &mut Random) -> (Prompt, u32) {
        match self {
            Self::Generated { prompt, output, shared_prefix } => {
                let prompt = Prompt::Generated {
                    seed: texts.next_u64(),
                    tokens: prompt.draw(lengths),
                    prefix: shared_prefix.map(|shared| shared.draw(texts)),
                };
                (prompt, output.draw(lengths))
            }
            Self::Conversations(conversations) => {
                let index = texts.below(conversations.len());
                conversations.get(index).map_or((Prompt::empty(), 1), |drawn| {
                    (Prompt::Recorded { text: Arc::clone(&drawn.prompt) }, drawn.output_tokens)
                })
            }
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[Message<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Plan {
    /// The JSON body of one request. Requests of different salts share no prompt prefix, whatever
    /// their plan says, so an engine's prefix cache cannot carry over from one replay to the next.
    #[must_use]
    pub fn body(&self, request: &PlannedRequest, salt: u64) -> Bytes {
        let text = request.prompt.text(salt);
        let (messages, prompt) = match self.api {
            GenerationApi::ChatCompletions => (Some([Message { role: "user", content: &text }]), None),
            GenerationApi::Completions => (None, Some(text.as_str())),
        };
        let body = Body {
            model: &request.model,
            messages,
            prompt,
            max_tokens: request.max_tokens,
            stream: request.stream,
            stream_options: request.stream.then_some(StreamOptions { include_usage: true }),
            ignore_eos: self.ignore_eos.then_some(true),
        };
        // Strings, numbers and booleans always serialise.
        serde_json::to_vec(&body).map(Bytes::from).unwrap_or_default()
    }

    /// Cuts the plan into windows of equal length, each a plan that starts at zero.
    #[must_use]
    pub fn slices(&self, count: usize) -> Vec<Self> {
        let count = count.max(1);
        let window = self.duration / u32::try_from(count).unwrap_or(u32::MAX);
        let empty = Self { requests: Vec::new(), duration: window, ..*self };
        let mut slices = vec![empty; count];
        for request in &self.requests {
            let position = request.at.as_nanos().checked_div(window.as_nanos()).unwrap_or(0);
            let index = usize::try_from(position).unwrap_or(usize::MAX).min(count - 1);
            if let Some(slice) = slices.get_mut(index) {
                let start = window * u32::try_from(index).unwrap_or(u32::MAX);
                slice
                    .requests
                    .push(PlannedRequest { at: request.at.saturating_sub(start), ..request.clone() });
            }
        }
        slices
    }
}

#[cfg(test)]
mod tests;
