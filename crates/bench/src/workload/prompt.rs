//! Prompts as recipes, written when they are sent.

use std::fmt;
use std::sync::Arc;

use pointsman_report::Rng;
use pointsman_workload::estimated_tokens;

/// Prefixes shared by groups of prompts, as system prompts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Number of prefixes; each request draws one of them.
    pub groups: u32,
    /// Tokens of each prefix.
    pub tokens: u32,
}

/// The prefix of one request's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixGroup {
    pub(super) seed: u64,
    pub(super) tokens: u32,
}

/// A prompt as a recipe: its text is written when the request is sent.
#[derive(Clone, PartialEq)]
pub enum Prompt {
    /// Random words.
    Generated {
        /// Seed of the words.
        seed: u64,
        /// Number of words, each one token of four bytes with its space.
        tokens: u32,
        /// The shared prefix in front of them.
        prefix: Option<PrefixGroup>,
    },
    /// Text from a dataset.
    Recorded {
        /// The text.
        text: Arc<str>,
    },
}

impl fmt::Debug for Prompt {
    /// Sizes only: a prompt's text must not reach a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generated { tokens, prefix, .. } => write!(formatter, "Generated({tokens}, {prefix:?})"),
            Self::Recorded { text } => write!(formatter, "Recorded({} bytes)", text.len()),
        }
    }
}

impl Prompt {
    /// Tokens of the prompt; an estimate for recorded text.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        match self {
            Self::Generated { tokens, prefix, .. } => {
                tokens.saturating_add(prefix.map_or(0, |prefix| prefix.tokens))
            }
            Self::Recorded { text } => estimated_tokens(text),
        }
    }

    /// Writes the text. Texts of different salts differ from the first word on; texts of one salt share their group's
    /// prefix and nothing else.
    #[must_use]
    pub fn text(&self, salt: u64) -> String {
        match self {
            Self::Generated { seed, tokens, prefix } => {
                let mut text = String::with_capacity(4 * usize::try_from(self.tokens()).unwrap_or(0));
                if let Some(prefix) = prefix {
                    push_words(&mut text, &mut Rng::stream(salt, prefix.seed), prefix.tokens);
                }
                push_words(&mut text, &mut Rng::stream(salt ^ seed.rotate_left(17), *seed), *tokens);
                text
            }
            Self::Recorded { text } if salt == 0 => text.as_ref().to_owned(),
            Self::Recorded { text } => {
                let mut salted = String::with_capacity(text.len() + 16);
                push_words(&mut salted, &mut Rng::stream(salt, u64::MAX), 4);
                salted.push_str(text);
                salted
            }
        }
    }
}

/// Common English words of three letters. With its space, each is one token for the usual byte-pair vocabularies, for a
/// tokenizer that splits at spaces, and at four bytes per token.
const WORDS: [&str; 64] = [
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "her", "was", "one", "our", "out",
    "day", "get", "has", "him", "his", "how", "man", "new", "now", "old", "see", "two", "way", "who", "boy",
    "did", "its", "let", "put", "say", "she", "too", "use", "dad", "mom", "car", "dog", "cat", "sun", "sea",
    "sky", "red", "big", "hot", "top", "box", "bus", "cup", "eye", "ear", "leg", "arm", "bed", "map", "key",
    "job", "law", "war", "air",
];

fn push_words(text: &mut String, random: &mut Rng, count: u32) {
    let (mut bits, mut left) = (0, 0);
    for _ in 0..count {
        // Each draw of 64 bits gives ten indices of six bits.
        if left == 0 {
            (bits, left) = (random.next_u64(), 10);
        }
        let index = usize::try_from(bits & 63).unwrap_or(0);
        text.push_str(WORDS.get(index).copied().unwrap_or("the"));
        text.push(' ');
        bits >>= 6;
        left -= 1;
    }
}
