//! `/v1/completions`.

use http::Response;
use serde::Serialize;

use super::Null;
use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, requested_model};
use super::openai::{ChunkFormat, FINGERPRINT, OpenAiUsage, StreamOptions, error_events};
use super::prompt::prompts;
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use super::stream::{self, Delta, EventFormat, Events, event};
use crate::app::App;
use crate::error::{ApiError, Failure};
use crate::response::{ResponseBody, json};
use crate::text::{Finish, FinishReason, Output};

/// Sixteen tokens are OpenAI's default length of a completion.
const SAMPLING: SamplingFields =
    SamplingFields { max_tokens: &["max_tokens"], default_max_tokens: Some(16), stop: "stop", n: true };

pub(crate) async fn complete(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompts = prompts(fields.require("prompt")?, "body.prompt")?;
    let model = requested_model(app, &fields)?;
    let header = ResponseHeader::new(app, &fields, "cmpl-", &request)?;
    let generation = Generation::start(app, &fields, &SAMPLING, &model, &prompts)?;
    if fields.flag("stream")? {
        return Ok(stream::respond(request, generation, CompletionEvents::new(header, &fields)?));
    }
    generation.handle().finished().await;
    let aborted = request.apply_fault().await?;
    Ok(json(&Completion::new(&header, &generation, aborted)))
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<CompletionChoice<'a>>,
    service_tier: Null,
    system_fingerprint: &'static str,
    usage: OpenAiUsage,
    kv_transfer_params: Null,
    ec_transfer_params: Null,
    metrics: Null,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: usize,
    text: String,
    logprobs: Null,
    finish_reason: FinishReason,
    stop_reason: Option<&'a str>,
    token_ids: Null,
    prompt_logprobs: Null,
    prompt_token_ids: Null,
    routed_experts: Null,
}

impl<'a> Completion<'a> {
    fn new(header: &'a ResponseHeader, generation: &'a Generation, aborted: Option<Finish<'a>>) -> Self {
        let choice = |(index, output): (usize, &'a Output)| {
            let finish = aborted.unwrap_or(output.finish());
            CompletionChoice {
                index,
                text: output.text(),
                logprobs: (),
                finish_reason: finish.reason,
                stop_reason: finish.stop_reason,
                token_ids: (),
                prompt_logprobs: (),
                prompt_token_ids: (),
                routed_experts: (),
            }
        };
        Self {
            id: &header.id,
            object: "text_completion",
            created: header.created,
            model: &header.model,
            choices: generation.outputs().iter().enumerate().map(choice).collect(),
            service_tier: (),
            system_fingerprint: FINGERPRINT,
            usage: OpenAiUsage::complete(&generation.final_counts(), false),
            kv_transfer_params: (),
            ec_transfer_params: (),
            metrics: (),
        }
    }
}

/// The events of a streamed completion.
struct CompletionEvents(ChunkFormat);

#[derive(Serialize)]
struct CompletionChunkChoice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Null,
    finish_reason: Option<FinishReason>,
    stop_reason: Option<&'a str>,
    prompt_token_ids: Null,
    token_ids: Null,
}

impl CompletionEvents {
    fn new(header: ResponseHeader, fields: &Fields) -> Result<Self, ApiError> {
        Ok(Self(ChunkFormat::new(header, false, StreamOptions::parse(fields)?)))
    }
}

impl EventFormat for CompletionEvents {
    fn start(&mut self, _: &Generation, _: &mut Events) {}

    fn delta(&mut self, generation: &Generation, delta: Delta<'_>, events: &mut Events) {
        let choice = CompletionChunkChoice {
            index: delta.choice,
            text: delta.text,
            logprobs: (),
            finish_reason: delta.finish.map(|finish| finish.reason),
            stop_reason: delta.finish.and_then(|finish| finish.stop_reason),
            prompt_token_ids: (),
            token_ids: (),
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
