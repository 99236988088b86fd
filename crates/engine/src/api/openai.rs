//! Types that OpenAI's completions and chat completions share.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::Null;
use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, TokenCounts};
use super::stream::{Events, event};
use crate::error::ApiError;

/// vLLM's `system_fingerprint`: its version and a digest of its settings.
pub(super) const FINGERPRINT: &str = "vllm-0.32.0-00000000";

/// The last event of a stream.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The `stream_options` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamOptions {
    /// Whether a last chunk has the token counts.
    include_usage: bool,
    /// Whether every chunk has the token counts so far.
    continuous_usage: bool,
}

impl StreamOptions {
    pub(super) fn parse(fields: &Fields) -> Result<Self, ApiError> {
        let options = fields.object("stream_options")?;
        let flag =
            |name: &str| options.and_then(|options| options.get(name)).and_then(Value::as_bool) == Some(true);
        let include_usage = flag("include_usage");
        Ok(Self { include_usage, continuous_usage: include_usage && flag("continuous_usage_stats") })
    }
}

/// The `usage` object. The outer `None` of a field leaves it out, the inner one writes `null`.
#[derive(Serialize)]
pub(super) struct OpenAiUsage {
    prompt_tokens: u32,
    total_tokens: u32,
    completion_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptTokensDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<Null>,
}

#[derive(Serialize)]
struct PromptTokensDetails {
    cached_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_cache_tokens: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multimodal_tokens: Option<Null>,
}

impl OpenAiUsage {
    /// The usage of a non-streaming response. vLLM counts newly cached tokens for chat completions alone.
    pub(super) fn complete(counts: &TokenCounts, chat: bool) -> Self {
        let details = PromptTokensDetails {
            cached_tokens: counts.cached,
            created_cache_tokens: Some(chat.then_some(counts.newly_cached)),
            multimodal_tokens: Some(()),
        };
        let totals = Self::totals(counts);
        Self { prompt_tokens_details: Some(details), completion_tokens_details: Some(()), ..totals }
    }

    /// The usage of a stream's last chunk.
    fn last_chunk(counts: &TokenCounts, chat: bool) -> Self {
        let details = PromptTokensDetails {
            cached_tokens: counts.cached,
            created_cache_tokens: chat.then_some(Some(counts.newly_cached)),
            multimodal_tokens: None,
        };
        Self { prompt_tokens_details: Some(details), ..Self::totals(counts) }
    }

    fn totals(counts: &TokenCounts) -> Self {
        Self {
            prompt_tokens: counts.prompt,
            total_tokens: counts.total(),
            completion_tokens: counts.completion,
            prompt_tokens_details: None,
            completion_tokens_details: None,
        }
    }
}

/// The fields that the chunks of a stream have in common.
#[derive(Debug)]
pub(super) struct ChunkFormat {
    header: ResponseHeader,
    chat: bool,
    options: StreamOptions,
}

/// One chunk; `L` is the list of its choices.
#[derive(Serialize)]
pub(super) struct Chunk<'a, L> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: L,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_token_ids: Option<Null>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_text: Option<Null>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<OpenAiUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'static str>,
}

impl ChunkFormat {
    pub(super) fn new(header: ResponseHeader, chat: bool, options: StreamOptions) -> Self {
        Self { header, chat, options }
    }

    /// A chunk with one choice, after `sent` tokens of each choice.
    pub(super) fn chunk<C>(
        &self,
        generation: &Generation,
        choice: C,
        sent: &[u32],
        finished: bool,
    ) -> Chunk<'_, [C; 1]> {
        let counts = || OpenAiUsage::totals(&generation.counts(sent.iter().copied()));
        Chunk {
            usage: self.options.continuous_usage.then(counts),
            system_fingerprint: (finished && !self.options.include_usage).then_some(FINGERPRINT),
            ..self.with_choices([choice])
        }
    }

    /// Appends the chunk with the token counts, if it is requested, and the end of the stream.
    pub(super) fn end(&self, generation: &Generation, sent: &[u32], events: &mut Events) {
        if self.options.include_usage {
            let counts = generation.counts(sent.iter().copied());
            let chunk = Chunk {
                usage: Some(OpenAiUsage::last_chunk(&counts, self.chat)),
                system_fingerprint: Some(FINGERPRINT),
                ..self.with_choices::<[Null; 0]>([])
            };
            events.push_back(event(None, &chunk));
        }
        events.push_back(DONE);
    }

    fn with_choices<L>(&self, choices: L) -> Chunk<'_, L> {
        let ResponseHeader { id, created, model } = &self.header;
        let object = if self.chat { "chat.completion.chunk" } else { "text_completion" };
        let (prompt_token_ids, prompt_text, usage, system_fingerprint) = (None, None, None, None);
        Chunk {
            id,
            object,
            created: *created,
            model,
            choices,
            prompt_token_ids,
            prompt_text,
            usage,
            system_fingerprint,
        }
    }
}

/// Appends the end of a stream on an error of the engine.
pub(super) fn error_events(error: &ApiError, events: &mut Events) {
    events.push_back(event(None, &error.body()));
    events.push_back(DONE);
}
