//! Non-streaming completions and chat completions.

use std::borrow::Cow;

use serde::Serialize;

use super::CompletionApi;
use crate::api::generation::{Generation, ResponseHeader, TokenCounts};
use crate::api::null_fields::{Null, NullFields};
use crate::text::{Finish, FinishReason, Output};

/// vLLM's `system_fingerprint`: its version and a digest of its settings.
pub(super) const FINGERPRINT: &str = "vllm-0.32.0-00000000";

/// A non-streaming response.
#[derive(Serialize)]
pub(super) struct Completion<'a> {
    #[serde(flatten)]
    header: &'a ResponseHeader,
    choices: Vec<Choice<'a>>,
    service_tier: Null,
    system_fingerprint: &'static str,
    usage: CompletionUsage,
    #[serde(flatten)]
    nulls: NullFields,
}

/// A choice of a response or of a chunk.
#[derive(Serialize)]
pub(super) struct Choice<'a> {
    pub(super) index: usize,
    #[serde(flatten)]
    pub(super) content: Content<'a>,
    pub(super) logprobs: Null,
    pub(super) finish_reason: Option<FinishReason>,
    /// The outer `None` omits the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<Option<&'a str>>,
    #[serde(flatten)]
    pub(super) nulls: NullFields,
}

/// The text of a choice, in the field of the API.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text { text: Cow<'a, str> },
    Message { message: Message },
    Delta { delta: MessageDelta<'a> },
}

#[derive(Serialize)]
pub(super) struct Message {
    role: &'static str,
    content: String,
    #[serde(flatten)]
    nulls: NullFields,
}

#[derive(Serialize)]
pub(super) struct MessageDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    pub(super) content: &'a str,
}

impl<'a> Completion<'a> {
    /// The response to a finished generation. `aborted` replaces the finish of every choice.
    pub(super) fn new(
        api: CompletionApi,
        header: &'a ResponseHeader,
        generation: &'a Generation,
        aborted: Option<Finish<'a>>,
    ) -> Self {
        const NULLS: &[&str] = &["kv_transfer_params", "ec_transfer_params", "metrics"];
        const CHAT_NULLS: &[&str] = &[
            "prompt_logprobs",
            "prompt_token_ids",
            "prompt_text",
            "kv_transfer_params",
            "ec_transfer_params",
            "metrics",
        ];
        let nulls = match api {
            CompletionApi::Completions => NULLS,
            CompletionApi::Chat => CHAT_NULLS,
        };
        let choices = generation.outputs.iter().enumerate();
        Self {
            header,
            choices: choices.map(|(index, output)| Choice::new(api, index, output, aborted)).collect(),
            service_tier: (),
            system_fingerprint: FINGERPRINT,
            usage: CompletionUsage::detailed(&generation.final_counts(), api, false),
            nulls: NullFields(nulls),
        }
    }
}

impl<'a> Choice<'a> {
    fn new(api: CompletionApi, index: usize, output: &'a Output, aborted: Option<Finish<'a>>) -> Self {
        const NULLS: &[&str] = &["token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts"];
        const MESSAGE_NULLS: &[&str] = &["refusal", "annotations", "audio", "function_call", "reasoning"];
        let (content, nulls) = match api {
            CompletionApi::Completions => (Content::Text { text: output.text().into() }, NULLS),
            CompletionApi::Chat => {
                let nulls = NullFields(MESSAGE_NULLS);
                let message = Message { role: "assistant", content: output.text(), nulls };
                (Content::Message { message }, &["token_ids", "routed_experts"][..])
            }
        };
        let finish = aborted.unwrap_or(output.finish());
        let (finish_reason, stop_reason) = (Some(finish.reason), Some(finish.stop_reason));
        Self { index, content, logprobs: (), finish_reason, stop_reason, nulls: NullFields(nulls) }
    }
}

/// The `usage` object. The outer `None` of a field omits it, the inner one writes `null`.
#[derive(Serialize)]
pub(super) struct CompletionUsage {
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

impl CompletionUsage {
    /// The usage of a non-streaming response, or of the last chunk of a stream, which has no `null` fields. vLLM counts
    /// newly cached tokens for chat completions alone.
    pub(super) fn detailed(counts: &TokenCounts, api: CompletionApi, streaming: bool) -> Self {
        let created = (api == CompletionApi::Chat).then_some(counts.newly_cached);
        let details = PromptTokensDetails {
            cached_tokens: counts.cached,
            created_cache_tokens: if streaming { created.map(Some) } else { Some(created) },
            multimodal_tokens: (!streaming).then_some(()),
        };
        let completion_tokens_details = (!streaming).then_some(());
        Self { prompt_tokens_details: Some(details), completion_tokens_details, ..Self::totals(counts) }
    }

    pub(super) fn totals(counts: &TokenCounts) -> Self {
        Self {
            prompt_tokens: counts.prompt,
            total_tokens: counts.total(),
            completion_tokens: counts.completion,
            prompt_tokens_details: None,
            completion_tokens_details: None,
        }
    }
}
