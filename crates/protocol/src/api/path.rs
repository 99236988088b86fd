//! From a request's path to its [`Route`].

use std::borrow::Cow;

use super::{Api, Route, administration};

/// How often a path is decoded before it counts as an attempt to hide something. Engines decode once;
/// the further rounds are for proxies between us and them.
const MAX_DECODINGS: usize = 4;

pub(super) fn classify(method: &str, path: &str) -> Route {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if is_plain(path) {
        return classify_plain(method, path);
    }
    let Some(first) = normalise(path) else { return Route::Administration };
    let route = classify_plain(method, &first);
    if route == Route::Administration || is_hidden_administration(&first) {
        return Route::Administration;
    }
    route
}

/// Whether further rounds of decoding uncover an administration path, or never come to an end.
fn is_hidden_administration(path: &str) -> bool {
    let mut current = path.to_owned();
    for _ in 0..MAX_DECODINGS {
        let Some(next) = normalise(&current) else { return true };
        if next == current {
            return false;
        }
        if administration::is(&next) {
            return true;
        }
        current = next;
    }
    true
}

/// A path that is already in its normal form: the common case, which must not allocate.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let ends_plainly = bytes.len() <= 1 || bytes.last() != Some(&b'/');
    bytes.first() == Some(&b'/')
        && ends_plainly
        && !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b';'))
        && !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// Decodes percent escapes once, takes backslashes for slashes, drops path parameters (`;…`), empty
/// segments, dot segments and a trailing slash. None when the dots climb above the root.
fn normalise(path: &str) -> Option<String> {
    let decoded = percent_decode(path);
    // A query that was encoded may become one again further on.
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

/// Decodes `%XX` escapes; what is not an escape stays, and bytes that are not UTF-8 are replaced.
fn percent_decode(path: &str) -> Cow<'_, str> {
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

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let [high, low] = pair? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Classifies a path in its normal form.
fn classify_plain(method: &str, path: &str) -> Route {
    if method == "POST"
        && let Some(api) = inference(path)
    {
        return Route::Inference(api);
    }
    if method == "GET"
        && let Some(rest) = path.strip_prefix("/v1/models")
    {
        if rest.is_empty() {
            return Route::Models { id: None };
        }
        if let Some(id) = rest.strip_prefix('/') {
            // Model ids may hold slashes: `meta-llama/Llama-3-8B`.
            return Route::Models { id: Some(id.to_owned()) };
        }
    }
    if let Some(response_id) = stored(method, path) {
        return Route::Stored { response_id: response_id.to_owned() };
    }
    if administration::is(path) { Route::Administration } else { Route::Unknown }
}

fn inference(path: &str) -> Option<Api> {
    Some(match path {
        "/v1/completions" => Api::Completions,
        "/v1/chat/completions" => Api::ChatCompletions,
        "/v1/responses" => Api::Responses,
        "/v1/messages" => Api::Messages,
        "/v1/messages/count_tokens" => Api::CountTokens,
        "/v1/embeddings" | "/v2/embed" => Api::Embeddings,
        "/score" | "/v1/score" => Api::Score,
        "/rerank" | "/v1/rerank" | "/v2/rerank" => Api::Rerank,
        "/pooling" | "/encode" => Api::Pooling,
        "/classify" | "/v1/classify" => Api::Classify,
        "/tokenize" | "/v1/tokenize" => Api::Tokenize,
        "/detokenize" | "/v1/detokenize" => Api::Detokenize,
        "/generate" | "/inference/v1/generate" => Api::Generate,
        "/v1/completions/render" | "/v1/chat/completions/render" => Api::Render,
        _ => return None,
    })
}

/// The id of the stored response that a path names.
fn stored<'a>(method: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix("/v1/responses/")?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let known =
        matches!((method, action), ("GET" | "DELETE", "") | ("POST", "cancel") | ("GET", "input_items"));
    (known && !id.is_empty()).then_some(id)
}
