//! Mooncake traces: one JSON object per line.

use pointsman_random::mix;
use serde::Deserialize;

use super::{Collector, Record, line_number, stamp};

/// Prompt tokens per entry of `hash_ids`.
const BLOCK_TOKENS: u32 = 512;

#[derive(Deserialize)]
struct Line {
    /// Milliseconds.
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

pub(super) fn read(text: &str, collector: &mut Collector) {
    collector.trace.block_tokens = BLOCK_TOKENS;
    for (index, text) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line = line_number(index);
        if collector.is_full(line) {
            return;
        }
        match serde_json::from_str::<Line>(text) {
            Ok(row) => take(&row, line, collector),
            Err(error) => {
                let column = u32::try_from(error.column()).unwrap_or(u32::MAX).max(1);
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                let fix = "complete the row, or remove it";
                collector.problem((line, column), "", message, fix);
            }
        }
    }
}

fn take(row: &Line, line: u32, collector: &mut Collector) {
    let Some(at) = stamp::from_seconds(row.timestamp / 1e3) else {
        let message = format!("{:?} is not a time in milliseconds", row.timestamp);
        collector.problem((line, 1), "timestamp", message, "correct it, or remove the row");
        return;
    };
    if row.input_length == 0 {
        collector.problem((line, 1), "input_length", "is 0", "correct it, or remove the row");
        return;
    }
    let most = row.input_length.div_ceil(BLOCK_TOKENS) as usize;
    if row.hash_ids.len() > most {
        let message = format!("has {} ids, for {most} blocks of {BLOCK_TOKENS} tokens", row.hash_ids.len());
        collector.problem((line, 1), "hash_ids", message, "correct the row, or remove it");
        return;
    }
    let record = Record { line, at, prompt: row.input_length, output: row.output_length };
    // An id names a block's content, but caches hold prefixes: each hash is chained to those before it.
    let chain = row.hash_ids.iter().scan(0, |hash, id| {
        *hash = mix(*hash, *id);
        Some(*hash)
    });
    collector.push(&record, chain);
}
