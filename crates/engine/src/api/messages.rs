//! Anthropic's `/v1/messages`.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::Fields;
use super::chat::conversation;
use super::generation::{Dialect, Generation, Header, Prompt, header};
use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, Reply, json, quoted};
use crate::stream::{Delta, Finish, Grammar};

const DIALECT: Dialect =
    Dialect { max_tokens: &["max_tokens"], default_max_tokens: None, stop: "stop_sequences", choices: false };

pub(crate) async fn message(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    fields.require("max_tokens")?;
    let prompt = prompt_of(&fields)?;
    let model = app.model(&fields)?;
    let header = header(app, &fields, "chatcmpl-", call.request_id())?;
    let generation = Generation::start(app, &fields, &model, &[prompt], &DIALECT)?;
    if fields.flag("stream")? {
        return Ok(call.stream(generation, Grammar::Message(MessageEvents { header })));
    }
    generation.ticket().finished().await;
    call.whole(|aborted| json(whole(&header, &generation, aborted))).await
}

/// `/v1/messages/count_tokens`.
pub(crate) fn count(app: &App, call: &Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompt = prompt_of(&fields)?;
    app.model(&fields)?;
    Ok(json(format!(r#"{{"input_tokens":{}}}"#, prompt.0.len())))
}

fn prompt_of(fields: &Fields) -> Result<Prompt, ApiError> {
    let messages = fields.list("messages")?;
    let Some(system) = fields.get("system") else { return conversation(messages) };
    let system = serde_json::json!({"role": "system", "content": system});
    let all: Vec<Value> = std::iter::once(system).chain(messages.iter().cloned()).collect();
    conversation(&all)
}

fn whole(header: &Header, generation: &Generation, aborted: Option<Finish<'_>>) -> String {
    let Header { id, model, .. } = header;
    let answer = generation.answers().first();
    let text = quoted(&answer.map(crate::text::Answer::text).unwrap_or_default());
    let finish = answer.map_or(Finish::Stop, |answer| Finish::of(&answer.ending));
    let (stop_reason, stop_sequence) = stop_fields(aborted.unwrap_or(finish));
    // Whole messages leave the field out where there is none.
    let stop_sequence =
        if stop_sequence == "null" { String::new() } else { format!(r#""stop_sequence":{stop_sequence},"#) };
    let usage = generation.final_usage();
    // `input_tokens` leaves out what was cached or is now.
    let (created, cached) = (usage.created_cache_tokens, usage.cached_tokens);
    let (input, output) = (usage.prompt_tokens - created - cached, usage.completion_tokens);
    format!(
        r#"{{"id":{id},"type":"message","role":"assistant","content":[{{"type":"text","text":{text}}}],"model":{model},"stop_reason":"{stop_reason}",{stop_sequence}"usage":{{"input_tokens":{input},"output_tokens":{output},"cache_creation_input_tokens":{created},"cache_read_input_tokens":{cached}}}}}"#
    )
}

/// `stop_reason` and `stop_sequence`, the second as JSON.
fn stop_fields(finish: Finish<'_>) -> (&'static str, String) {
    match finish {
        Finish::Stop | Finish::Abort => ("end_turn", "null".to_owned()),
        Finish::StopString(text) => ("stop_sequence", quoted(text)),
        Finish::Length => ("max_tokens", "null".to_owned()),
    }
}

/// The events of a streamed message.
#[derive(Debug)]
pub(crate) struct MessageEvents {
    header: Header,
}

fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

impl MessageEvents {
    pub(crate) fn head(&self, generation: &Generation, to: &mut VecDeque<Bytes>) {
        let Header { id, model, .. } = &self.header;
        let input = generation.usage([]).prompt_tokens;
        to.push_back(event(
            "message_start",
            &format!(
                r#"{{"type":"message_start","message":{{"id":{id},"type":"message","role":"assistant","content":[],"model":{model},"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{input},"output_tokens":0}}}}}}"#
            ),
        ));
        to.push_back(event(
            "content_block_start",
            r#"{"type":"content_block_start","content_block":{"type":"text","text":""},"index":0}"#,
        ));
    }

    pub(crate) fn delta(&self, delta: Delta<'_>) -> Bytes {
        let mut text = Vec::with_capacity(160);
        text.extend_from_slice(
            br#"event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":""#,
        );
        text.extend_from_slice(delta.text);
        text.extend_from_slice(b"\"},\"index\":0}\n\n");
        text.into()
    }

    pub(crate) fn tail(
        &self,
        generation: &Generation,
        sent: &[u32],
        finish: Finish<'_>,
        to: &mut VecDeque<Bytes>,
    ) {
        to.push_back(event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#));
        let usage = generation.usage(sent.iter().copied());
        let (stop_reason, stop_sequence) = stop_fields(finish);
        let (created, cached) = (usage.created_cache_tokens, usage.cached_tokens);
        let (input, output) = (usage.prompt_tokens - created - cached, usage.completion_tokens);
        to.push_back(event(
            "message_delta",
            &format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop_reason}","stop_sequence":{stop_sequence}}},"usage":{{"input_tokens":{input},"output_tokens":{output},"cache_creation_input_tokens":{created},"cache_read_input_tokens":{cached}}}}}"#
            ),
        ));
        to.push_back(event("message_stop", r#"{"type":"message_stop"}"#));
    }
}
