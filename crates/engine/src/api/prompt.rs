//! Prompts in the forms that the APIs accept, as tokens.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::invalid;
use crate::error::ApiError;
use crate::text::{Token, apply_chat_template, tokenize};

/// The tokens of a text.
pub(super) fn text_prompt(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    tokenize(text, &mut tokens);
    tokens
}

/// The tokens of a list of token ids; `None` where an element is not an id.
pub(super) fn token_prompt(ids: &[Value]) -> Option<Vec<Token>> {
    let token = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).map(Token);
    ids.iter().map(token).collect()
}

/// One or several prompts: a string, a list of strings, a list of token ids, or a list of such lists.
pub(super) fn prompts(value: &Value, location: &str) -> Result<Vec<Vec<Token>>, ApiError> {
    let wrong = || {
        let message = "Input should be a valid string or list of token ids";
        invalid("string_type", location, message, "<other>")
    };
    let prompt = |value: &Value| match value {
        Value::String(text) => Ok(text_prompt(text)),
        Value::Array(ids) => token_prompt(ids).ok_or_else(wrong),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    };
    if let Value::Array(items) = value
        && !items.iter().all(Value::is_u64)
    {
        return items.iter().map(prompt).collect();
    }
    Ok(vec![prompt(value)?])
}

/// The prompt of a conversation: its messages through the chat template. Content parts without text become part of the
/// prompt as JSON, so that equal images give equal prompts.
pub(super) fn chat_prompt(messages: &[Value]) -> Result<Vec<Token>, ApiError> {
    let mut flat = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            let location = format!("body.messages.{index}.role");
            return Err(invalid("missing", &location, "Field required", "<dict>"));
        };
        let parts = match message.get("content") {
            Some(Value::String(text)) => vec![Cow::from(text)],
            Some(Value::Array(parts)) => parts.iter().map(part_text).collect(),
            None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Vec::new(),
        };
        flat.push((role, parts));
    }
    let mut tokens = Vec::new();
    apply_chat_template(flat, &mut tokens);
    Ok(tokens)
}

/// A content part in the prompt: a bare string, the `text` field of an object, or else its JSON.
fn part_text(part: &Value) -> Cow<'_, str> {
    let text = part.as_str().or_else(|| part.get("text").and_then(Value::as_str));
    text.map_or_else(|| part.to_string().into(), Cow::from)
}
