//! OpenAI's `/v1/responses`: creation, streaming, and reading of stored responses.

mod object;

use http::Response;
use serde::Serialize;
use serde_json::Value;

use self::object::{OutputItem, OutputText, ResponseObject};
use super::fields::{Fields, invalid};
use super::generation::{Generation, ResponseHeader, requested_model};
use super::null_fields::Null;
use super::prompt::{chat_prompt, text_prompt};
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use super::stream::{self, Delta, EventFormat, Events, event, typed_event};
use crate::app::App;
use crate::error::{ApiError, ErrorType, Failure};
use crate::response::{ResponseBody, json, json_bytes, to_json};
use crate::stored_responses::{StoredResponse, StoredResponses};
use crate::text::{Finish, FinishReason, Output, Token, apply_chat_template};

const SAMPLING: SamplingFields =
    SamplingFields { max_tokens: &["max_output_tokens"], default_max_tokens: None, stop: "stop", n: false };

pub(crate) async fn create(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompt = response_prompt(app, &fields)?;
    let model = requested_model(app, &fields)?;
    let header = ResponseHeader::new(app, &fields, ("resp_", "response"), &request)?;
    let generation = Generation::start(app, &fields, &SAMPLING, &model, std::slice::from_ref(&prompt))?;
    let store = fields.get("store").and_then(Value::as_bool) != Some(false);
    let store = store.then(|| (app.stored_responses.clone(), prompt));
    let item_id = format!("msg_{}", app.new_id());
    let mut response =
        PendingResponse { object: ResponseObject::in_progress(header, &fields)?, item_id, store };
    if fields.flag("stream")? {
        let events = ResponseEvents { response, sequence_number: 0, text: String::new() };
        return Ok(stream::respond(request, generation, events));
    }
    generation.handle.finished().await;
    let finish = request.apply_fault().await?.unwrap_or(generation.finish());
    let counts = generation.final_counts();
    let item = OutputItem::completed(&response.item_id, generation.text());
    response.object.finish(finish.reason, item, &counts);
    response.store(generation.outputs.first());
    Ok(json(&response.object))
}

/// Reads a stored response.
pub(crate) fn get(app: &App, id: &str) -> Result<Response<ResponseBody>, Failure> {
    Ok(json_bytes(stored(app, id)?.json))
}

fn stored(app: &App, id: &str) -> Result<StoredResponse, ApiError> {
    let missing = || ApiError::new(ErrorType::NotFound, format!("Response with id '{id}' not found."));
    app.stored_responses.get(id).ok_or_else(missing)
}

/// The prompt: the stored response that `previous_response_id` continues, `instructions`, `input`.
fn response_prompt(app: &App, fields: &Fields) -> Result<Vec<Token>, ApiError> {
    let mut prompt = match fields.string("previous_response_id")? {
        Some(id) => stored(app, id)?.tokens,
        None => Vec::new(),
    };
    if let Some(instructions) = fields.string("instructions")? {
        apply_chat_template([("system", vec![instructions.into()])], &mut prompt);
    }
    match fields.require("input")? {
        Value::String(text) => apply_chat_template([("user", vec![text.into()])], &mut prompt),
        Value::Array(items) => {
            for item in items {
                // An item that is no message becomes part of the prompt as JSON.
                let is_message = item.get("role").is_some();
                let message = || chat_prompt(std::slice::from_ref(item));
                prompt.extend(if is_message { message()? } else { text_prompt(&item.to_string()) });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            let message = "Input should be a valid string or list";
            return Err(invalid("string_type", "body.input", message, "<other>"));
        }
    }
    Ok(prompt)
}

/// A response that is generated.
struct PendingResponse {
    object: ResponseObject,
    /// The id of its output item.
    item_id: String,
    /// The map in which the finished response is stored, and its prompt; `None` where `store` is false.
    store: Option<(StoredResponses, Vec<Token>)>,
}

impl PendingResponse {
    /// Stores the finished response, if the request asks for it.
    fn store(&mut self, output: Option<&Output>) {
        if let Some((stored, mut tokens)) = self.store.take() {
            tokens.extend(output.into_iter().flat_map(Output::token_ids));
            let json = to_json(&self.object);
            stored.insert(StoredResponse { id: self.object.id.clone(), json, tokens });
        }
    }
}

/// The events of a streamed response.
struct ResponseEvents {
    response: PendingResponse,
    sequence_number: u32,
    /// The text so far.
    text: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EventFields<'a> {
    Response { response: &'a ResponseObject },
    Item { output_index: u32, item: OutputItem },
    Part { item_id: &'a str, output_index: u32, content_index: u32, part: OutputText },
    Delta { item_id: &'a str, output_index: u32, content_index: u32, delta: &'a str, logprobs: [Null; 0] },
    Text { item_id: &'a str, output_index: u32, content_index: u32, text: &'a str, logprobs: [Null; 0] },
}

impl EventFormat for ResponseEvents {
    fn start(&mut self, _: &Generation, events: &mut Events) {
        let Self { response: PendingResponse { object, item_id, .. }, sequence_number, .. } = self;
        let mut push = |name, fields| push_event(name, fields, sequence_number, events);
        push("response.created", EventFields::Response { response: object });
        push("response.in_progress", EventFields::Response { response: object });
        let item = OutputItem::in_progress(item_id);
        push("response.output_item.added", EventFields::Item { output_index: 0, item });
        let mut part = OutputText::new(String::new());
        part.logprobs = Some([]);
        let part = EventFields::Part { item_id, output_index: 0, content_index: 0, part };
        push("response.content_part.added", part);
    }

    fn delta(&mut self, _: &Generation, delta: Delta<'_>, events: &mut Events) {
        self.text.push_str(delta.text);
        let fields = EventFields::Delta {
            item_id: &self.response.item_id,
            output_index: 0,
            content_index: 0,
            delta: delta.text,
            logprobs: [],
        };
        push_event("response.output_text.delta", fields, &mut self.sequence_number, events);
    }

    fn end(&mut self, generation: &Generation, sent: &[u32], finish: Finish<'_>, events: &mut Events) {
        let Self { response, sequence_number, text } = self;
        let item = OutputItem::completed(&response.item_id, text.clone());
        response.object.finish(finish.reason, item.clone(), &generation.counts(sent.iter().copied()));
        response.store(generation.outputs.first());
        let PendingResponse { object, item_id, .. } = response;
        let mut push = |name, fields| push_event(name, fields, sequence_number, events);
        let (output_index, content_index) = (0, 0);
        let done = EventFields::Text { item_id, output_index, content_index, text, logprobs: [] };
        push("response.output_text.done", done);
        let part = OutputText::new(text.clone());
        push("response.content_part.done", EventFields::Part { item_id, output_index, content_index, part });
        push("response.output_item.done", EventFields::Item { output_index, item });
        let name = match finish.reason {
            FinishReason::Stop => "response.completed",
            FinishReason::Length => "response.incomplete",
            FinishReason::Abort => "response.failed",
        };
        push(name, EventFields::Response { response: object });
    }

    fn error(&mut self, error: &ApiError, events: &mut Events) {
        events.push_back(event(Some("error"), &error.body()));
    }
}

fn push_event(name: &'static str, fields: EventFields<'_>, sequence_number: &mut u32, events: &mut Events) {
    events.push_back(typed_event(name, Some(*sequence_number), fields));
    *sequence_number += 1;
}
