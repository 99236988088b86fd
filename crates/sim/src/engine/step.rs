//! The cost of a step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A linear piece of the cost of the linear layers as a function of scheduled tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearPiece {
    /// The last token count that this piece covers; the last piece covers everything above as well.
    pub up_to_tokens: u32,
    /// Nanoseconds at zero tokens.
    pub fixed_ns: f64,
    /// Nanoseconds per scheduled token.
    pub per_token_ns: f64,
}

/// Step time as a sum: linear layers + KV read + prefill attention + sequences + base.
///
/// `t = lin(T) + a·Σcontext + q·Σ chunk·(done + chunk/2) + seq·n + base`, T being the tokens scheduled in the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTime {
    /// `lin`: pieces in ascending order of tokens.
    pub linear: Vec<LinearPiece>,
    /// `a`: nanoseconds to read one token of context from the KV cache.
    pub context_ns: f64,
    /// `q`: nanoseconds of prefill attention per pair of tokens.
    pub attention_ns: f64,
    /// `seq`: nanoseconds per sequence in the batch.
    pub sequence_ns: f64,
    /// `base`: nanoseconds per step.
    pub base_ns: f64,
}

/// The quantities of a batch that its step time depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Batch {
    /// Tokens scheduled: one for each decoding sequence, and the prefill chunks.
    pub tokens: u32,
    /// Tokens of context that decoding sequences read.
    pub context: u64,
    /// Σ chunk·(done + chunk/2) over the prefill chunks, in pairs of tokens.
    pub pairs: f64,
    /// Sequences.
    pub sequences: u32,
}

impl Batch {
    /// Adds a prefill chunk of a prompt whose first `done` tokens are in the cache.
    pub fn add_prefill(&mut self, done: u32, chunk: u32) {
        self.tokens += chunk;
        self.sequences += 1;
        self.pairs += f64::from(chunk) * (f64::from(done) + f64::from(chunk) / 2.0);
    }
}

impl StepTime {
    /// The time of a step with this batch. Additions and multiplications only, so that it is the same on every build.
    #[must_use]
    pub fn of(&self, batch: &Batch) -> Duration {
        let nanos = self.linear_ns(batch.tokens)
            + self.context_ns * batch.context as f64
            + self.attention_ns * batch.pairs
            + self.sequence_ns * f64::from(batch.sequences)
            + self.base_ns;
        Duration::from_nanos((nanos + 0.5) as u64)
    }

    fn linear_ns(&self, tokens: u32) -> f64 {
        let piece = self.linear.iter().find(|piece| tokens <= piece.up_to_tokens).or(self.linear.last());
        piece.map_or(0.0, |piece| piece.fixed_ns + piece.per_token_ns * f64::from(tokens))
    }
}
