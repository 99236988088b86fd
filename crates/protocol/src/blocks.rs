//! A prompt as a chain of block hashes, for a prefix index.
//!
//! A prompt's *material* is what the model will read, as bytes: text as UTF-8 with JSON's escapes resolved, a token
//! id as four bytes, an image as the bytes that its estimated tokens would take. So a token of the estimate is always
//! four bytes of material, and a block, 256 bytes, is 64 tokens. The last part that fills no block has no hash.
//!
//! Where a message or a piece begins, what kind of piece it is and whose message it is goes into the hashes as well,
//! without being material. Nothing marks where a conversation ends: the next turn's material begins with this one's,
//! and so does its chain.
//!
//! What counts as the same: text however it is escaped, and a message whatever the order of its keys. What is
//! compared as it stands: tools and tool calls, which are JSON to the template too, and what names or holds an image.
//! Fields that switch a chat template, such as `chat_template_kwargs`, are not looked at.

mod chain;
mod ids;
mod text;

use twox_hash::XxHash3_64;

use self::chain::Chain;
use crate::prompt::{PromptSpan, SpanKind, TOKENS_PER_IMAGE};
use crate::request::BodyFacts;

/// Bytes of material in a block.
pub const BLOCK_BYTES: usize = 256;

/// Prompt tokens that a block stands for, by the estimate of [`BodyFacts::estimated_prompt_tokens`].
pub const BLOCK_TOKENS: u32 = 64;

/// The most blocks of a prompt that are hashed, about four megabytes of text or a million tokens: a longer prompt is
/// known by its beginning.
pub const MAX_BLOCKS: usize = 16_384;

/// Bytes of material that a token stands for, in estimates.
pub(crate) const BYTES_PER_TOKEN: usize = BLOCK_BYTES / BLOCK_TOKENS as usize;

/// Where every chain starts. Another value parts the chains of versions that hash differently; replicas of several
/// versions then share nothing, where they would otherwise share some by accident.
const ORIGIN: u64 = 0x706f_696e_7473_0001;

/// Hashes the prompt of `body`, whose facts these are, in one pass. Each hash covers all material up to the end of
/// its block, `target` (the name of the model or adapter that the engine will be asked for) and the body's
/// `cache_salt`. So two prompts have the first n hashes in common exactly when their first n blocks, models and salts
/// are the same, but for one chance in 2⁶⁴. The hashes are the same in every process and on every machine.
///
/// Of a batch only the first prompt is hashed: it is enough to find the engine that saw the batch's beginning, and
/// the chain stays one.
#[must_use]
pub fn prompt_blocks(body: &[u8], facts: &BodyFacts, target: Option<&str>) -> Vec<u64> {
    hash_spans(body, facts, target, &facts.prompt.spans)
}

fn hash_spans(body: &[u8], facts: &BodyFacts, target: Option<&str>, spans: &[PromptSpan]) -> Vec<u64> {
    let blocks = facts.prompt.estimated_tokens() / u64::from(BLOCK_TOKENS);
    if blocks == 0 {
        return Vec::new();
    }
    let mut chain = Chain::new(ORIGIN, usize::try_from(blocks).unwrap_or(MAX_BLOCKS).min(MAX_BLOCKS));
    chain.salt(target.map(|name| name.trim_ascii().as_bytes()));
    chain.salt(facts.cache_salt.as_ref().map(crate::CacheSalt::as_bytes));
    for span in spans.iter().filter(|span| span.prompt == 0) {
        if chain.is_full() {
            break;
        }
        let value = body.get(span.range.clone()).unwrap_or_default();
        let place = u64::from(span.section.index());
        match span.kind {
            SpanKind::Role => chain.mark(place << 8, role(value)),
            SpanKind::Text => {
                chain.mark(place << 8 | 1, 0);
                text::read(value, &mut chain);
            }
            SpanKind::TokenIds => {
                chain.mark(place << 8 | 2, 0);
                ids::read(value, &mut chain);
            }
            SpanKind::Json => {
                chain.mark(place << 8 | 3, 0);
                chain.bytes(value);
            }
            SpanKind::Media => {
                chain.mark(place << 8 | 4, XxHash3_64::oneshot(value));
                chain.bytes(&[0; TOKENS_PER_IMAGE as usize * BYTES_PER_TOKEN]);
            }
        }
    }
    chain.into_hashes()
}

/// What tells roles apart. The usual ones are written without escapes; others only count as the same where they are
/// written the same.
fn role(value: &[u8]) -> u64 {
    XxHash3_64::oneshot(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A known failure (sglang issue 26263), to show that the comparison below would find it: of a conversation only
    /// the first message is hashed.
    fn first_message_blocks(body: &[u8], facts: &BodyFacts, target: Option<&str>) -> Vec<u64> {
        let spans = &facts.prompt.spans;
        let role = |span: &PromptSpan| span.kind == SpanKind::Role;
        let second = spans.iter().enumerate().filter(|(_, span)| role(span)).nth(1);
        let end = second.map_or(spans.len(), |(at, _)| at);
        hash_spans(body, facts, target, &spans[..end])
    }

    type Hash = fn(&[u8], &BodyFacts, Option<&str>) -> Vec<u64>;

    /// Whether the second turn of a conversation shares more with its own first turn than with another conversation
    /// under the same system prompt.
    fn tells_conversations_apart(hash: Hash) -> bool {
        let message =
            |role: &str, word: &str| format!(r#"{{"role":"{role}","content":"{}"}}"#, word.repeat(300));
        let system = message("system", "rule ");
        let turn = |messages: &[String]| {
            let body = format!(r#"{{"model":"m","messages":[{system},{}]}}"#, messages.join(","));
            let facts = BodyFacts::scan(body.as_bytes()).expect("a body");
            hash(body.as_bytes(), &facts, Some("m"))
        };
        let first = turn(&[message("user", "ships ")]);
        let other = turn(&[message("user", "trees ")]);
        let second =
            turn(&[message("user", "ships "), message("assistant", "sail "), message("user", "why ")]);
        let shared = |with: &[u64]| second.iter().zip(with).take_while(|(left, right)| left == right).count();
        shared(&first) > shared(&other)
    }

    #[test]
    fn a_conversation_is_known_by_all_its_messages() {
        assert!(tells_conversations_apart(prompt_blocks));
        assert!(!tells_conversations_apart(first_message_blocks), "the comparison finds nothing");
    }
}
