//! `/v1/completions`.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::fields::invalid;
use super::generation::{Dialect, Generation, Header, Prompt, Usage, header};
use super::{FINGERPRINT, Fields};
use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, Reply, json, quoted};
use crate::stream::{DONE, Delta, Finish, Grammar};
use crate::text::{Token, tokenize};

/// Sixteen tokens are OpenAI's default length of a completion.
const DIALECT: Dialect =
    Dialect { max_tokens: &["max_tokens"], default_max_tokens: Some(16), stop: "stop", choices: true };

pub(crate) async fn complete(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompts = prompts_of(fields.require("prompt")?)?;
    let model = app.model(&fields)?;
    let header = header(app, &fields, "cmpl-", call.request_id())?;
    let generation = Generation::start(app, &fields, &model, &prompts, &DIALECT)?;
    if fields.flag("stream")? {
        let events = CompletionEvents::new(&header, StreamOptions::of(&fields)?);
        return Ok(call.stream(generation, Grammar::Completion(events)));
    }
    generation.ticket().finished().await;
    call.whole(|finish| json(completion(&header, &generation, finish))).await
}

/// A prompt is a string, a list of strings, a list of token ids, or a list of such lists.
fn prompts_of(value: &Value) -> Result<Vec<Prompt>, ApiError> {
    let wrong = || {
        invalid(
            "string_type",
            "body.prompt",
            "Input should be a valid string or list of token ids",
            "<other>",
        )
    };
    match value {
        Value::String(text) => Ok(vec![text_prompt(text)]),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            Ok(vec![token_prompt(items).ok_or_else(wrong)?])
        }
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text_prompt(text)),
                Value::Array(ids) => token_prompt(ids).ok_or_else(wrong),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}

pub(crate) fn text_prompt(text: &str) -> Prompt {
    let mut prompt = Prompt::default();
    tokenize(text, &mut prompt.0);
    prompt
}

pub(crate) fn token_prompt(ids: &[Value]) -> Option<Prompt> {
    let token = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).map(Token);
    ids.iter().map(token).collect::<Option<Vec<_>>>().map(Prompt)
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
                r#"{{"index":{index},"text":{text},"logprobs":null,"finish_reason":"{reason}","stop_reason":{stop_reason},"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}}"#
            )
        })
        .collect();
    let (choices, usage) = (choices.join(","), whole_usage(&generation.final_usage(), false));
    format!(
        r#"{{"id":{id},"object":"text_completion","created":{created},"model":{model},"choices":[{choices}],"service_tier":null,"system_fingerprint":"{FINGERPRINT}","usage":{usage},"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}}"#
    )
}

/// `finish_reason` and `stop_reason`, the second as JSON.
pub(crate) fn finish_fields(finish: Finish<'_>) -> (&'static str, String) {
    let stop_reason = match finish {
        Finish::StopString(text) => quoted(text),
        Finish::Stop | Finish::Length | Finish::Abort => "null".to_owned(),
    };
    (finish.reason(), stop_reason)
}

/// The usage of a whole answer; chat says how many tokens are newly cached, completions do not.
pub(crate) fn whole_usage(usage: &Usage, chat: bool) -> String {
    let Usage { prompt_tokens, completion_tokens, cached_tokens, created_cache_tokens } = *usage;
    let (total, created) =
        (usage.total_tokens(), if chat { created_cache_tokens.to_string() } else { "null".to_owned() });
    format!(
        r#"{{"prompt_tokens":{prompt_tokens},"total_tokens":{total},"completion_tokens":{completion_tokens},"prompt_tokens_details":{{"cached_tokens":{cached_tokens},"created_cache_tokens":{created},"multimodal_tokens":null}},"completion_tokens_details":null}}"#
    )
}

/// What `stream_options` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// A last chunk with the token counts.
    pub(crate) include_usage: bool,
    /// The counts so far in every chunk.
    pub(crate) continuous: bool,
}

impl StreamOptions {
    pub(crate) fn of(fields: &Fields) -> Result<Self, ApiError> {
        let options = fields.object("stream_options")?;
        let flag =
            |name: &str| options.and_then(|options| options.get(name)).and_then(Value::as_bool) == Some(true);
        let include_usage = flag("include_usage");
        Ok(Self { include_usage, continuous: include_usage && flag("continuous_usage_stats") })
    }

    /// The end of a chunk behind its choices.
    pub(crate) fn close_chunk(self, generation: &Generation, sent: &[u32], last: bool, to: &mut Vec<u8>) {
        if self.continuous {
            let usage = generation.usage(sent.iter().copied());
            let (prompt, completion, total) =
                (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens());
            let usage = format!(
                r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion}}}"#
            );
            to.extend_from_slice(usage.as_bytes());
        }
        if last && !self.include_usage {
            to.extend_from_slice(format!(r#","system_fingerprint":"{FINGERPRINT}""#).as_bytes());
        }
        to.extend_from_slice(b"}\n\n");
    }
}

/// The events of a streamed completion.
#[derive(Debug)]
pub(crate) struct CompletionEvents {
    /// Every chunk up to its choices.
    opening: String,
    options: StreamOptions,
}

impl CompletionEvents {
    fn new(header: &Header, options: StreamOptions) -> Self {
        let Header { id, created, model } = header;
        let opening = format!(
            r#"data: {{"id":{id},"object":"text_completion","created":{created},"model":{model},"choices":["#
        );
        Self { opening, options }
    }

    pub(crate) fn delta(&self, generation: &Generation, delta: Delta<'_>) -> Bytes {
        let mut event = Vec::with_capacity(self.opening.len() + 192);
        event.extend_from_slice(self.opening.as_bytes());
        event.extend_from_slice(br#"{"index":"#);
        event.extend_from_slice(delta.choice.to_string().as_bytes());
        event.extend_from_slice(br#","text":""#);
        event.extend_from_slice(delta.text);
        event.extend_from_slice(br#"","logprobs":null,"finish_reason":"#);
        match delta.finish {
            None => event.extend_from_slice(br#"null,"stop_reason":null"#),
            Some(finish) => {
                let (reason, stop_reason) = finish_fields(finish);
                event.extend_from_slice(format!(r#""{reason}","stop_reason":{stop_reason}"#).as_bytes());
            }
        }
        event.extend_from_slice(br#","prompt_token_ids":null,"token_ids":null}]"#);
        self.options.close_chunk(generation, delta.sent, delta.finish.is_some(), &mut event);
        event.into()
    }

    pub(crate) fn tail(&self, generation: &Generation, sent: &[u32], to: &mut VecDeque<Bytes>) {
        if self.options.include_usage {
            let usage = generation.usage(sent.iter().copied());
            let Usage { prompt_tokens, completion_tokens, cached_tokens, .. } = usage;
            let (opening, total) = (&self.opening, usage.total_tokens());
            let event = format!(
                r#"{opening}],"usage":{{"prompt_tokens":{prompt_tokens},"total_tokens":{total},"completion_tokens":{completion_tokens},"prompt_tokens_details":{{"cached_tokens":{cached_tokens}}}}},"system_fingerprint":"{FINGERPRINT}"}}"#
            );
            to.push_back(format!("{event}\n\n").into());
        }
        to.push_back(DONE);
    }
}
