//! ShareGPT: conversations as pairs of prompt and answer.

use std::sync::Arc;

use pointsman_config::{Problem, SourceText};
use serde::Deserialize;

use super::Collector;

/// Shorter prompts or answers are left out, and so are longer ones: the filter of `inference-benchmark` (LPG).
const TOKENS: std::ops::RangeInclusive<u32> = 4..=1_024;

/// Characters of English text for a token of a Llama tokeniser, about.
const CHARACTERS_PER_TOKEN: usize = 4;

#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    conversations: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    value: String,
}

/// Reads ShareGPT's JSON: of each conversation the first two turns, as tokens estimated at four characters each.
///
/// # Errors
/// Where the text is not such a file, or nothing in it can be used.
pub fn read_sharegpt(source: &SourceText) -> Result<Arc<[(u32, u32)]>, Vec<Problem>> {
    let mut collector = Collector::new(source);
    match serde_json::from_str::<Vec<Conversation>>(&source.text) {
        Ok(conversations) => {
            let pairs: Arc<[_]> = conversations.iter().filter_map(|one| pair(&one.conversations)).collect();
            if !pairs.is_empty() {
                return Ok(pairs);
            }
            let message = "no conversation has two turns of 4 to 1,024 tokens";
            collector.problem((1, 1), "", message, "name a file with conversations");
        }
        Err(error) => {
            let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            let at = (place(error.line()), place(error.column()));
            collector.problem(
                at,
                "",
                message,
                "the file must be a JSON list of {conversations: [{value: …}]}",
            );
        }
    }
    Err(collector.problems)
}

fn pair(messages: &[Message]) -> Option<(u32, u32)> {
    let [prompt, answer, ..] = messages else { return None };
    Some((tokens(&prompt.value)?, tokens(&answer.value)?))
}

fn tokens(text: &str) -> Option<u32> {
    let tokens = text.chars().count().div_ceil(CHARACTERS_PER_TOKEN);
    u32::try_from(tokens).ok().filter(|tokens| TOKENS.contains(tokens))
}
