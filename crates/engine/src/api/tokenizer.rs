//! `/tokenize` and `/detokenize`.

use http::Response;

use super::chat::conversation;
use super::completions::{text_prompt, token_prompt};
use super::fields::invalid;
use crate::app::{App, Call, Failure};
use crate::reply::{Reply, json, quoted};
use crate::text::detokenize;

pub(crate) fn tokenize(app: &App, call: &Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompt = if fields.get("messages").is_some() {
        conversation(fields.list("messages")?)?
    } else {
        fields.require("prompt")?;
        text_prompt(fields.text("prompt")?.unwrap_or_default())
    };
    app.model(&fields)?;
    let ids: Vec<_> = prompt.0.iter().map(|token| token.0.to_string()).collect();
    let (count, limit, ids) = (prompt.0.len(), app.config.profile.max_model_len, ids.join(","));
    Ok(json(format!(r#"{{"count":{count},"max_model_len":{limit},"tokens":[{ids}],"token_strs":null}}"#)))
}

pub(crate) fn detokenize_ids(app: &App, call: &Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let wrong = || invalid("int_type", "body.tokens", "Input should be a valid integer", "<other>");
    let prompt = token_prompt(fields.list("tokens")?).ok_or_else(wrong)?;
    app.model(&fields)?;
    Ok(json(format!(r#"{{"prompt":{}}}"#, quoted(&detokenize(&prompt.0)))))
}
