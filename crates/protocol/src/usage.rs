//! Token counts as engines report them.

use serde::Serialize;

use crate::lexer::Key;

/// Tokens of one request, in the sense of OpenAI's `usage`, whatever the API calls them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included. (Anthropic's `input_tokens` leaves them out; they are added.)
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Tokens of the prompt that came from the engine's prefix cache, where it says so.
    pub cached_tokens: Option<u64>,
}

/// Usage as it comes in, field by field, in whichever API's names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsageFields {
    prompt: Option<u64>,
    completion: Option<u64>,
    cached: Option<u64>,
    /// Anthropic counts these apart from `input_tokens`.
    cache_read: Option<u64>,
    cache_created: Option<u64>,
}

impl UsageFields {
    /// Takes in a field below a `usage` object; says whether it was one.
    pub(crate) fn note(&mut self, below_usage: &[Key], value: Option<u64>) -> bool {
        let field = match below_usage {
            [Key::PromptTokens | Key::InputTokens] => &mut self.prompt,
            [Key::CompletionTokens | Key::OutputTokens] => &mut self.completion,
            [Key::PromptTokensDetails | Key::InputTokensDetails, Key::CachedTokens] | [Key::CachedTokens] => {
                &mut self.cached
            }
            [Key::CacheReadInputTokens] => &mut self.cache_read,
            [Key::CacheCreationInputTokens] => &mut self.cache_created,
            _ => return false,
        };
        // A later report replaces an earlier one; a number out of range replaces nothing.
        *field = value.or(*field);
        value.is_some()
    }

    /// The counts so far; none before the first.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if self.prompt.is_none() && self.completion.is_none() {
            return None;
        }
        let apart = self.cache_read.unwrap_or(0).saturating_add(self.cache_created.unwrap_or(0));
        Some(Usage {
            prompt_tokens: self.prompt.unwrap_or(0).saturating_add(apart),
            completion_tokens: self.completion.unwrap_or(0),
            cached_tokens: self.cached.or(self.cache_read),
        })
    }
}
