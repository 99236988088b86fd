//! Normalization of paths, and their [`Route`].

use std::borrow::Cow;

use super::administration::is_administration;
use super::{Api, Route};

/// Rounds of percent-decoding after which a path counts as an administration path. Engines decode once; the further
/// rounds are those of proxies in front of them.
const MAX_DECODINGS: usize = 4;

pub(super) fn classify(method: &str, path: &str) -> Route {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if is_normalized(path) {
        return classify_normalized(method, path);
    }
    let Some(first) = normalise(path) else { return Route::Administration };
    let route = classify_normalized(method, &first);
    if route == Route::Administration || is_hidden_administration(&first) {
        return Route::Administration;
    }
    route
}

/// Whether further rounds of decoding give an administration path, or more than [`MAX_DECODINGS`] rounds are needed.
fn is_hidden_administration(path: &str) -> bool {
    let mut current = path.to_owned();
    for _ in 0..MAX_DECODINGS {
        let Some(next) = normalise(&current) else { return true };
        if next == current {
            return false;
        }
        if is_administration(&next) {
            return true;
        }
        current = next;
    }
    true
}

/// Whether a path is normalized already: the common case, which must not allocate.
pub(super) fn is_normalized(path: &str) -> bool {
    let bytes = path.as_bytes();
    let no_trailing_slash = bytes.len() <= 1 || bytes.last() != Some(&b'/');
    bytes.first() == Some(&b'/')
        && no_trailing_slash
        && !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b';'))
        && !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// Decodes percent escapes once, replaces backslashes by slashes, and removes path parameters (`;…`), empty segments,
/// dot segments and a trailing slash. `None` where `..` leads above the root.
pub(super) fn normalise(path: &str) -> Option<String> {
    let decoded = percent_decode(path);
    // The next decoder sees an encoded `?` as the start of a query.
    let decoded = decoded.split(['?', '#']).next().unwrap_or_default();
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                kept.pop()?;
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out)
}

/// Decodes `%XX` escapes. Invalid escapes stay, and bytes that are not UTF-8 become replacement characters.
pub(super) fn percent_decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = if byte == b'%' { hex_pair(bytes.get(at + 1..at + 3)) } else { None };
        match escaped {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

pub(crate) fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let [high, low] = pair? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Classifies a normalized path.
fn classify_normalized(method: &str, path: &str) -> Route {
    if method == "POST"
        && let Some(api) = inference_api(path)
    {
        return Route::Inference(api);
    }
    if matches!(method, "GET" | "HEAD")
        && let Some(rest) = path.strip_prefix("/v1/models")
    {
        if rest.is_empty() {
            return Route::Models { id: None };
        }
        if let Some(id) = rest.strip_prefix('/') {
            // Model ids may contain slashes: `meta-llama/Llama-3-8B`.
            return Route::Models { id: Some(id.to_owned()) };
        }
    }
    if let Some(response_id) = stored_response(method, path) {
        return Route::Stored { response_id: response_id.to_owned() };
    }
    if is_administration(path) { Route::Administration } else { Route::Unknown }
}

/// The API of a path. Engines can be started with a root path, and routes put them below a prefix, so what is before
/// `/v1/` or the like does not count.
fn inference_api(path: &str) -> Option<Api> {
    let rest = path.strip_prefix('/')?;
    rooted_api(rest).or_else(|| {
        let starts = ["/v1/", "/v2/", "/inference/v1/", "/openai/deployments/"];
        starts.iter().find_map(|start| rooted_api(rest.get(rest.rfind(start)? + 1..)?))
    })
}

/// The API of a path below the root, without its leading slash.
fn rooted_api(path: &str) -> Option<Api> {
    Some(match path {
        "v1/completions" => Api::Completions,
        "v1/chat/completions" | "chat/completions" => Api::ChatCompletions,
        "v1/responses" => Api::Responses,
        "v1/messages" => Api::Messages,
        "v1/messages/count_tokens" => Api::CountTokens,
        "v1/embeddings" | "v2/embed" => Api::Embeddings,
        "score" | "v1/score" => Api::Score,
        "rerank" | "v1/rerank" | "v2/rerank" => Api::Rerank,
        "pooling" | "encode" => Api::Pooling,
        "classify" | "v1/classify" => Api::Classify,
        "tokenize" | "v1/tokenize" => Api::Tokenize,
        "detokenize" | "v1/detokenize" => Api::Detokenize,
        "generate" | "inference/v1/generate" => Api::Generate,
        "v1/completions/render" | "v1/chat/completions/render" => Api::Render,
        "invocations" => Api::Invocations,
        _ => return deployment_api(path),
    })
}

/// The API of Azure's path: `openai/deployments/NAME/chat/completions`.
fn deployment_api(path: &str) -> Option<Api> {
    let (_, operation) = path.strip_prefix("openai/deployments/")?.split_once('/')?;
    match operation {
        "completions" => Some(Api::Completions),
        "chat/completions" => Some(Api::ChatCompletions),
        "embeddings" => Some(Api::Embeddings),
        _ => None,
    }
}

/// The id of the stored response in a path.
fn stored_response<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix("/v1/responses/")?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let known =
        matches!((method, action), ("GET" | "DELETE", "") | ("POST", "cancel") | ("GET", "input_items"));
    (known && !id.is_empty()).then_some(id)
}
