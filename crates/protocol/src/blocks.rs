//! The block hashes of a prompt, for prefix indexes.
//!
//! A prompt is hashed as a sequence of bytes: text as UTF-8 with JSON's escapes resolved, a token id as four bytes, an
//! image as four bytes per estimated token. One token of the estimate is therefore always four bytes, and a block of
//! 256 bytes is 64 tokens. A last incomplete block has no hash.
//!
//! The hashes also cover the boundaries of messages and parts with their types and roles, which take no bytes. The end
//! of a conversation is not a boundary: the bytes of the next turn begin with those of this turn, and so do its hashes.
//!
//! Texts are compared unescaped, and messages regardless of the order of their keys. Tools, tool calls and references
//! to media are compared as written in the body. Fields that select a chat template, such as `chat_template_kwargs`,
//! are not covered.
//!
//! Hashing is written by hand around XXH3 for its speed: a quiet core hashes prose at 14 GB/s, source code (an escape
//! every 40 bytes) at 4, and token ids at 1.6 (`cargo bench -p pointsman-protocol --bench scan`).

mod chain;
mod key;
mod text;
mod token_ids;

use self::chain::Chain;
pub use self::key::BlockKey;
use crate::prompt::{BYTES_PER_TOKEN, PromptSpan, SpanKind, TOKENS_PER_IMAGE};
use crate::request::BodyFacts;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = BLOCK_TOKENS as usize * BYTES_PER_TOKEN;

/// Tokens of a block, by the estimate of [`BodyFacts::estimated_prompt_tokens`].
pub const BLOCK_TOKENS: u32 = 64;

/// Upper bound of a prompt's blocks: about four megabytes of text, or a million tokens. Only the beginning of a longer
/// prompt is hashed.
pub const MAX_BLOCKS: usize = 16_384;

/// Hashes the prompt of `body` in one pass. `facts` must come from a scan of this body.
///
/// Each hash covers all bytes up to the end of its block, `target` (the name of the model or adapter that the engine is
/// asked for) and the body's `cache_salt`: the first n hashes of two prompts are equal exactly when their first n
/// blocks, targets and salts are, except for collisions of 64-bit hashes. Hashes of one key say nothing about those of
/// another.
///
/// Only the first prompt of a batch is hashed, which suffices to find the engine that has its blocks.
#[must_use]
pub fn prompt_blocks(key: &BlockKey, body: &[u8], facts: &BodyFacts, target: Option<&str>) -> Vec<u64> {
    hash_spans(key, body, facts, target, &facts.prompt.spans)
}

fn hash_spans(
    key: &BlockKey,
    body: &[u8],
    facts: &BodyFacts,
    target: Option<&str>,
    spans: &[PromptSpan],
) -> Vec<u64> {
    let blocks = facts.prompt.estimated_tokens() / u64::from(BLOCK_TOKENS);
    if blocks == 0 {
        return Vec::new();
    }
    // A list that mixes numbers and texts, which engines refuse, holds more bytes than its estimate says.
    let mut chain = Chain::new(key, usize::try_from(blocks).unwrap_or(MAX_BLOCKS).min(MAX_BLOCKS));
    chain.salt(target.map(|name| name.trim_ascii().as_bytes()));
    chain.salt(facts.cache_salt.as_ref().map(crate::CacheSalt::as_bytes));
    for span in spans.iter().filter(|span| span.prompt == 0) {
        if chain.is_full() {
            break;
        }
        let value = body.get(span.range.clone()).unwrap_or_default();
        let field = u64::from(span.field.index());
        match span.kind {
            SpanKind::Role => chain.boundary(field << 8, key.hash(value)),
            SpanKind::Text => {
                chain.boundary(field << 8 | 1, 0);
                text::push(value, &mut chain);
            }
            SpanKind::TokenIds => {
                chain.boundary(field << 8 | 2, 0);
                token_ids::push(value, &mut chain);
            }
            SpanKind::Json => {
                chain.boundary(field << 8 | 3, 0);
                chain.bytes(value);
            }
            SpanKind::Media => {
                chain.boundary(field << 8 | 4, key.hash(value));
                chain.bytes(&[0; TOKENS_PER_IMAGE as usize * BYTES_PER_TOKEN]);
            }
        }
    }
    chain.into_hashes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defect of sglang issue 26263, which the test below must detect: only the first message of a conversation is
    /// hashed.
    fn first_message_blocks(
        key: &BlockKey,
        body: &[u8],
        facts: &BodyFacts,
        target: Option<&str>,
    ) -> Vec<u64> {
        let spans = &facts.prompt.spans;
        let role = |span: &PromptSpan| span.kind == SpanKind::Role;
        let second = spans.iter().enumerate().filter(|(_, span)| role(span)).nth(1);
        let end = second.map_or(spans.len(), |(at, _)| at);
        hash_spans(key, body, facts, target, &spans[..end])
    }

    type Hash = fn(&BlockKey, &[u8], &BodyFacts, Option<&str>) -> Vec<u64>;

    /// Whether the second turn of a conversation shares more blocks with its first turn than with another conversation
    /// that has the same system prompt.
    fn tells_conversations_apart(hash: Hash) -> bool {
        let message =
            |role: &str, word: &str| format!(r#"{{"role":"{role}","content":"{}"}}"#, word.repeat(300));
        let system = message("system", "rule ");
        let turn = |messages: &[String]| {
            let body = format!(r#"{{"model":"m","messages":[{system},{}]}}"#, messages.join(","));
            let facts = BodyFacts::scan(body.as_bytes()).expect("a body");
            hash(&BlockKey::new([1, 2]), body.as_bytes(), &facts, Some("m"))
        };
        let first = turn(&[message("user", "ships ")]);
        let other = turn(&[message("user", "trees ")]);
        let second =
            turn(&[message("user", "ships "), message("assistant", "sail "), message("user", "why ")]);
        let shared = |with: &[u64]| second.iter().zip(with).take_while(|(left, right)| left == right).count();
        shared(&first) > shared(&other)
    }

    #[test]
    fn hashes_cover_all_messages_of_a_conversation() {
        assert!(tells_conversations_apart(prompt_blocks));
        assert!(!tells_conversations_apart(first_message_blocks), "the test does not detect the defect");
    }

    #[test]
    fn a_list_that_mixes_numbers_and_digits_in_texts_has_no_more_blocks_than_its_estimate() {
        let digits = "0 ".repeat(200);
        let body = format!(r#"{{"prompt":[[0,"{digits}"],0]}}"#);
        let facts = BodyFacts::scan(body.as_bytes()).expect("a body");
        let blocks = prompt_blocks(&BlockKey::new([1, 2]), body.as_bytes(), &facts, None).len() as u64;
        assert!(blocks * u64::from(BLOCK_TOKENS) <= facts.estimated_prompt_tokens());
    }
}
