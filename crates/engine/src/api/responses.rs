//! OpenAI's `/v1/responses`: create, stream, and get again what was stored.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::Fields;
use super::chat::conversation;
use super::completions::text_prompt;
use super::fields::invalid;
use super::generation::{Dialect, Generation, Header, Prompt, Usage, header};
use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, ErrorType, Reply, json, quoted};
use crate::stored::{StoredResponse, StoredResponses};
use crate::stream::{Delta, Finish, Grammar};
use crate::text::{Answer, Role, flatten_messages};

const DIALECT: Dialect =
    Dialect { max_tokens: &["max_output_tokens"], default_max_tokens: None, stop: "stop", choices: false };

pub(crate) async fn create(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompt = prompt_of(app, &fields)?;
    let model = app.model(&fields)?;
    let header = header(app, &fields, "resp_", call.request_id())?;
    let keeps = fields.get("store").and_then(Value::as_bool) != Some(false);
    let keeper = keeps.then(|| Keeper { stored: app.stored.clone(), prompt: prompt.clone() });
    let generation = Generation::start(app, &fields, &model, &[prompt], &DIALECT)?;
    let parts = ResponseParts::of(&fields, header, format!("msg_{}", app.draw_id()))?;
    if fields.flag("stream")? {
        let events = ResponseEvents { parts, keeper, number: 0, text: String::new() };
        return Ok(call.stream(generation, Grammar::Response(events)));
    }
    generation.ticket().finished().await;
    let answer = generation.answers().first();
    let finish = answer.map_or(Finish::Stop, |answer| Finish::of(&answer.ending));
    let text = answer.map(Answer::text).unwrap_or_default();
    let usage = generation.final_usage();
    call.whole(|aborted| {
        let whole = parts.whole(&text, aborted.unwrap_or(finish), &usage);
        if let Some(keeper) = keeper {
            keeper.keep(&parts.header, &whole, answer);
        }
        json(whole)
    })
    .await
}

/// Where a response goes that is to be stored, and what its prompt was.
struct Keeper {
    stored: StoredResponses,
    prompt: Prompt,
}

impl Keeper {
    fn keep(self, header: &Header, json: &str, answer: Option<&Answer>) {
        let mut tokens = self.prompt;
        if let Some(answer) = answer {
            tokens.0.extend((0..answer.tokens).map(|position| answer.token(position)));
        }
        let id = serde_json::from_str(&header.id).unwrap_or_default();
        self.stored.put(StoredResponse { id, json: json.to_owned(), tokens });
    }
}

/// Gets a stored response.
pub(crate) fn get(app: &App, id: &str) -> Result<Response<Reply>, Failure> {
    Ok(json(stored(app, id)?.json))
}

fn stored(app: &App, id: &str) -> Result<StoredResponse, ApiError> {
    let missing = || ApiError::new(ErrorType::NotFound, format!("Response with id '{id}' not found."));
    app.stored.get(id).ok_or_else(missing)
}

fn prompt_of(app: &App, fields: &Fields) -> Result<Prompt, ApiError> {
    let mut prompt = match fields.text("previous_response_id")? {
        Some(id) => stored(app, id)?.tokens,
        None => Prompt::default(),
    };
    if let Some(instructions) = fields.text("instructions")? {
        flatten_messages([(Role::System, vec![instructions])], &mut prompt.0);
    }
    match fields.require("input")? {
        Value::String(text) => flatten_messages([(Role::User, vec![text.as_str()])], &mut prompt.0),
        Value::Array(items) => prompt.0.extend(conversation_items(items)?.0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err(invalid(
                "string_type",
                "body.input",
                "Input should be a valid string or list",
                "<other>",
            ));
        }
    }
    Ok(prompt)
}

/// Items of the input: messages, and whatever else stands for itself as JSON.
fn conversation_items(items: &[Value]) -> Result<Prompt, ApiError> {
    let mut prompt = Prompt::default();
    for item in items {
        let part = if item.get("role").is_some() {
            conversation(std::slice::from_ref(item))?
        } else {
            text_prompt(&item.to_string())
        };
        prompt.0.extend(part.0);
    }
    Ok(prompt)
}

/// What a response repeats of its request.
struct ResponseParts {
    header: Header,
    message_id: String,
    instructions: String,
    temperature: f64,
    max_output_tokens: String,
    previous: String,
}

impl ResponseParts {
    fn of(fields: &Fields, header: Header, message_id: String) -> Result<Self, ApiError> {
        let or_null = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), quoted);
        let limit = fields.integer("max_output_tokens")?;
        Ok(Self {
            header,
            message_id,
            instructions: or_null(fields.text("instructions")?),
            temperature: fields.number("temperature")?.unwrap_or(1.0),
            max_output_tokens: limit.map_or_else(|| "null".to_owned(), |limit| limit.to_string()),
            previous: or_null(fields.text("previous_response_id")?),
        })
    }

    /// The response object, before (`in_progress`) and after its answer.
    fn object(&self, status: &str, details: &str, output: &str, usage: &str) -> String {
        let Header { id, created, model } = &self.header;
        let Self { instructions, temperature, max_output_tokens, previous, .. } = self;
        format!(
            r#"{{"id":{id},"created_at":{created},"incomplete_details":{details},"instructions":{instructions},"metadata":null,"model":{model},"object":"response","output":[{output}],"parallel_tool_calls":true,"temperature":{temperature:?},"tool_choice":"none","tools":[],"top_p":1.0,"background":false,"max_output_tokens":{max_output_tokens},"max_tool_calls":null,"previous_response_id":{previous},"prompt":null,"reasoning":null,"service_tier":"auto","status":"{status}","text":null,"top_logprobs":null,"truncation":"disabled","usage":{usage},"user":null,"presence_penalty":0.0,"frequency_penalty":0.0,"kv_transfer_params":null,"ec_transfer_params":null,"input_messages":null,"output_messages":null}}"#
        )
    }

    fn whole(&self, text: &str, finish: Finish<'_>, usage: &Usage) -> String {
        let (status, details) = match finish {
            Finish::Stop | Finish::StopString(_) => ("completed", "null"),
            Finish::Length => ("incomplete", r#"{"reason":"max_output_tokens"}"#),
            Finish::Abort => ("failed", "null"),
        };
        self.object(status, details, &self.message(text), &usage_of(usage))
    }

    fn message(&self, text: &str) -> String {
        let (id, text) = (&self.message_id, quoted(text));
        format!(
            r#"{{"id":"{id}","content":[{{"annotations":[],"text":{text},"type":"output_text","logprobs":null}}],"role":"assistant","status":"completed","type":"message","phase":null}}"#
        )
    }
}

fn usage_of(usage: &Usage) -> String {
    let Usage { prompt_tokens, completion_tokens, cached_tokens, created_cache_tokens } = *usage;
    let total = usage.total_tokens();
    format!(
        r#"{{"input_tokens":{prompt_tokens},"input_tokens_details":{{"cached_tokens":{cached_tokens},"cache_write_tokens":{created_cache_tokens},"input_tokens_per_turn":[],"cached_tokens_per_turn":[]}},"output_tokens":{completion_tokens},"output_tokens_details":{{"reasoning_tokens":0,"tool_output_tokens":0,"output_tokens_per_turn":[],"tool_output_tokens_per_turn":[]}},"total_tokens":{total}}}"#
    )
}

/// The events of a streamed response.
pub(crate) struct ResponseEvents {
    parts: ResponseParts,
    keeper: Option<Keeper>,
    /// The number of the next event.
    number: u32,
    text: String,
}

impl ResponseEvents {
    /// One event: its fields come after its type and number.
    fn event(&mut self, name: &str, fields: &str) -> Bytes {
        let number = self.number;
        self.number += 1;
        format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{fields}}}\n\n")
            .into()
    }

    pub(crate) fn head(&mut self, to: &mut VecDeque<Bytes>) {
        let response = format!(r#""response":{}"#, self.parts.object("in_progress", "null", "", "null"));
        let id = self.parts.message_id.clone();
        to.push_back(self.event("response.created", &response));
        to.push_back(self.event("response.in_progress", &response));
        let item = format!(
            r#""output_index":0,"item":{{"id":"{id}","content":[],"role":"assistant","status":"in_progress","type":"message","phase":null}}"#
        );
        to.push_back(self.event("response.output_item.added", &item));
        let part = format!(
            r#""item_id":"{id}","output_index":0,"content_index":0,"part":{{"annotations":[],"text":"","type":"output_text","logprobs":[]}}"#
        );
        to.push_back(self.event("response.content_part.added", &part));
    }

    pub(crate) fn delta(&mut self, delta: Delta<'_>) -> Bytes {
        // The text is ASCII that needs no escaping.
        let text = String::from_utf8_lossy(delta.text);
        self.text.push_str(&text);
        let id = &self.parts.message_id;
        let fields =
            format!(r#""item_id":"{id}","output_index":0,"content_index":0,"delta":"{text}","logprobs":[]"#);
        self.event("response.output_text.delta", &fields)
    }

    pub(crate) fn tail(
        &mut self,
        generation: &Generation,
        sent: &[u32],
        finish: Finish<'_>,
        to: &mut VecDeque<Bytes>,
    ) {
        let (id, text) = (self.parts.message_id.clone(), quoted(&self.text));
        let place = format!(r#""item_id":"{id}","output_index":0,"content_index":0"#);
        to.push_back(
            self.event("response.output_text.done", &format!(r#"{place},"text":{text},"logprobs":[]"#)),
        );
        let part = format!(
            r#"{place},"part":{{"annotations":[],"text":{text},"type":"output_text","logprobs":null}}"#
        );
        to.push_back(self.event("response.content_part.done", &part));
        let item = format!(r#""output_index":0,"item":{}"#, self.parts.message(&self.text));
        to.push_back(self.event("response.output_item.done", &item));
        let usage = generation.usage(sent.iter().copied());
        let whole = self.parts.whole(&self.text, finish, &usage);
        if let Some(keeper) = self.keeper.take() {
            keeper.keep(&self.parts.header, &whole, generation.answers().first());
        }
        let response = format!(r#""response":{whole}"#);
        let name = match finish {
            Finish::Stop | Finish::StopString(_) => "response.completed",
            Finish::Length => "response.incomplete",
            Finish::Abort => "response.failed",
        };
        to.push_back(self.event(name, &response));
    }
}
