//! Anthropic's `/v1/messages` and `/v1/messages/count_tokens`.

use http::Response;
use serde::Serialize;
use serde_json::Value;

use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, TokenCounts, requested_model};
use super::prompt::chat_prompt;
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use super::stream::{self, Delta, EventFormat, Events, typed_event};
use crate::app::App;
use crate::error::{ApiError, Failure};
use crate::response::{ResponseBody, json};
use crate::text::{Finish, FinishReason, Token};

const SAMPLING: SamplingFields = SamplingFields {
    max_tokens: &["max_tokens"],
    default_max_tokens: None,
    stop: "stop_sequences",
    n: false,
};

pub(crate) async fn create(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    fields.require("max_tokens")?;
    let prompt = message_prompt(&fields)?;
    let model = requested_model(app, &fields)?;
    let header = ResponseHeader::new(app, &fields, ("chatcmpl-", "message"), &request)?;
    let generation = Generation::start(app, &fields, &SAMPLING, &model, &[prompt])?;
    if fields.flag("stream")? {
        return Ok(stream::respond(request, generation, MessageEvents(header)));
    }
    generation.handle.finished().await;
    let finish = request.apply_fault().await?.unwrap_or(generation.finish());
    let text = generation.text();
    Ok(json(&Message {
        content: &[ContentBlock { r#type: "text", text: &text }],
        stop_reason: Some(stop_reason(finish)),
        stop_sequence: finish.stop_reason.map(Some),
        usage: MessageUsage::of(&generation.final_counts()),
        ..Message::empty(&header)
    }))
}

pub(crate) fn count_tokens(app: &App, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompt = message_prompt(&fields)?;
    requested_model(app, &fields)?;
    Ok(json(&serde_json::json!({"input_tokens": prompt.len()})))
}

/// The prompt of the messages, with `system` as the first of them.
fn message_prompt(fields: &Fields) -> Result<Vec<Token>, ApiError> {
    let messages = fields.list("messages")?;
    let Some(system) = fields.get("system") else { return chat_prompt(messages) };
    let system = serde_json::json!({"role": "system", "content": system});
    let all: Vec<Value> = std::iter::once(system).chain(messages.iter().cloned()).collect();
    chat_prompt(&all)
}

/// Anthropic's `stop_reason`.
fn stop_reason(finish: Finish<'_>) -> &'static str {
    match finish.reason {
        FinishReason::Stop if finish.stop_reason.is_some() => "stop_sequence",
        FinishReason::Stop | FinishReason::Abort => "end_turn",
        FinishReason::Length => "max_tokens",
    }
}

/// A message: complete, or the empty one with which a stream starts.
#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    content: &'a [ContentBlock<'a>],
    model: &'a str,
    stop_reason: Option<&'static str>,
    /// A complete message leaves it out where no stop sequence was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sequence: Option<Option<&'a str>>,
    usage: MessageUsage,
}

impl<'a> Message<'a> {
    fn empty(header: &'a ResponseHeader) -> Self {
        Self {
            id: &header.id,
            r#type: "message",
            role: "assistant",
            content: &[],
            model: &header.model,
            stop_reason: None,
            stop_sequence: Some(None),
            usage: MessageUsage { input_tokens: 0, output_tokens: 0, cache: None },
        }
    }
}

#[derive(Serialize)]
struct ContentBlock<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct MessageUsage {
    /// Prompt tokens, less those that `cache` counts.
    input_tokens: u32,
    output_tokens: u32,
    #[serde(flatten)]
    cache: Option<CacheUsage>,
}

#[derive(Serialize)]
struct CacheUsage {
    cache_creation_input_tokens: u32,
    cache_read_input_tokens: u32,
}

impl MessageUsage {
    fn of(counts: &TokenCounts) -> Self {
        let cache = CacheUsage {
            cache_creation_input_tokens: counts.newly_cached,
            cache_read_input_tokens: counts.cached,
        };
        Self {
            input_tokens: counts.prompt - counts.newly_cached - counts.cached,
            output_tokens: counts.completion,
            cache: Some(cache),
        }
    }
}

/// The events of a streamed message.
struct MessageEvents(ResponseHeader);

/// The data of an event after its type.
#[derive(Serialize)]
#[serde(untagged)]
enum MessageEvent<'a> {
    Start { message: Message<'a> },
    BlockStart { content_block: ContentBlock<'a>, index: u32 },
    BlockDelta { delta: ContentBlock<'a>, index: u32 },
    BlockStop { index: u32 },
    Delta { delta: StopDelta<'a>, usage: MessageUsage },
    Stop {},
    Error { error: MessageError<'a> },
}

#[derive(Serialize)]
struct StopDelta<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
struct MessageError<'a> {
    r#type: &'static str,
    message: &'a str,
}

impl EventFormat for MessageEvents {
    fn start(&mut self, generation: &Generation, events: &mut Events) {
        let mut message = Message::empty(&self.0);
        message.usage.input_tokens = generation.counts([]).prompt;
        push(events, "message_start", MessageEvent::Start { message });
        let content_block = ContentBlock { r#type: "text", text: "" };
        push(events, "content_block_start", MessageEvent::BlockStart { content_block, index: 0 });
    }

    fn delta(&mut self, _: &Generation, delta: Delta<'_>, events: &mut Events) {
        let delta = ContentBlock { r#type: "text_delta", text: delta.text };
        push(events, "content_block_delta", MessageEvent::BlockDelta { delta, index: 0 });
    }

    fn end(&mut self, generation: &Generation, sent: &[u32], finish: Finish<'_>, events: &mut Events) {
        push(events, "content_block_stop", MessageEvent::BlockStop { index: 0 });
        let usage = MessageUsage::of(&generation.counts(sent.iter().copied()));
        let delta = StopDelta { stop_reason: stop_reason(finish), stop_sequence: finish.stop_reason };
        push(events, "message_delta", MessageEvent::Delta { delta, usage });
        push(events, "message_stop", MessageEvent::Stop {});
    }

    fn error(&mut self, error: &ApiError, events: &mut Events) {
        let error = MessageError { r#type: "api_error", message: &error.message };
        push(events, "error", MessageEvent::Error { error });
    }
}

fn push(events: &mut Events, name: &str, fields: MessageEvent<'_>) {
    events.push_back(typed_event(name, None, fields));
}
