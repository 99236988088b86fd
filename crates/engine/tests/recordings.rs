//! Requests recorded from a real vLLM: the responses must be equal to the recorded ones, except for values that come
//! from a model, a clock or a tokenizer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::{config, start};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The form of a response: status, headers in order of name, framing, and the body without its values.
fn form(response: &[u8]) -> String {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let mut form = lines.next().unwrap().to_owned();
    let headers: BTreeSet<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let value = if matches!(name, "date" | "content-length") { "…" } else { value };
            format!("\n{name}: {value}")
        })
        .collect();
    form.extend(headers);
    form.push_str("\n\n");
    if head.contains("transfer-encoding: chunked") {
        for chunk in chunks(body) {
            form.push_str("[chunk]");
            form.push_str(&without_values(&chunk));
        }
    } else {
        form.push_str(&without_values(body));
    }
    form
}

/// The chunks of a chunked body, the last and empty one included.
fn chunks(mut body: &str) -> Vec<String> {
    let mut chunks = Vec::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        chunks.push(rest[..size].to_owned());
        body = rest[size..].strip_prefix("\r\n").expect("the end of a chunk");
        if size == 0 {
            assert!(body.is_empty(), "nothing follows the last chunk");
            return chunks;
        }
    }
}

/// Replaces the strings and numbers of a JSON text, except field names; consecutive list items count once.
fn without_values(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, replacement) = match first {
            '"' => {
                let mut escaped = false;
                let end = rest[1..]
                    .find(|c: char| {
                        let ends = c == '"' && !escaped;
                        escaped = c == '\\' && !escaped;
                        ends
                    })
                    .map_or(rest.len(), |end| end + 2);
                let name = rest[end..].starts_with(':');
                (&rest[..end], if name { &rest[..end] } else { "\"…\"" })
            }
            '0'..='9' | '-' => {
                let end = rest.find(|c: char| !"0123456789.eE+-".contains(c)).unwrap_or(rest.len());
                (&rest[..end], "0")
            }
            _ => (&rest[..first.len_utf8()], &rest[..first.len_utf8()]),
        };
        out.push_str(replacement);
        rest = &rest[token.len()..];
    }
    while out.contains("0,0") {
        out = out.replace("0,0", "0");
    }
    out
}

#[tokio::test]
async fn responses_have_the_recorded_form() {
    let server = start(config()).await;
    // In the recorded order: some exchanges depend on earlier ones.
    for name in [
        "health",
        "version",
        "load",
        "models",
        "completion",
        "completion-prefix-hit",
        "completion-token-ids",
        "completion-two-prompts",
        "completion-request-id",
        "completion-stream",
        "completion-stream-usage",
        "completion-stream-usage-continuous",
        "completion-stream-one-token",
        "completion-two-choices-stream",
        "chat",
        "chat-stream",
        "chat-stream-usage",
        "messages",
        "messages-stream",
        "responses",
        "tokenize",
        "tokenize-chat",
        "detokenize",
        "lora-completion",
        "error-unloaded-adapter",
        "lora-load",
        "lora-load-twice",
        "lora-load-no-path",
        "models-with-loaded-adapter",
        "lora-loaded-completion",
        "lora-unload",
        "lora-unload-unknown",
        "error-unknown-model",
        "error-unknown-model-chat-stream",
        "error-no-model",
        "error-no-messages",
        "error-messages-type",
        "error-not-json",
        "error-empty-body",
        "error-content-type",
        "error-max-tokens",
        "error-temperature",
        "error-prompt-too-long",
        "error-prompt-too-long-chat-stream",
        "error-unknown-path",
        "error-method",
        "reset-prefix-cache",
    ] {
        let (response, end) = server.exchange(&fixture(&format!("{name}.request"))).await;
        end.unwrap();
        let recorded = fixture(&format!("{name}.response"));
        assert_same(name, &form(&response), &form(&recorded));
    }
}

/// Bodies that do not depend on a model are equal to the recorded ones.
#[tokio::test]
async fn constant_bodies_are_the_recorded_ones() {
    let server = start(config()).await;
    for name in [
        "version",
        "error-unknown-model",
        "error-no-messages",
        "error-empty-body",
        "error-content-type",
        "error-not-json",
        "error-max-tokens",
        "error-temperature",
        "error-prompt-too-long",
        "error-unknown-path",
        "error-method",
        "lora-load",
        "lora-load-twice",
        "lora-load-no-path",
        "lora-unload",
        "lora-unload-unknown",
    ] {
        let (response, _) = server.exchange(&fixture(&format!("{name}.request"))).await;
        let body =
            |response: &[u8]| String::from_utf8_lossy(response).split_once("\r\n\r\n").unwrap().1.to_owned();
        assert_same(name, &body(&response), &body(&fixture(&format!("{name}.response"))));
    }
}

fn assert_same(name: &str, ours: &str, recorded: &str) {
    assert!(ours == recorded, "{name}\n--- ours\n{ours}\n--- recorded\n{recorded}");
}

/// The metric families, which routers read, have the recorded types and labels.
#[tokio::test]
async fn metrics_have_the_recorded_names_types_and_labels() {
    let server = start(config()).await;
    server.post("/v1/completions", r#"{"model":"tiny-lora-a","prompt":"Hi","max_tokens":2}"#).await;
    let ours = server.get("/metrics").await;
    let recorded = String::from_utf8(fixture("metrics-under-load.txt")).unwrap();
    let series = |page: &str| {
        let lines = page.lines().filter(|line| line.starts_with("vllm:")).map(|line| {
            let (name, labels) = line.split_once('{').unwrap();
            let labels = labels.rsplit_once('}').unwrap().0;
            let labels: Vec<_> = labels
                .split("\",")
                .map(|label| {
                    let (name, value) = label.split_once("=\"").unwrap();
                    let kept = matches!(name, "le" | "reason" | "finished_reason" | "source" | "engine");
                    format!("{name}={}", if kept { value.trim_end_matches('"') } else { "" })
                })
                .collect();
            format!("{name} {}", labels.join(" "))
        });
        lines.collect::<BTreeSet<_>>()
    };
    let types = |page: &str| {
        let lines = page.lines().filter(|line| line.starts_with("# TYPE vllm:"));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (our_types, their_types) = (types(&ours), types(&recorded));
    assert_eq!(our_types.difference(&their_types).collect::<Vec<_>>(), Vec::<&String>::new());
    let (our_series, their_series) = (series(&ours), series(&recorded));
    let mut unrecorded: Vec<_> = our_series.difference(&their_series).collect();
    // Most cache settings have no meaning in the model; the two that routers read are checked below.
    unrecorded.retain(|series| !series.starts_with("vllm:cache_config_info"));
    assert_eq!(unrecorded, Vec::<&String>::new());
    for needed in [
        "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} ",
        "vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny\"} ",
        "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny\"} ",
        "vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"tiny\",reason=\"deferred\"} ",
        "vllm:lora_requests_info{max_lora=\"1\",running_lora_adapters=\"",
        "vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"tiny\"} 1.0",
        "vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.005\",model_name=\"tiny\"} ",
        "vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"tiny\"} ",
    ] {
        assert!(ours.lines().any(|line| line.starts_with(needed)), "{needed}");
        let recorded_name = needed.split_once('{').unwrap().0;
        assert!(recorded.contains(recorded_name), "{recorded_name} is recorded");
    }
    let config = ours.lines().find(|line| line.starts_with("vllm:cache_config_info{")).unwrap();
    assert!(config.contains("block_size=\"32\"") && config.contains("num_gpu_blocks=\"512\""), "{config}");
}
