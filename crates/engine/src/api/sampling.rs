//! Sampling parameters from request fields, with vLLM's range checks.

use super::fields::Fields;
use crate::error::ApiError;
use crate::text::SamplingParams;

/// The sampling fields of an API.
#[derive(Clone, Copy, Debug)]
pub(super) struct SamplingFields {
    /// Fields that limit the output tokens, the preferred one first.
    pub(super) max_tokens: &'static [&'static str],
    /// The limit where no field gives one; without it, the rest of the context length.
    pub(super) default_max_tokens: Option<u32>,
    /// The field with stop strings.
    pub(super) stop: &'static str,
    /// Whether `n` is supported.
    pub(super) n: bool,
}

impl SamplingFields {
    /// Reads and checks the parameters. `max_tokens` is at most `model_len`.
    pub(super) fn params(&self, fields: &Fields, model_len: u32) -> Result<SamplingParams, ApiError> {
        let max_tokens = self.max_tokens(fields, model_len)?;
        if let Some(temperature) = fields.number("temperature")?.filter(|temperature| *temperature < 0.0) {
            let value = format!("{temperature:?}");
            let message = format!("temperature must be non-negative, got {value}.");
            return Err(ApiError::parameter("temperature", value, message));
        }
        let min_tokens = fields.integer("min_tokens")?.unwrap_or(0).max(0);
        Ok(SamplingParams {
            max_tokens,
            min_tokens: u32::try_from(min_tokens).unwrap_or(max_tokens).min(max_tokens),
            ignore_eos: fields.flag("ignore_eos")?,
            stop: fields.strings(self.stop)?,
            seed: fields.integer("seed")?.unwrap_or(0).cast_unsigned(),
        })
    }

    /// Choices per prompt, at least 1.
    pub(super) fn choices(&self, fields: &Fields) -> Result<usize, ApiError> {
        let choices = if self.n { fields.integer("n")?.unwrap_or(1).max(1) } else { 1 };
        Ok(usize::try_from(choices).unwrap_or(usize::MAX))
    }

    fn max_tokens(&self, fields: &Fields, model_len: u32) -> Result<u32, ApiError> {
        for name in self.max_tokens {
            let Some(value) = fields.integer(name)? else { continue };
            if value < 1 {
                let message = format!("{name} must be at least 1, got {value}.");
                return Err(ApiError::parameter(name, value, message));
            }
            return u32::try_from(value).ok().filter(|value| *value <= model_len).ok_or_else(|| {
                let message = format!(
                    "{name}={value} cannot be greater than max_model_len={model_len}. Please request fewer output \
                     tokens."
                );
                ApiError::parameter(name, value, message)
            });
        }
        Ok(self.default_max_tokens.unwrap_or(model_len))
    }
}
