//! Input and output of an engine.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};
use thiserror::Error;

use super::adapters::AdapterId;
use super::sequence::SequenceId;

/// A request to an engine.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens of the prompt; at least one.
    pub prompt_tokens: u32,
    /// Tokens to generate; none for embeddings and scores, which end with their prompt.
    pub output_tokens: u32,
    /// Chained hashes of the full blocks of prompt and, as far as known, output. Prompts of different adapters or cache
    /// salts must not share hashes. Empty where no other request can reuse them.
    pub hashes: Arc<[BlockHash]>,
    /// The adapter it needs.
    pub adapter: Option<AdapterId>,
}

/// Why a request can never be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The prompt is empty.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Prompt and output exceed `max_model_len`.
    #[error("prompt and output come to {tokens} tokens, the model allows {limit}")]
    TooLong {
        /// Tokens of prompt and output.
        tokens: u64,
        /// The limit.
        limit: u32,
    },
    /// Prompt and output need more KV blocks than the engine has.
    #[error("prompt and output need {needed} KV blocks, the engine has {blocks}")]
    NeverFits {
        /// Blocks needed.
        needed: u32,
        /// Blocks of the engine.
        blocks: u32,
    },
}

/// The level of detail of step outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every token, for a live server that sends it.
    EveryToken,
    /// First tokens and completions only, for fast simulations.
    Milestones,
}

/// A started step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When to call [`Engine::finish_step`](super::Engine::finish_step).
    pub ends_at: Time,
}

/// Output of a step for one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOutput {
    /// The sequence.
    pub id: SequenceId,
    /// Its output tokens so far.
    pub generated: u32,
    /// Whether this step produced the first of them.
    pub first: bool,
    /// Whether it is complete; its id is invalid from now on.
    pub finished: bool,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u32,
    /// When it first joined the batch.
    pub admitted: Time,
}
