//! Requests that end with their prompt: embeddings, scores, rankings.

use http::Response;
use pointsman_core::Rng;
use serde_json::Value;

use super::completions::{text_prompt, token_prompt};
use super::fields::invalid;
use super::generation::{Prompt, header, pool};
use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, Reply, json, quoted};

/// Length of an embedding.
const DIMENSIONS: usize = 16;

/// `/v1/embeddings`.
pub(crate) async fn embed(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    let prompts = inputs(fields.require("input")?, "body.input")?;
    let encoding = fields.text("encoding_format")?.unwrap_or("float");
    if !matches!(encoding, "float" | "base64") {
        return Err(invalid(
            "literal_error",
            "body.encoding_format",
            "Input should be 'float' or 'base64'",
            "<other>",
        )
        .into());
    }
    let model = app.model(&fields)?;
    let header = header(app, &fields, "embd-", call.request_id())?;
    let pooled = pool(app, &fields, &model, &prompts)?;
    pooled.ticket.finished().await;
    let data: Vec<_> = pooled
        .fingerprints
        .iter()
        .enumerate()
        .map(|(index, fingerprint)| {
            let mut rng = Rng::seeded(*fingerprint);
            let values: Vec<_> = (0..DIMENSIONS).map(|_| signed_unit(&mut rng)).collect();
            let vector = if encoding == "base64" { base64_of(&values) } else { list_of(&values) };
            format!(r#"{{"index":{index},"object":"embedding","embedding":{vector}}}"#)
        })
        .collect();
    let (id, created, model, data) = (header.id, header.created, header.model, data.join(","));
    let usage = prompt_usage(pooled.prompt_tokens);
    let body = format!(
        r#"{{"id":{id},"object":"list","created":{created},"model":{model},"data":[{data}],"usage":{usage}}}"#
    );
    call.whole(|_| json(body)).await
}

/// `/score`: how well each of the second texts fits the first.
pub(crate) async fn score(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    fields.require("text_1")?;
    let (first, second) = (fields.texts("text_1")?, inputs(fields.require("text_2")?, "body.text_2")?);
    let prompts = pairs(&first.join("\n"), second);
    let model = app.model(&fields)?;
    let header = header(app, &fields, "score-", call.request_id())?;
    let pooled = pool(app, &fields, &model, &prompts)?;
    pooled.ticket.finished().await;
    let scores = pooled.fingerprints.iter().enumerate().map(|(index, fingerprint)| {
        let score = signed_unit(&mut Rng::seeded(*fingerprint)).abs();
        format!(r#"{{"index":{index},"object":"score","score":{score}}}"#)
    });
    let data = scores.collect::<Vec<_>>().join(",");
    let (id, created, model) = (header.id, header.created, header.model);
    let usage = prompt_usage(pooled.prompt_tokens);
    let body = format!(
        r#"{{"id":{id},"object":"list","created":{created},"model":{model},"data":[{data}],"usage":{usage}}}"#
    );
    call.whole(|_| json(body)).await
}

/// `/rerank`: documents by how well they fit the query, best first.
pub(crate) async fn rerank(app: &App, call: Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    fields.require("query")?;
    let query = fields.text("query")?.unwrap_or_default();
    let documents = fields.texts("documents")?;
    let prompts = pairs(query, documents.iter().map(|text| text_prompt(text)).collect());
    let model = app.model(&fields)?;
    let header = header(app, &fields, "rerank-", call.request_id())?;
    let pooled = pool(app, &fields, &model, &prompts)?;
    pooled.ticket.finished().await;
    let mut ranked: Vec<_> = pooled
        .fingerprints
        .iter()
        .map(|fingerprint| signed_unit(&mut Rng::seeded(*fingerprint)).abs())
        .enumerate()
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = fields.integer("top_n")?.and_then(|best| usize::try_from(best).ok()).filter(|best| *best > 0);
    ranked.truncate(best.unwrap_or(usize::MAX));
    let results = ranked.into_iter().map(|(index, score)| {
        let text = documents.get(index).map(|text| quoted(text)).unwrap_or_default();
        format!(r#"{{"index":{index},"document":{{"text":{text}}},"relevance_score":{score}}}"#)
    });
    let results = results.collect::<Vec<_>>().join(",");
    let (id, model, tokens) = (header.id, header.model, pooled.prompt_tokens);
    let body = format!(
        r#"{{"id":{id},"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}},"results":[{results}]}}"#
    );
    call.whole(|_| json(body)).await
}

/// One text or several, or token ids in either form.
fn inputs(value: &Value, place: &str) -> Result<Vec<Prompt>, ApiError> {
    let wrong = || invalid("string_type", place, "Input should be a valid string or list", "<other>");
    let one = |item: &Value| match item {
        Value::String(text) => Ok(text_prompt(text)),
        Value::Array(ids) => token_prompt(ids).ok_or_else(wrong),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    };
    match value {
        Value::Array(items) if !items.iter().all(Value::is_u64) => items.iter().map(one).collect(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Ok(vec![one(value)?]),
    }
}

fn pairs(first: &str, second: Vec<Prompt>) -> Vec<Prompt> {
    let pair = |second: Prompt| {
        let mut prompt = text_prompt(first);
        prompt.0.extend(second.0);
        prompt
    };
    second.into_iter().map(pair).collect()
}

fn prompt_usage(tokens: u32) -> String {
    format!(
        r#"{{"prompt_tokens":{tokens},"total_tokens":{tokens},"completion_tokens":0,"prompt_tokens_details":null}}"#
    )
}

/// A number from -1 to 1.
#[expect(clippy::cast_precision_loss, reason = "the upper 24 bits of a draw are exact in a float")]
fn signed_unit(rng: &mut Rng) -> f32 {
    (rng.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}

/// A vector as a JSON list.
fn list_of(values: &[f32]) -> String {
    let values: Vec<_> = values.iter().map(f32::to_string).collect();
    format!("[{}]", values.join(","))
}

/// A vector as a JSON string: its little-endian bytes in base64 (RFC 4648 §4), as OpenAI's client asks for it.
fn base64_of(values: &[f32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut text = String::from("\"");
    for group in bytes.chunks(3) {
        let byte = |position: usize| u32::from(group.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= group.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_written_in_base64() {
        for (values, text) in [
            (&[][..], "\"\""),
            (&[1.0][..], "\"AACAPw==\""),
            (&[1.0, -0.5][..], "\"AACAPwAAAL8=\""),
            (&[0.0, 0.0, 2.0][..], "\"AAAAAAAAAAAAAABA\""),
        ] {
            assert_eq!(base64_of(values), text);
        }
    }
}
