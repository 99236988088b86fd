//! `/tokenize` and `/detokenize`.

use http::Response;
use serde::Serialize;

use super::fields::invalid;
use super::generation::requested_model;
use super::null_fields::Null;
use super::prompt::{chat_prompt, text_prompt, token_prompt};
use super::request::ApiRequest;
use crate::app::App;
use crate::error::Failure;
use crate::response::{ResponseBody, json};

#[derive(Serialize)]
struct Tokenized {
    count: usize,
    max_model_len: u32,
    tokens: Vec<u32>,
    token_strs: Null,
}

pub(crate) fn tokenize(app: &App, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompt = if fields.get("messages").is_some() {
        chat_prompt(fields.list("messages")?)?
    } else {
        text_prompt(fields.required_string("prompt")?)
    };
    requested_model(app, &fields)?;
    let tokens: Vec<_> = prompt.iter().map(|token| token.0).collect();
    let max_model_len = app.config.profile.max_model_len;
    Ok(json(&Tokenized { count: tokens.len(), max_model_len, tokens, token_strs: () }))
}

pub(crate) fn detokenize(app: &App, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let wrong = || invalid("int_type", "body.tokens", "Input should be a valid integer", "<other>");
    let prompt = token_prompt(fields.list("tokens")?).ok_or_else(wrong)?;
    requested_model(app, &fields)?;
    Ok(json(&serde_json::json!({"prompt": crate::text::detokenize(&prompt)})))
}
