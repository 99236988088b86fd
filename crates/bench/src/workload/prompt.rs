use std::fmt;
use std::sync::Arc;

use pointsman_report::Random;

/// Prefixes that several prompts share, as system prompts do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedPrefix {
    /// How many different prefixes there are; each request draws one.
    pub groups: u32,
    /// How long each is.
    pub tokens: u32,
}

/// One request's prefix: the group that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixGroup {
    seed: u64,
    tokens: u32,
}

impl SharedPrefix {
    pub(super) fn draw(self, random: &mut Random) -> PrefixGroup {
        let group = random.below(usize::try_from(self.groups).unwrap_or(usize::MAX));
        PrefixGroup { seed: group as u64, tokens: self.tokens }
    }
}

/// What a request asks, as a recipe: the text is written when it is sent.
#[derive(Clone, PartialEq)]
pub enum Prompt {
    /// Random words.
    Generated {
        /// Makes the words.
        seed: u64,
        /// How many words, each one token of four bytes (with its space).
        tokens: u32,
        /// Words in front that other requests share.
        prefix: Option<PrefixGroup>,
    },
    /// A text that somebody wrote.
    Recorded {
        /// The text.
        text: Arc<str>,
    },
}

impl fmt::Debug for Prompt {
    /// Shapes only: a prompt's text never reaches a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generated { tokens, prefix, .. } => write!(formatter, "Generated({tokens}, {prefix:?})"),
            Self::Recorded { text } => write!(formatter, "Recorded({} bytes)", text.len()),
        }
    }
}

impl Prompt {
    pub(super) fn empty() -> Self {
        Self::Recorded { text: Arc::from("") }
    }

    /// Tokens of the prompt, estimated at four bytes each for a recorded text.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        match self {
            Self::Generated { tokens, prefix, .. } => {
                tokens.saturating_add(prefix.map_or(0, |prefix| prefix.tokens))
            }
            Self::Recorded { text } => u32::try_from(text.len() / 4).unwrap_or(u32::MAX),
        }
    }

    /// Writes the text. Texts of different salts differ from their first word on; those of one salt
    /// share their group's prefix and nothing else.
    #[must_use]
    pub fn text(&self, salt: u64) -> String {
        match self {
            Self::Generated { seed, tokens, prefix } => {
                let mut text = String::with_capacity(4 * usize::try_from(self.tokens()).unwrap_or(0));
                if let Some(prefix) = prefix {
                    push_words(&mut text, &mut Random::for_part(salt, prefix.seed), prefix.tokens);
                }
                push_words(&mut text, &mut Random::for_part(salt ^ seed.rotate_left(17), *seed), *tokens);
                text
            }
            Self::Recorded { text } if salt == 0 => text.as_ref().to_owned(),
            Self::Recorded { text } => {
                let mut salted = String::with_capacity(text.len() + 16);
                push_words(&mut salted, &mut Random::for_part(salt, u64::MAX), 4);
                salted.push_str(text);
                salted
            }
        }
    }
}

/// Common English words of three letters: with its space each is one token for the usual
/// byte-pair vocabularies, for a tokenizer that splits at spaces, and at four bytes per token.
const WORDS: [&str; 64] = [
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "her", "was", "one", "our", "out",
    "day", "get", "has", "him", "his", "how", "man", "new", "now", "old", "see", "two", "way", "who", "boy",
    "did", "its", "let", "put", "say", "she", "too", "use", "dad", "mom", "car", "dog", "cat", "sun", "sea",
    "sky", "red", "big", "hot", "top", "box", "bus", "cup", "eye", "ear", "leg", "arm", "bed", "map", "key",
    "job", "law", "war", "air",
];

fn push_words(text: &mut String, random: &mut Random, count: u32) {
    let (mut bits, mut left) = (0, 0);
    for _ in 0..count {
        // Ten words of six bits from each draw.
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
