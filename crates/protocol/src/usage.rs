//! Token counts that engines report.

use serde::Serialize;

use crate::lexer::Key;

/// Token counts of one request with the meaning of OpenAI's `usage`, for every API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included. (Anthropic's `input_tokens` excludes them; they are added.)
    pub prompt_tokens: u64,
    /// Output tokens.
    pub completion_tokens: u64,
    /// Prompt tokens found in the engine's prefix cache, where the engine reports them.
    pub cached_tokens: Option<u64>,
}

/// The fields of a `usage` object as they are parsed, under any of the APIs' names.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsageFields {
    prompt: Option<u64>,
    completion: Option<u64>,
    cached: Option<u64>,
    /// Anthropic's `input_tokens` excludes this and the next field.
    cache_read: Option<u64>,
    cache_created: Option<u64>,
}

impl UsageFields {
    /// Stores a number at this path below a `usage` object. Returns whether it is a token count.
    pub(crate) fn store(&mut self, below_usage: &[Key], value: Option<u64>) -> bool {
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
        // A later count replaces an earlier one, unless it is out of range.
        *field = value.or(*field);
        value.is_some()
    }

    /// The counts so far; `None` before the first.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if self.prompt.is_none() && self.completion.is_none() {
            return None;
        }
        let cached_input = self.cache_read.unwrap_or(0).saturating_add(self.cache_created.unwrap_or(0));
        Some(Usage {
            prompt_tokens: self.prompt.unwrap_or(0).saturating_add(cached_input),
            completion_tokens: self.completion.unwrap_or(0),
            cached_tokens: self.cached.or(self.cache_read),
        })
    }
}
