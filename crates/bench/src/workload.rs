//! Workloads of the load generator: a description and a seed give a plan of requests that every arm replays.

mod lengths;
mod offered;
mod plan;
mod prompt;

use std::sync::Arc;
use std::time::Duration;

pub use lengths::TokenLengths;
pub use offered::OfferedLoad;
pub use plan::{Plan, PlannedRequest};
use prompt::PrefixGroup;
pub use prompt::{Prompt, SharedPrefix};

use pointsman_protocol::Api;
use pointsman_workload::{ArrivalTimes, Choice, Conversation, Distribution, Draw, Purpose};

/// Most requests of a plan, which is in memory before it runs.
const MAX_REQUESTS: usize = 5_000_000;

/// A workload of the load generator.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The arrival process and its rate.
    pub offered: OfferedLoad,
    /// Length of the arrival period; responses may end later.
    pub duration: Duration,
    /// The source of prompts and output lengths.
    pub source: Source,
    /// The models that requests name, with their weights.
    pub models: Vec<WeightedModel>,
    /// Share of requests that ask for a streamed response, 0 to 1.
    pub stream_share: f64,
    /// The API to speak.
    pub api: GenerationApi,
    /// Adds `ignore_eos`, an extension of vLLM and SGLang, which makes every output exactly as long as planned. Strict
    /// OpenAI servers refuse it.
    pub ignore_eos: bool,
}

/// A source of prompts and output lengths.
#[derive(Debug, Clone)]
pub enum Source {
    /// Random words.
    Generated {
        /// Prompt tokens, without the shared prefix.
        prompt: Distribution,
        /// Output tokens.
        output: Distribution,
        /// Prefixes that groups of prompts share.
        shared_prefix: Option<SharedPrefix>,
    },
    /// Recorded conversations, drawn with replacement.
    Conversations(Vec<Conversation>),
}

/// A model and its weight among all models of a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedModel {
    /// The model's public name.
    pub name: Arc<str>,
    /// Its weight relative to the others.
    pub weight: f64,
}

/// The inference APIs that the load generator supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationApi {
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `/v1/completions`.
    Completions,
}

impl GenerationApi {
    /// The request path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }

    /// The API as the protocol crate names it.
    #[must_use]
    pub const fn api(self) -> Api {
        match self {
            Self::ChatCompletions => Api::ChatCompletions,
            Self::Completions => Api::Completions,
        }
    }
}

/// Why a workload cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WorkloadError {
    /// The rate is zero, negative, infinite or not a number.
    #[error("the rate must be a positive number of requests per second")]
    Rate,
    /// The plan would hold too many requests.
    #[error("the plan would hold more than {MAX_REQUESTS} requests: lower the rate or the duration")]
    TooManyRequests,
    /// No model, or weights that are not positive numbers.
    #[error("at least one model is needed, each with a positive weight")]
    Models,
    /// The share of streams is outside 0 to 1.
    #[error("the share of streamed requests must be between 0 and 1")]
    StreamShare,
    /// Shared prefixes have no groups.
    #[error("shared prefixes need at least one group")]
    PrefixGroups,
    /// The conversation file has no usable conversation.
    #[error("the conversation file holds no conversation that can be used")]
    NoConversations,
}

impl Workload {
    /// Draws a plan. The same workload and seed give the same plan; arrivals, lengths, models and texts are separate
    /// streams of random numbers, so a change to one leaves the others as they were.
    ///
    /// # Errors
    /// See [`WorkloadError`].
    pub fn plan(&self, seed: u64) -> Result<Plan, WorkloadError> {
        self.validate()?;
        let models = Choice::weighted(&self.models.iter().map(|model| model.weight).collect::<Vec<_>>());
        let groups = self.source.groups();
        let mut arrivals = ArrivalTimes::new(self.offered.arrivals, self.offered.rate, seed);
        let end = self.duration.as_secs_f64();
        let mut requests = Vec::new();
        for number in 0.. {
            let at = arrivals.advance();
            if at >= end {
                break;
            }
            if requests.len() == MAX_REQUESTS {
                return Err(WorkloadError::TooManyRequests);
            }
            let draw = |purpose| Draw::of(seed, purpose, number);
            let (prompt, max_tokens) = self.source.draw(groups.as_ref(), draw);
            let model = models.draw(&mut draw(Purpose::Adapter)) as usize;
            requests.push(PlannedRequest {
                at: Duration::from_secs_f64(at),
                prompt,
                max_tokens,
                model: self.models.get(model).map_or_else(|| Arc::from(""), |model| Arc::clone(&model.name)),
                stream: draw(Purpose::Streamed).unit() < self.stream_share,
            });
        }
        Ok(Plan { api: self.api, ignore_eos: self.ignore_eos, duration: self.duration, requests })
    }

    fn validate(&self) -> Result<(), WorkloadError> {
        self.offered.validate()?;
        let weight_ok = |model: &WeightedModel| model.weight.is_finite() && model.weight > 0.0;
        if self.models.is_empty() || !self.models.iter().all(weight_ok) {
            return Err(WorkloadError::Models);
        }
        if !(0.0..=1.0).contains(&self.stream_share) {
            return Err(WorkloadError::StreamShare);
        }
        match &self.source {
            Source::Generated { shared_prefix: Some(SharedPrefix { groups: 0, .. }), .. } => {
                Err(WorkloadError::PrefixGroups)
            }
            Source::Conversations(conversations) if conversations.is_empty() => {
                Err(WorkloadError::NoConversations)
            }
            Source::Generated { .. } | Source::Conversations(_) => Ok(()),
        }
    }
}

impl Source {
    /// The choice among prefix groups, where prompts share any.
    fn groups(&self) -> Option<Choice> {
        match self {
            Self::Generated { shared_prefix: Some(shared), .. } => Some(Choice::zipf(shared.groups, 0.0)),
            Self::Generated { shared_prefix: None, .. } | Self::Conversations(_) => None,
        }
    }

    /// The prompt and the output tokens of one request.
    fn draw(&self, groups: Option<&Choice>, draw: impl Fn(Purpose) -> Draw) -> (Prompt, u32) {
        match self {
            Self::Generated { prompt, output, shared_prefix } => {
                let group = groups.map_or(0, |groups| groups.draw(&mut draw(Purpose::Group)));
                let prompt = Prompt::Generated {
                    seed: draw(Purpose::Content).bits(),
                    tokens: prompt.tokens(&mut draw(Purpose::Lengths)),
                    prefix: shared_prefix
                        .map(|shared| PrefixGroup { seed: group.into(), tokens: shared.tokens }),
                };
                (prompt, output.tokens(&mut draw(Purpose::Output)))
            }
            Self::Conversations(conversations) => {
                let place = draw(Purpose::Lengths).bits() % conversations.len().max(1) as u64;
                let drawn = usize::try_from(place).ok().and_then(|place| conversations.get(place));
                let (text, tokens) = drawn.map_or_else(
                    || (Arc::from(""), 1),
                    |drawn| (Arc::clone(&drawn.prompt), drawn.output_tokens),
                );
                (Prompt::Recorded { text }, tokens)
            }
        }
    }
}

#[cfg(test)]
mod tests;
