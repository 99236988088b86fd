use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// The shortest and the longest turn that is used, in tokens, and the first two turns alone: the
/// filter of the `inference-benchmark` load generator.
const TOKENS: std::ops::RangeInclusive<usize> = 4..=1_024;

/// Bytes of English text per token, about. No tokenizer runs here: exact lengths depend on the model.
const BYTES_PER_TOKEN: usize = 4;

/// One recorded question, and how long its recorded answer was.
#[derive(Clone, PartialEq, Eq)]
pub struct Conversation {
    /// What was asked.
    pub prompt: Arc<str>,
    /// The answer's length, estimated at four bytes per token.
    pub output_tokens: u32,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Conversation({} bytes, {} tokens)", self.prompt.len(), self.output_tokens)
    }
}

/// A conversation file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a ShareGPT file (a JSON array of objects with `conversations`): line {}, column {}", .0.line(), .0.column())]
pub struct ShareGptError(serde_json::Error);

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

/// Reads a file in ShareGPT's format: `[{"conversations": [{"from": …, "value": …}, …]}, …]`. The first
/// turn is the prompt, the second the answer whose length is asked for; conversations with fewer turns,
/// or with one of the two outside 4 to 1,024 tokens, are left out.
///
/// # Errors
/// When the text is not JSON of that shape; the message holds the position, never the text.
pub fn parse_sharegpt(json: &[u8]) -> Result<Vec<Conversation>, ShareGptError> {
    let records: Vec<Record> = serde_json::from_slice(json).map_err(ShareGptError)?;
    Ok(records.into_iter().filter_map(usable).collect())
}

fn usable(record: Record) -> Option<Conversation> {
    let mut turns = record.conversations.into_iter();
    let (question, answer) = (turns.next()?.value, turns.next()?.value);
    let (prompt_tokens, output_tokens) = (question.len() / BYTES_PER_TOKEN, answer.len() / BYTES_PER_TOKEN);
    if !TOKENS.contains(&prompt_tokens) || !TOKENS.contains(&output_tokens) {
        return None;
    }
    Some(Conversation { prompt: question.into(), output_tokens: u32::try_from(output_tokens).ok()? })
}
