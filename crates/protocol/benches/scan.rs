//! The time to scan a request body and to hash its prompt, with `serde_json` on the same bytes as the baseline.

use divan::{Bencher, counter::BytesCount};
use pointsman_protocol::{BlockKey, BodyFacts, prompt_blocks};
use serde::de::IgnoredAny;

fn main() {
    divan::main();
}

/// The measured bodies.
#[derive(Debug, Clone, Copy)]
enum Body {
    /// A short chat turn, 200 bytes.
    Short,
    /// One message of 400 KB of plain prose.
    Prose,
    /// 1 MB of source code: an escape every 40 bytes.
    Code,
    /// 1 MB of text with three bytes per character.
    Wide,
    /// 400 turns of 100 bytes.
    Turns,
    /// 1 MB of Japanese text as Python's `json.dumps` writes it: all characters escaped.
    Escaped,
    /// 100,000 token ids.
    TokenIds,
}

const BODIES: [Body; 7] =
    [Body::Short, Body::Prose, Body::Code, Body::Wide, Body::Turns, Body::Escaped, Body::TokenIds];

fn make(body: Body) -> Vec<u8> {
    let chat = |messages: String| {
        format!(
            "{{\"model\":\"meta-llama/Llama-3-8B\",\"messages\":[{messages}],\"max_tokens\":128,\
             \"temperature\":0.7,\"stream\":true,\"stream_options\":{{\"include_usage\":true}}}}"
        )
    };
    let turn = |text: String| format!("{{\"role\":\"user\",\"content\":\"{text}\"}}");
    let text = match body {
        Body::Short => chat(turn("What does a pointsman do?".to_owned())),
        Body::Prose => chat(turn("The quick brown fox jumps over the lazy dog, again. ".repeat(8_000))),
        Body::Code => chat(turn("    let value = table.get(index)?;  // ok\\n".repeat(24_000))),
        Body::Wide => chat(turn("転轍機は列車を正しい線路へ導く".repeat(24_000))),
        Body::Turns => chat(
            vec![turn("A turn of about a hundred bytes, with a question in it?".to_owned()); 400].join(","),
        ),
        Body::Escaped => chat(turn(
            "転轍機は列車"
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>()
                .repeat(28_000),
        )),
        Body::TokenIds => {
            let ids: Vec<String> = (0..100_000).map(|id| (id % 32_000).to_string()).collect();
            format!("{{\"model\":\"tiny\",\"prompt\":[{}]}}", ids.join(","))
        }
    };
    text.into_bytes()
}

#[divan::bench(args = BODIES)]
fn facts(bencher: Bencher<'_, '_>, body: Body) {
    let bytes = make(body);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| BodyFacts::scan(divan::black_box(&bytes)));
}

#[divan::bench(args = BODIES)]
fn blocks(bencher: Bencher<'_, '_>, body: Body) {
    let bytes = make(body);
    let Ok(facts) = BodyFacts::scan(&bytes) else { return };
    let key = BlockKey::new([1, 2]);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| prompt_blocks(&key, divan::black_box(&bytes), &facts, Some("meta-llama/Llama-3-8B")));
}

#[divan::bench(args = BODIES)]
fn serde_json_ignored(bencher: Bencher<'_, '_>, body: Body) {
    let bytes = make(body);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| serde_json::from_slice::<IgnoredAny>(divan::black_box(&bytes)));
}

#[divan::bench(args = BODIES)]
fn serde_json_tree(bencher: Bencher<'_, '_>, body: Body) {
    let bytes = make(body);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| serde_json::from_slice::<serde_json::Value>(divan::black_box(&bytes)));
}
