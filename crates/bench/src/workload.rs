//! What to send and when: a seeded plan of requests, pure data, replayable against any arm.

mod arrivals;
mod lengths;
mod plan;
mod prompt;
mod sharegpt;

use std::sync::Arc;
use std::time::Duration;

pub use arrivals::Arrivals;
pub use lengths::Lengths;
pub use plan::{Plan, PlannedRequest};
pub use prompt::{Prompt, SharedPrefix};
pub use sharegpt::{Conversation, ShareGptError, parse_sharegpt};

use pointsman_protocol::Api;
use pointsman_report::Random;

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

#[cfg(test)]
mod tests;
