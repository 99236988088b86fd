//! `/v1/chat/completions`.

use http::Response;
use serde::Serialize;

use super::Null;
use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, requested_model};
use super::openai::{ChunkFormat, FINGERPRINT, OpenAiUsage, StreamOptions, error_events};
use super::prompt::chat_prompt;
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use super::stream::{self, Delta, EventFormat, Events, event};
use crate::app::App;
use crate::error::{ApiError, Failure};
use crate::response::{ResponseBody, json};
use crate::text::{Finish, FinishReason, Output};

const SAMPLING: SamplingFields = SamplingFields {
    max_tokens: &["max_completion_tokens", "max_tokens"],
    default_max_tokens: None,
    stop: "stop",
    n: true,
};

pub(crate) async fn chat(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompt = chat_prompt(fields.list("messages")?)?;
    let model = requested_model(app, &fields)?;
    let header = ResponseHeader::new(app, &fields, "chatcmpl-", &request)?;
    let generation = Generation::start(app, &fields, &SAMPLING, &model, &[prompt])?;
    if fields.flag("stream")? {
        return Ok(stream::respond(request, generation, ChatEvents::new(header, &fields)?));
    }
    generation.handle().finished().await;
    let aborted = request.apply_fault().await?;
    Ok(json(&ChatCompletion::new(&header, &generation, aborted)))
}

#[derive(Serialize)]
struct ChatCompletion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChatChoice<'a>>,
    service_tier: Null,
    system_fingerprint: &'static str,
    usage: OpenAiUsage,
    prompt_logprobs: Null,
    prompt_token_ids: Null,
    prompt_text: Null,
    kv_transfer_params: Null,
    ec_transfer_params: Null,
    metrics: Null,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: usize,
    message: ChatMessage,
    logprobs: Null,
    finish_reason: FinishReason,
    stop_reason: Option<&'a str>,
    token_ids: Null,
    routed_experts: Null,
}

#[derive(Serialize)]
struct ChatMessage {
    role: &'static str,
    content: String,
    refusal: Null,
    annotations: Null,
    audio: Null,
    function_call: Null,
    reasoning: Null,
}

impl ChatMessage {
    fn assistant(content: String) -> Self {
        Self {
            role: "assistant",
            content,
            refusal: (),
            annotations: (),
            audio: (),
            function_call: (),
            reasoning: (),
        }
    }
}

impl<'a> ChatCompletion<'a> {
    fn new(header: &'a ResponseHeader, generation: &'a Generation, aborted: Option<Finish<'a>>) -> Self {
        let choice = |(index, output): (usize, &'a Output)| {
            let finish = aborted.unwrap_or(output.finish());
            ChatChoice {
                index,
                message: ChatMessage::assistant(output.text()),
                logprobs: (),
                finish_reason: finish.reason,
                stop_reason: finish.stop_reason,
                token_ids: (),
                routed_experts: (),
            }
        };
        Self {
            id: &header.id,
            object: "chat.completion",
            created: header.created,
            model: &header.model,
            choices: generation.outputs().iter().enumerate().map(choice).collect(),
            service_tier: (),
            system_fingerprint: FINGERPRINT,
            usage: OpenAiUsage::complete(&generation.final_counts(), true),
            prompt_logprobs: (),
            prompt_token_ids: (),
            prompt_text: (),
            kv_transfer_params: (),
            ec_transfer_params: (),
            metrics: (),
        }
    }
}

/// The events of a streamed chat completion.
struct ChatEvents(ChunkFormat);

/// A choice of a chunk. `None` leaves a field out; `stop_reason` is there with `finish_reason`.
#[derive(Serialize)]
struct ChatChunkChoice<'a> {
    index: usize,
    delta: ChatDelta<'a>,
    logprobs: Null,
    finish_reason: Option<FinishReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Null>,
}

#[derive(Serialize)]
struct ChatDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    content: &'a str,
}

impl ChatEvents {
    fn new(header: ResponseHeader, fields: &Fields) -> Result<Self, ApiError> {
        Ok(Self(ChunkFormat::new(header, true, StreamOptions::parse(fields)?)))
    }
}

impl EventFormat for ChatEvents {
    /// Each choice starts with its role and no text.
    fn start(&mut self, generation: &Generation, events: &mut Events) {
        for index in 0..generation.outputs().len() {
            let choice = ChatChunkChoice {
                index,
                delta: ChatDelta { role: Some("assistant"), content: "" },
                logprobs: (),
                finish_reason: None,
                stop_reason: None,
                token_ids: None,
            };
            let mut chunk = self.0.chunk(generation, choice, &[], false);
            (chunk.prompt_token_ids, chunk.prompt_text) = (Some(()), Some(()));
            events.push_back(event(None, &chunk));
        }
    }

    fn delta(&mut self, generation: &Generation, delta: Delta<'_>, events: &mut Events) {
        let choice = ChatChunkChoice {
            index: delta.choice,
            delta: ChatDelta { role: None, content: delta.text },
            logprobs: (),
            finish_reason: delta.finish.map(|finish| finish.reason),
            stop_reason: delta.finish.map(|finish| finish.stop_reason),
            token_ids: Some(()),
        };
        let chunk = self.0.chunk(generation, choice, delta.sent, delta.finish.is_some());
        events.push_back(event(None, &chunk));
    }

    fn end(&mut self, generation: &Generation, sent: &[u32], _: Finish<'_>, events: &mut Events) {
        self.0.end(generation, sent, events);
    }

    fn error(&mut self, error: &ApiError, events: &mut Events) {
        error_events(error, events);
    }
}
