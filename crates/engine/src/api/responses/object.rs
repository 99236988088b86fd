//! The response object and its parts, with vLLM's fields in vLLM's order.

use serde::Serialize;

use crate::api::fields::Fields;
use crate::api::generation::{ResponseHeader, TokenCounts};
use crate::api::null_fields::{Null, NullFields};
use crate::error::ApiError;
use crate::text::FinishReason;

/// A response: `in_progress` without output, then finished.
#[derive(Default, Serialize)]
pub(super) struct ResponseObject {
    pub(super) id: String,
    created_at: u64,
    incomplete_details: Option<IncompleteDetails>,
    instructions: Option<String>,
    metadata: Null,
    model: String,
    object: &'static str,
    output: Vec<OutputItem>,
    parallel_tool_calls: bool,
    temperature: f64,
    tool_choice: &'static str,
    tools: [Null; 0],
    top_p: f64,
    background: bool,
    max_output_tokens: Option<i64>,
    max_tool_calls: Null,
    previous_response_id: Option<String>,
    prompt: Null,
    reasoning: Null,
    service_tier: &'static str,
    status: &'static str,
    text: Null,
    top_logprobs: Null,
    truncation: &'static str,
    usage: Option<ResponseUsage>,
    user: Null,
    presence_penalty: f64,
    frequency_penalty: f64,
    #[serde(flatten)]
    nulls: NullFields,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

/// A message of the output.
#[derive(Clone, Serialize)]
pub(super) struct OutputItem {
    id: String,
    content: Vec<OutputText>,
    role: &'static str,
    status: &'static str,
    r#type: &'static str,
    phase: Null,
}

/// A content part of a message.
#[derive(Clone, Default, Serialize)]
pub(super) struct OutputText {
    annotations: [Null; 0],
    text: String,
    r#type: &'static str,
    pub(super) logprobs: Option<[Null; 0]>,
}

#[derive(Serialize)]
struct ResponseUsage {
    input_tokens: u32,
    input_tokens_details: InputTokensDetails,
    output_tokens: u32,
    output_tokens_details: OutputTokensDetails,
    total_tokens: u32,
}

#[derive(Default, Serialize)]
struct InputTokensDetails {
    cached_tokens: u32,
    cache_write_tokens: u32,
    input_tokens_per_turn: [Null; 0],
    cached_tokens_per_turn: [Null; 0],
}

#[derive(Default, Serialize)]
struct OutputTokensDetails {
    reasoning_tokens: u32,
    tool_output_tokens: u32,
    output_tokens_per_turn: [Null; 0],
    tool_output_tokens_per_turn: [Null; 0],
}

impl ResponseObject {
    /// The response to a request before its output.
    pub(super) fn in_progress(header: ResponseHeader, fields: &Fields) -> Result<Self, ApiError> {
        let string = |name: &str| Ok::<_, ApiError>(fields.string(name)?.map(str::to_owned));
        Ok(Self {
            id: header.id,
            created_at: header.created,
            instructions: string("instructions")?,
            model: header.model,
            object: header.object,
            parallel_tool_calls: true,
            temperature: fields.number("temperature")?.unwrap_or(1.0),
            tool_choice: "none",
            top_p: 1.0,
            max_output_tokens: fields.integer("max_output_tokens")?,
            previous_response_id: string("previous_response_id")?,
            service_tier: "auto",
            status: "in_progress",
            truncation: "disabled",
            nulls: NullFields(&[
                "kv_transfer_params",
                "ec_transfer_params",
                "input_messages",
                "output_messages",
            ]),
            ..Self::default()
        })
    }

    /// Adds output, status and usage.
    pub(super) fn finish(&mut self, reason: FinishReason, item: OutputItem, counts: &TokenCounts) {
        self.status = match reason {
            FinishReason::Stop => "completed",
            FinishReason::Length => {
                self.incomplete_details = Some(IncompleteDetails { reason: "max_output_tokens" });
                "incomplete"
            }
            FinishReason::Abort => "failed",
        };
        self.output = vec![item];
        self.usage = Some(ResponseUsage::of(counts));
    }
}

impl OutputItem {
    /// The message before its first token.
    pub(super) fn in_progress(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            content: Vec::new(),
            role: "assistant",
            status: "in_progress",
            r#type: "message",
            phase: (),
        }
    }

    /// The message with its whole text.
    pub(super) fn completed(id: &str, text: String) -> Self {
        Self { content: vec![OutputText::new(text)], status: "completed", ..Self::in_progress(id) }
    }
}

impl OutputText {
    pub(super) fn new(text: String) -> Self {
        Self { text, r#type: "output_text", ..Self::default() }
    }
}

impl ResponseUsage {
    fn of(counts: &TokenCounts) -> Self {
        Self {
            input_tokens: counts.prompt,
            input_tokens_details: InputTokensDetails {
                cached_tokens: counts.cached,
                cache_write_tokens: counts.newly_cached,
                ..InputTokensDetails::default()
            },
            output_tokens: counts.completion,
            output_tokens_details: OutputTokensDetails::default(),
            total_tokens: counts.total(),
        }
    }
}
