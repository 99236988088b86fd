//! Pooling requests, which end with their prompt: `/v1/embeddings`, `/score` and `/rerank`.

use http::Response;
use pointsman_core::Rng;
use pointsman_sim::engine::Request;
use serde::Serialize;
use serde_json::{Value, json};

use super::fields::{Fields, invalid};
use super::generation::{ResponseHeader, hash_prompt, requested_model, submit_error};
use super::null_fields::Null;
use super::prompt::{prompts, text_prompt};
use super::request::ApiRequest;
use crate::app::App;
use crate::error::{ApiError, ErrorType, Failure};
use crate::live::SequenceRequest;
use crate::response::{self, ResponseBody};
use crate::text::{BlockHasher, FinishReason, Token};

/// Upper bound of a request's inputs.
const MAX_INPUTS: usize = 2048;

/// Dimensions of an embedding.
const DIMENSIONS: usize = 16;

/// A list with one element per input: embeddings or scores.
#[derive(Serialize)]
struct PoolingList<'a, T> {
    #[serde(flatten)]
    header: &'a ResponseHeader,
    data: Vec<T>,
    usage: PoolingUsage,
}

#[derive(Serialize)]
struct PoolingUsage {
    prompt_tokens: u32,
    total_tokens: u32,
    completion_tokens: u32,
    prompt_tokens_details: Null,
}

/// `/v1/embeddings`.
pub(crate) async fn embed(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Embedding {
        index: usize,
        object: &'static str,
        embedding: Vector,
    }
    let fields = request.fields()?;
    let prompts = prompts(fields.require("input")?, "body.input")?;
    let encoding = fields.string("encoding_format")?.unwrap_or("float");
    if !matches!(encoding, "float" | "base64") {
        let message = "Input should be 'float' or 'base64'";
        return Err(invalid("literal_error", "body.encoding_format", message, "<other>").into());
    }
    let pooling = Pooling::run(app, &request, &fields, "embd-", &prompts).await?;
    let embedding = |(index, fingerprint): (usize, &u64)| {
        let mut rng = Rng::seeded(*fingerprint);
        let values: Vec<_> = (0..DIMENSIONS).map(|_| signed_unit(&mut rng)).collect();
        let embedding =
            if encoding == "base64" { Vector::Base64(base64(&values)) } else { Vector::Floats(values) };
        Embedding { index, object: "embedding", embedding }
    };
    let data = pooling.fingerprints.iter().enumerate().map(embedding).collect();
    Ok(pooling.list(data))
}

/// `/score`: the relevance of each of the second texts to the first.
pub(crate) async fn score(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Score {
        index: usize,
        object: &'static str,
        score: f32,
    }
    let fields = request.fields()?;
    fields.require("text_1")?;
    let first = fields.strings("text_1")?.join("\n");
    let prompts = pairs(&first, prompts(fields.require("text_2")?, "body.text_2")?);
    let pooling = Pooling::run(app, &request, &fields, "score-", &prompts).await?;
    let data =
        pooling.scores().enumerate().map(|(index, score)| Score { index, object: "score", score }).collect();
    Ok(pooling.list(data))
}

/// `/rerank`: documents by relevance to the query, the most relevant first.
pub(crate) async fn rerank(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    #[derive(Serialize)]
    struct Ranking<'a> {
        id: &'a str,
        model: &'a str,
        usage: Value,
        results: Vec<Ranked>,
    }
    #[derive(Serialize)]
    struct Ranked {
        index: usize,
        document: Value,
        relevance_score: f32,
    }
    let fields = request.fields()?;
    let query = fields.required_string("query")?;
    let documents = fields.strings("documents")?;
    let prompts = pairs(query, documents.iter().map(|text| text_prompt(text)).collect());
    let pooling = Pooling::run(app, &request, &fields, "rerank-", &prompts).await?;
    let ranked =
        |(index, (text, relevance_score))| Ranked { index, document: json!({"text": text}), relevance_score };
    let mut results: Vec<_> =
        documents.iter().map(String::as_str).zip(pooling.scores()).enumerate().map(ranked).collect();
    results.sort_by(|a, b| b.relevance_score.total_cmp(&a.relevance_score));
    let top = fields.integer("top_n")?.and_then(|top| usize::try_from(top).ok()).filter(|top| *top > 0);
    results.truncate(top.unwrap_or(usize::MAX));
    let ResponseHeader { id, model, .. } = &pooling.header;
    let usage = json!({"prompt_tokens": pooling.prompt_tokens, "total_tokens": pooling.prompt_tokens});
    Ok(response::json(&Ranking { id, model, usage, results }))
}

/// A finished pooling request.
struct Pooling {
    header: ResponseHeader,
    /// A hash of each prompt, from which its result is drawn.
    fingerprints: Vec<u64>,
    prompt_tokens: u32,
}

impl Pooling {
    /// Runs a request in the engine. Dropping the future aborts it.
    async fn run(
        app: &App,
        request: &ApiRequest,
        fields: &Fields,
        id_prefix: &str,
        prompts: &[Vec<Token>],
    ) -> Result<Self, Failure> {
        let model = requested_model(app, fields)?;
        let header = ResponseHeader::new(app, fields, (id_prefix, "list"), request)?;
        if prompts.is_empty() || prompts.len() > MAX_INPUTS {
            let message = format!("a request may have 1 to {MAX_INPUTS} inputs");
            return Err(ApiError::new(ErrorType::BadRequestError, message).into());
        }
        let hashers = prompts
            .iter()
            .map(|prompt| hash_prompt(app, fields, &model, prompt))
            .collect::<Result<Vec<_>, _>>()?;
        let fingerprints = hashers.iter().map(BlockHasher::fingerprint).collect();
        let prompt_tokens = hashers.iter().map(|hasher| hasher.tokens).sum();
        let sequences = hashers.into_iter().map(|hasher| SequenceRequest {
            request: Request {
                prompt_tokens: hasher.tokens,
                output_tokens: 0,
                hashes: hasher.hashes.into(),
                adapter: model.adapter,
            },
            max_tokens: 0,
            finish_reason: FinishReason::Stop,
        });
        let handle = app.engine.submit(sequences.collect()).map_err(submit_error)?;
        handle.finished().await;
        request.apply_fault().await?;
        Ok(Self { header, fingerprints, prompt_tokens })
    }

    /// The response with one element per prompt.
    fn list(&self, data: Vec<impl Serialize>) -> Response<ResponseBody> {
        let (prompt_tokens, total_tokens) = (self.prompt_tokens, self.prompt_tokens);
        let usage =
            PoolingUsage { prompt_tokens, total_tokens, completion_tokens: 0, prompt_tokens_details: () };
        response::json(&PoolingList { header: &self.header, data, usage })
    }

    /// A number from 0 to 1 for each prompt.
    fn scores(&self) -> impl Iterator<Item = f32> {
        self.fingerprints.iter().map(|fingerprint| signed_unit(&mut Rng::seeded(*fingerprint)).abs())
    }
}

/// Each prompt of `second` appended to the text `first`.
fn pairs(first: &str, second: Vec<Vec<Token>>) -> Vec<Vec<Token>> {
    second.into_iter().map(|second| [text_prompt(first), second].concat()).collect()
}

/// A uniform number in `[-1, 1)`.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit a float exactly")]
fn signed_unit(rng: &mut Rng) -> f32 {
    (rng.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}

/// An embedding in the requested `encoding_format`.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    /// The little-endian bytes in base64.
    Base64(String),
}

/// Encodes a vector as OpenAI's client requests it: little-endian bytes in base64 (RFC 4648 §4).
fn base64(values: &[f32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |position: usize| u32::from(group.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= group.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_encoded_in_base64() {
        for (values, text) in [
            (&[][..], ""),
            (&[1.0][..], "AACAPw=="),
            (&[1.0, -0.5][..], "AACAPwAAAL8="),
            (&[0.0, 0.0, 2.0][..], "AAAAAAAAAAAAAABA"),
        ] {
            assert_eq!(base64(values), text);
        }
    }
}
