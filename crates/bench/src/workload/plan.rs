//! The plan of a run: every request with its send time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::{GenerationApi, Prompt};

/// One request of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRequest {
    /// Send time since the start of the plan.
    pub at: Duration,
    /// The prompt.
    pub prompt: Prompt,
    /// The `max_tokens` of the request.
    pub max_tokens: u32,
    /// The model's name.
    pub model: Arc<str>,
    /// Whether to ask for a streamed response.
    pub stream: bool,
}

/// Requests with their send times; every arm replays the same plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The API of all requests.
    pub api: GenerationApi,
    /// Whether requests ask the engine to ignore its end-of-sequence token.
    pub ignore_eos: bool,
    /// Length of the arrival period.
    pub duration: Duration,
    /// The requests in order of time.
    pub requests: Vec<PlannedRequest>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[Message<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Plan {
    /// The JSON body of a request. Prompts of different salts share no prefix, so an engine's prefix cache does not carry
    /// over from one replay to the next.
    #[must_use]
    pub fn body(&self, request: &PlannedRequest, salt: u64) -> Bytes {
        let text = request.prompt.text(salt);
        let (messages, prompt) = match self.api {
            GenerationApi::ChatCompletions => (Some([Message { role: "user", content: &text }]), None),
            GenerationApi::Completions => (None, Some(text.as_str())),
        };
        let body = Body {
            model: &request.model,
            messages,
            prompt,
            max_tokens: request.max_tokens,
            stream: request.stream,
            stream_options: request.stream.then_some(StreamOptions { include_usage: true }),
            ignore_eos: self.ignore_eos.then_some(true),
        };
        // Strings, numbers and booleans always serialize.
        serde_json::to_vec(&body).map(Bytes::from).unwrap_or_default()
    }

    /// Splits the plan into windows of equal length, each a plan that starts at zero.
    #[must_use]
    pub fn slices(&self, count: usize) -> Vec<Self> {
        let count = count.max(1);
        let window = self.duration / u32::try_from(count).unwrap_or(u32::MAX);
        let empty = Self { requests: Vec::new(), duration: window, ..*self };
        let mut slices = vec![empty; count];
        for request in &self.requests {
            let position = request.at.as_nanos().checked_div(window.as_nanos()).unwrap_or(0);
            let index = usize::try_from(position).unwrap_or(usize::MAX).min(count - 1);
            if let Some(slice) = slices.get_mut(index) {
                let start = window * u32::try_from(index).unwrap_or(u32::MAX);
                slice
                    .requests
                    .push(PlannedRequest { at: request.at.saturating_sub(start), ..request.clone() });
            }
        }
        slices
    }
}
