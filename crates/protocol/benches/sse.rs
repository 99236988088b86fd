//! The time to scan an event stream per event, with `serde_json` on the same events as the baseline.

use divan::{Bencher, counter::ItemsCount};
use pointsman_protocol::{SseScanner, StreamFormat};

fn main() {
    divan::main();
}

const CHAT: &str = "data: {\"id\":\"chatcmpl-8b38014fd4efc64f\",\"object\":\"chat.completion.chunk\",\
    \"created\":1795252166,\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" slots\"},\
    \"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}]}\n\n";
const COMPLETION: &str = "data: {\"id\":\"cmpl-9a1f809c6f44070e\",\"object\":\"text_completion\",\
    \"created\":1795252163,\"model\":\"tiny\",\"choices\":[{\"index\":0,\"text\":\" missing\",\"logprobs\":null,\
    \"finish_reason\":null,\"stop_reason\":null,\"prompt_token_ids\":null,\"token_ids\":null}]}\n\n";
const MESSAGE: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\
    \"delta\":{\"type\":\"text_delta\",\"text\":\" check\"},\"index\":0}\n\n";

/// Formats with one event per token.
const EVENTS: [StreamFormat; 3] =
    [StreamFormat::ChatCompletions, StreamFormat::Completions, StreamFormat::Messages];

fn event(format: StreamFormat) -> &'static str {
    match format {
        StreamFormat::ChatCompletions => CHAT,
        StreamFormat::Messages => MESSAGE,
        StreamFormat::Completions
        | StreamFormat::Responses
        | StreamFormat::Generate
        | StreamFormat::Unknown => COMPLETION,
    }
}

#[divan::bench(args = EVENTS)]
fn one_event_per_chunk(bencher: Bencher<'_, '_>, format: StreamFormat) {
    bencher
        .counter(ItemsCount::new(1_u32))
        .with_inputs(|| SseScanner::new(format))
        .bench_refs(|scanner| scanner.push(divan::black_box(event(format).as_bytes())));
}

#[divan::bench(args = EVENTS)]
fn a_thousand_events(bencher: Bencher<'_, '_>, format: StreamFormat) {
    let stream = event(format).repeat(1_000);
    bencher
        .counter(ItemsCount::new(1_000_u32))
        .with_inputs(|| SseScanner::new(format))
        .bench_refs(|scanner| scanner.push(divan::black_box(stream.as_bytes())));
}

#[divan::bench(args = EVENTS)]
fn a_thousand_events_in_two_chunks_each(bencher: Bencher<'_, '_>, format: StreamFormat) {
    let event = event(format).as_bytes();
    let (first, second) = event.split_at(event.len() / 2);
    bencher.counter(ItemsCount::new(1_000_u32)).with_inputs(|| SseScanner::new(format)).bench_refs(
        |scanner| {
            for _ in 0..1_000 {
                scanner.push(divan::black_box(first));
                scanner.push(divan::black_box(second));
            }
        },
    );
}

#[divan::bench(args = EVENTS)]
fn serde_json_a_thousand_values(bencher: Bencher<'_, '_>, format: StreamFormat) {
    let event = event(format);
    let json = event.get(event.find('{').unwrap_or_default()..).unwrap_or_default().trim_end();
    bencher.counter(ItemsCount::new(1_000_u32)).bench(|| {
        for _ in 0..1_000 {
            let _ = divan::black_box(serde_json::from_str::<serde_json::Value>(divan::black_box(json)));
        }
    });
}
