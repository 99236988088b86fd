//! What goes into an engine and what comes out.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};
use thiserror::Error;

use super::adapters::AdapterId;
use super::sequence::SequenceId;

/// What an engine is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens of the prompt; at least one.
    pub prompt_tokens: u32,
    /// Tokens to generate; none for embeddings and scores, which end with their prompt.
    pub output_tokens: u32,
    /// Chained hashes of the full blocks of the prompt and, as far as known, of the answer behind it. Prompts of
    /// different adapters or cache salts must not share hashes. Empty where nothing can be found again.
    pub hashes: Arc<[BlockHash]>,
    /// The adapter it needs.
    pub adapter: Option<AdapterId>,
}

/// Why a request cannot be served, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// No prompt.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Prompt and answer are longer than the model allows.
    #[error("prompt and answer come to {tokens} tokens, the model allows {limit}")]
    TooLong {
        /// What was asked for.
        tokens: u64,
        /// What is allowed.
        limit: u32,
    },
    /// Prompt and answer need more KV blocks than the engine has.
    #[error("prompt and answer need {needed} KV blocks, the engine has {blocks}")]
    NeverFits {
        /// What they need.
        needed: u32,
        /// What there is.
        blocks: u32,
    },
}

/// Which progress a finished step reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every sequence that got a token: for a live server, which must send it.
    EveryToken,
    /// Only first tokens and ends: for simulations, where the work per token counts.
    Milestones,
}

/// A step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When to call [`Engine::finish_step`](super::Engine::finish_step).
    pub ends_at: Time,
}

/// What a step did for one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOutput {
    /// The sequence.
    pub id: SequenceId,
    /// Its tokens so far.
    pub generated: u32,
    /// Whether this step gave the first of them.
    pub first: bool,
    /// Whether it is complete; its id means nothing from now on.
    pub finished: bool,
    /// Prompt tokens that were found in the prefix cache.
    pub cached_tokens: u32,
    /// When it first joined the batch.
    pub admitted: Time,
}
