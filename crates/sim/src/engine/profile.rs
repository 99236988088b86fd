//! Engine profiles: one model on one accelerator, as data with its sources.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::step::{LinearPiece, StepTime};

/// Why a profile is invalid.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The data is not a profile.
    #[error("the engine profile cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field has an invalid value.
    #[error("engine profile field {field}: {reason}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// No built-in profile has this name.
    #[error("there is no engine profile {name:?}; there are {}", BuiltinProfile::names())]
    Unknown {
        /// The name.
        name: String,
    },
}

/// One model on one accelerator: step times and capacities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineProfile {
    /// The profile's name, such as `llama-3-8b-h100`.
    pub name: String,
    /// Step times.
    pub step: StepTime,
    /// Tokens in one KV block.
    pub block_size: u32,
    /// KV blocks on the device.
    pub blocks: u32,
    /// Tokens that one step may schedule (`--max-num-batched-tokens`).
    pub max_batched_tokens: u32,
    /// Sequence slots: sequences that may run at once (`--max-num-seqs`).
    pub max_sequences: u32,
    /// Most tokens of prompt and output together (`--max-model-len`).
    pub max_model_len: u32,
    /// Adapters that a batch may use and the device holds (`--max-loras`).
    pub max_adapters: u32,
    /// Nanoseconds that loading an adapter adds to a step.
    pub adapter_load_ns: u64,
    /// Sources of the figures, by field.
    pub sources: BTreeMap<String, String>,
}

impl EngineProfile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// The first invalid field.
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = serde_json::from_str(text)?;
        profile.checked()
    }

    /// The built-in profile of that name.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`], which lists the names.
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        let found = BuiltinProfile::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| ProfileError::Unknown { name: name.to_owned() })?.load()
    }

    /// Validates the profile.
    ///
    /// # Errors
    /// The first invalid field.
    pub fn checked(self) -> Result<Self, ProfileError> {
        let invalid = |field, reason| Err(ProfileError::Invalid { field, reason });
        let step = &self.step;
        let costs = [step.context_ns, step.attention_ns, step.sequence_ns, step.base_ns];
        let slopes = step.linear.iter().map(|piece| piece.per_token_ns);
        if costs.into_iter().chain(slopes).any(|cost| !cost.is_finite() || cost < 0.0) {
            return invalid("step", "costs are finite and not negative");
        }
        if step.linear.is_empty() || !step.linear.is_sorted_by(|a, b| a.up_to_tokens < b.up_to_tokens) {
            return invalid("step.linear", "needs at least one piece, in ascending order of tokens");
        }
        // The line of a steep piece may be negative at zero tokens, but not within its own range.
        let starts = std::iter::once(0).chain(step.linear.iter().map(|piece| piece.up_to_tokens));
        let at_start =
            |(piece, start): (&LinearPiece, u32)| piece.fixed_ns + piece.per_token_ns * f64::from(start);
        if step.linear.iter().zip(starts).map(at_start).any(|cost| !cost.is_finite() || cost < 0.0) {
            return invalid("step.linear", "a piece has a negative cost at its start");
        }
        if step.of(&super::Batch { tokens: 1, sequences: 1, ..Default::default() }).is_zero() {
            return invalid("step", "a step must take time");
        }
        if self.block_size == 0 || self.blocks == 0 {
            return invalid("blocks", "blocks and block_size must be at least 1");
        }
        if self.max_sequences == 0 || self.max_model_len == 0 || self.max_adapters == 0 {
            return invalid(
                "max_sequences",
                "max_sequences, max_model_len and max_adapters must be at least 1",
            );
        }
        if self.max_batched_tokens < self.max_sequences {
            return invalid("max_batched_tokens", "must be at least max_sequences");
        }
        Ok(self)
    }

    /// Time that loading an adapter adds to a step.
    #[must_use]
    pub const fn adapter_load(&self) -> Duration {
        Duration::from_nanos(self.adapter_load_ns)
    }
}

/// Built-in profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinProfile {
    /// Llama-2-7B on one H100 80 GB.
    Llama2H100,
    /// Llama-3-8B on one H100 80 GB.
    Llama3H100,
    /// Llama-3-8B on one A100 80 GB.
    Llama3A100,
    /// Llama-2-70B on eight H100 80 GB.
    Llama70H100,
    /// Llama-2-70B on eight A100 80 GB.
    Llama70A100,
    /// Qwen3-32B on two H100 80 GB.
    Qwen32H100,
    /// For tests: few blocks, few sequence slots, steps of a millisecond.
    Tiny,
}

impl BuiltinProfile {
    /// Every profile.
    pub const ALL: [Self; 7] = [
        Self::Llama2H100,
        Self::Llama3H100,
        Self::Llama3A100,
        Self::Llama70H100,
        Self::Llama70A100,
        Self::Qwen32H100,
        Self::Tiny,
    ];

    /// The name that commands and files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama2H100 => "llama-2-7b-h100",
            Self::Llama3H100 => "llama-3-8b-h100",
            Self::Llama3A100 => "llama-3-8b-a100",
            Self::Llama70H100 => "llama-2-70b-h100-tp8",
            Self::Llama70A100 => "llama-2-70b-a100-tp8",
            Self::Qwen32H100 => "qwen3-32b-h100-tp2",
            Self::Tiny => "tiny",
        }
    }

    /// The profile's data.
    ///
    /// # Errors
    /// None for the embedded files; a test loads each.
    pub fn load(self) -> Result<EngineProfile, ProfileError> {
        EngineProfile::from_json(match self {
            Self::Llama2H100 => include_str!("../../profiles/llama-2-7b-h100.json"),
            Self::Llama3H100 => include_str!("../../profiles/llama-3-8b-h100.json"),
            Self::Llama3A100 => include_str!("../../profiles/llama-3-8b-a100.json"),
            Self::Llama70H100 => include_str!("../../profiles/llama-2-70b-h100-tp8.json"),
            Self::Llama70A100 => include_str!("../../profiles/llama-2-70b-a100-tp8.json"),
            Self::Qwen32H100 => include_str!("../../profiles/qwen3-32b-h100-tp2.json"),
            Self::Tiny => include_str!("../../profiles/tiny.json"),
        })
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}
