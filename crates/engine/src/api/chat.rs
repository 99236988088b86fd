//! `/v1/chat/completions`.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::FINGERPRINT;
use super::completions::{StreamOptions, finish_fields, whole_usage};
use super::fields::invalid;
use super::generation::{Dialect, Generation, Header, Prompt, Usage, header};
use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, Reply, json, quoted};
use crate::stream::{DONE, Delta, Finish, Grammar};
use crate::text::{Role, flatten_messages};

const DIALECT: Dialect = Dialect {
    max_tokens: &["max_completion_tokens", "max_tokens"],
    default_max_tokens: None,
    stop: "stop",
    choices: true,
};

pub(crate) async fn chat(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompt = conversation(fields.list("messages")?)?;
    let model = app.model(&fields)?;
    let header = header(app, &fields, "chatcmpl-", call.request_id())?;
    let generation = Generation::start(app, &fields, &model, &[prompt], &DIALECT)?;
    if fields.flag("stream")? {
        let events = ChatEvents::new(&header, StreamOptions::of(&fields)?);
        return Ok(call.stream(generation, Grammar::Chat(events)));
    }
    generation.ticket().finished().await;
    call.whole(|finish| json(completion(&header, &generation, finish))).await
}

/// The prompt of a conversation: its messages in order. Of a message's parts the texts count; other parts stand for
/// themselves as JSON, so that equal images make equal prompts.
pub(crate) fn conversation(messages: &[Value]) -> Result<Prompt, ApiError> {
    let mut others = Vec::new();
    for message in messages {
        for part in message.get("content").and_then(Value::as_array).into_iter().flatten() {
            others.push(if part_text(part).is_some() { String::new() } else { part.to_string() });
        }
    }
    let mut next_other = others.iter().map(String::as_str);
    let mut flat = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(invalid(
                "missing",
                &format!("body.messages.{index}.role"),
                "Field required",
                "<dict>",
            ));
        };
        let parts = match message.get("content") {
            Some(Value::String(text)) => vec![text.as_str()],
            Some(Value::Array(parts)) => parts
                .iter()
                .zip(next_other.by_ref())
                .map(|(part, other)| part_text(part).unwrap_or(other))
                .collect(),
            None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Vec::new(),
        };
        flat.push((Role::named(role), parts));
    }
    let mut prompt = Prompt::default();
    flatten_messages(flat, &mut prompt.0);
    Ok(prompt)
}

/// The text of a part of a message: bare, or in an object of any of the APIs.
fn part_text(part: &Value) -> Option<&str> {
    part.as_str().or_else(|| part.get("text").and_then(Value::as_str))
}

fn completion(header: &Header, generation: &Generation, aborted: Option<Finish<'_>>) -> String {
    let Header { id, created, model } = header;
    let choices: Vec<_> = generation
        .answers()
        .iter()
        .enumerate()
        .map(|(index, answer)| {
            let (reason, stop_reason) = finish_fields(aborted.unwrap_or(Finish::of(&answer.ending)));
            let text = quoted(&answer.text());
            format!(
                r#"{{"index":{index},"message":{{"role":"assistant","content":{text},"refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"{reason}","stop_reason":{stop_reason},"token_ids":null,"routed_experts":null}}"#
            )
        })
        .collect();
    let (choices, usage) = (choices.join(","), whole_usage(&generation.final_usage(), true));
    format!(
        r#"{{"id":{id},"object":"chat.completion","created":{created},"model":{model},"choices":[{choices}],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{usage},"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#
    )
}

/// The events of a streamed chat completion.
#[derive(Debug)]
pub(crate) struct ChatEvents {
    /// Every chunk up to its choices.
    opening: String,
    options: StreamOptions,
}

impl ChatEvents {
    fn new(header: &Header, options: StreamOptions) -> Self {
        let Header { id, created, model } = header;
        let opening = format!(
            r#"data: {{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":["#
        );
        Self { opening, options }
    }

    /// Each choice opens with its role and no text.
    pub(crate) fn head(&self, generation: &Generation, to: &mut VecDeque<Bytes>) {
        for index in 0..generation.answers().len() {
            let mut event = self.opening.clone().into_bytes();
            event.extend_from_slice(
                format!(
                    r#"{{"index":{index},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}],"prompt_token_ids":null,"prompt_text":null"#
                )
                .as_bytes(),
            );
            self.options.close_chunk(generation, &[], false, &mut event);
            to.push_back(event.into());
        }
    }

    pub(crate) fn delta(&self, generation: &Generation, delta: Delta<'_>) -> Bytes {
        let mut event = Vec::with_capacity(self.opening.len() + 192);
        event.extend_from_slice(self.opening.as_bytes());
        event.extend_from_slice(br#"{"index":"#);
        event.extend_from_slice(delta.choice.to_string().as_bytes());
        event.extend_from_slice(br#","delta":{"content":""#);
        event.extend_from_slice(delta.text);
        event.extend_from_slice(br#""},"logprobs":null,"finish_reason":"#);
        match delta.finish {
            None => event.extend_from_slice(b"null"),
            Some(finish) => {
                let (reason, stop_reason) = finish_fields(finish);
                event.extend_from_slice(format!(r#""{reason}","stop_reason":{stop_reason}"#).as_bytes());
            }
        }
        event.extend_from_slice(br#","token_ids":null}]"#);
        self.options.close_chunk(generation, delta.sent, delta.finish.is_some(), &mut event);
        event.into()
    }

    pub(crate) fn tail(&self, generation: &Generation, sent: &[u32], to: &mut VecDeque<Bytes>) {
        if self.options.include_usage {
            let usage = generation.usage(sent.iter().copied());
            let Usage { prompt_tokens, completion_tokens, cached_tokens, created_cache_tokens } = usage;
            let (opening, total) = (&self.opening, usage.total_tokens());
            let event = format!(
                r#"{opening}],"usage":{{"prompt_tokens":{prompt_tokens},"total_tokens":{total},"completion_tokens":{completion_tokens},"prompt_tokens_details":{{"cached_tokens":{cached_tokens},"created_cache_tokens":{created_cache_tokens}}}}},"system_fingerprint":"{FINGERPRINT}"}}"#
            );
            to.push_back(format!("{event}\n\n").into());
        }
        to.push_back(DONE);
    }
}
