use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::{GenerationApi, Prompt};

/// One request of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRequest {
    /// When to send it, counted from the plan's start.
    pub at: Duration,
    /// What to ask.
    pub prompt: Prompt,
    /// How many tokens to ask for.
    pub max_tokens: u32,
    /// Which model to ask.
    pub model: Arc<str>,
    /// Whether to ask for a stream.
    pub stream: bool,
}

/// What is sent, when: the same for every arm that replays it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The API that all requests speak.
    pub api: GenerationApi,
    /// Whether requests ask the engine to ignore its end-of-sequence token.
    pub ignore_eos: bool,
    /// For how long requests arrive.
    pub duration: Duration,
    /// The requests, by time.
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
    /// The JSON body of one request. Requests of different salts share no prompt prefix, whatever
    /// their plan says, so an engine's prefix cache cannot carry over from one replay to the next.
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
        // Strings, numbers and booleans always serialise.
        serde_json::to_vec(&body).map(Bytes::from).unwrap_or_default()
    }

    /// Cuts the plan into windows of equal length, each a plan that starts at zero.
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
