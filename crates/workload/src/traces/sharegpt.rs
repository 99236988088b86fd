//! ShareGPT: conversations as pairs of prompt and output.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use pointsman_yaml::{Problem, SourceText};
use serde::Deserialize;

use super::Collector;

/// Lengths that are kept, for the first two turns alone: the filter of `inference-benchmark` (LPG).
const TOKENS: RangeInclusive<u32> = 4..=1_024;

/// UTF-8 bytes per token of English text, approximately.
const BYTES_PER_TOKEN: usize = 4;

/// A prompt and the length of its recorded output.
#[derive(Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The prompt's text.
    pub prompt: Arc<str>,
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u32,
    /// Tokens of the recorded output, estimated.
    pub output_tokens: u32,
}

impl fmt::Debug for Conversation {
    /// Sizes only: a prompt's text must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conversation({} and {} tokens)", self.prompt_tokens, self.output_tokens)
    }
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    conversations: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    value: String,
}

/// Reads ShareGPT's format, `[{"conversations": [{"value": …}, …]}, …]`: the first message of a conversation is the
/// prompt, the second gives the length of the output. Conversations in which either is shorter than 4 or longer than
/// 1,024 tokens are skipped.
///
/// # Errors
/// The text is not such a file, or no conversation can be used. The problem never quotes the text.
pub fn read_sharegpt(source: &SourceText) -> Result<Vec<Conversation>, Vec<Problem>> {
    let mut collector = Collector::new(source);
    match serde_json::from_str::<Vec<Record>>(&source.text) {
        Ok(records) => {
            let usable: Vec<Conversation> = records.into_iter().filter_map(conversation).collect();
            if !usable.is_empty() {
                return Ok(usable);
            }
            let message = "no conversation has two turns of 4 to 1,024 tokens";
            collector.problem((1, 1), "", message, "name a file with conversations");
        }
        Err(error) => {
            let position = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
            let at = (position(error.line()), position(error.column()));
            let fix = "the file must be a JSON list of {conversations: [{value: …}]}";
            collector.problem(at, "", "is not a ShareGPT file", fix);
        }
    }
    Err(collector.problems)
}

fn conversation(record: Record) -> Option<Conversation> {
    let mut messages = record.conversations.into_iter().map(|message| message.value);
    let (prompt, output) = (messages.next()?, messages.next()?);
    let (prompt_tokens, output_tokens) = (estimated_tokens(&prompt), estimated_tokens(&output));
    let usable = TOKENS.contains(&prompt_tokens) && TOKENS.contains(&output_tokens);
    usable.then(|| Conversation { prompt: prompt.into(), prompt_tokens, output_tokens })
}

/// Tokens of a text, estimated at four UTF-8 bytes each and rounded up, as the router estimates prompts and the
/// simulated engine tokenizes them. Bytes rather than characters: vocabularies are byte-level, and a token covers fewer
/// characters of other scripts than of English.
#[must_use]
pub fn estimated_tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Conversation>, Vec<Problem>> {
        read_sharegpt(&SourceText::new("talk.json", text))
    }

    #[test]
    fn conversations_outside_the_filter_are_skipped() {
        let turn = |words: usize| serde_json::json!({"from": "human", "value": "word ".repeat(words)});
        let file = serde_json::json!([
            {"id": "a", "conversations": [turn(10), turn(21), turn(5_000)]},
            {"conversations": [turn(10)]},
            {"conversations": [turn(1), turn(20)]},
            {"conversations": [turn(10), turn(2_000)]},
            {},
        ]);
        let found = read(&file.to_string()).unwrap();
        let lengths = found.iter().map(|one| (one.prompt.len(), one.prompt_tokens, one.output_tokens));
        assert_eq!(lengths.collect::<Vec<_>>(), [(50, 13, 27)]);
    }

    #[test]
    fn problems_and_debug_output_hold_no_text() {
        for text in ["[{\"conversations\": \"SECRET\"}]", "[]", "SECRET"] {
            let problems = read(text).unwrap_err();
            assert!(!problems.is_empty() && !format!("{problems:?}").contains("SECRET"));
        }
        let prompt = Arc::from("SECRET SECRET SECRET");
        let one = Conversation { prompt, prompt_tokens: 5, output_tokens: 7 };
        assert_eq!(format!("{one:?}"), "Conversation(5 and 7 tokens)");
    }

    #[test]
    fn tokens_are_bytes_over_four_rounded_up() {
        assert_eq!(["", "a", "abcd", "abcde", "日本"].map(estimated_tokens), [0, 1, 1, 2, 2]);
    }
}
