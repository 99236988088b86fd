//! The tokenizer: four bytes of UTF-8 are one token.
//!
//! A token id is its bytes as a little-endian integer, so ids can be turned back into text. The last token of a text
//! may be shorter; its missing bytes are `0xFF`, which UTF-8 never contains. Marker tokens of the chat template are
//! `0xFE`, a code, `0xFF`, `0xFF`.

use pointsman_core::{BlockHash, Rng};

const PADDING: u8 = 0xFF;
const MARKER: u8 = 0xFE;

/// A token id.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Token(pub(crate) u32);

impl Token {
    /// A marker of the chat template.
    pub(crate) const fn marker(code: u8) -> Self {
        Self(u32::from_le_bytes([MARKER, code, PADDING, PADDING]))
    }

    /// The token of up to four bytes; further bytes are ignored.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut padded = [PADDING; 4];
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(u32::from_le_bytes(padded))
    }
}

/// Appends the tokens of `text`.
pub(crate) fn tokenize(text: &str, tokens: &mut Vec<Token>) {
    tokens.extend(text.as_bytes().chunks(4).map(Token::from_bytes));
}

/// The text of these tokens; bytes that are not UTF-8 become replacement characters.
pub(crate) fn detokenize(tokens: &[Token]) -> String {
    let mut bytes = Vec::with_capacity(tokens.len() * 4);
    for token in tokens {
        match token.0.to_le_bytes() {
            [MARKER, code, PADDING, PADDING] => bytes.extend_from_slice(format!("<|{code}|>").as_bytes()),
            piece => bytes.extend(piece.into_iter().filter(|byte| *byte != PADDING)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Chained hashes of the KV blocks of a token sequence. Two sequences with equal salts have equal hashes exactly for
/// the blocks of their common prefix.
#[derive(Clone, Debug)]
pub(crate) struct BlockHasher {
    block_size: u32,
    state: u64,
    /// Tokens in the incomplete block.
    filled: u32,
    /// Length of the sequence so far.
    pub(crate) tokens: u32,
    pub(crate) hashes: Vec<BlockHash>,
}

impl BlockHasher {
    /// An empty sequence. Sequences with different salts have no hash in common.
    pub(crate) fn new(block_size: u32, salts: &[&str]) -> Self {
        let mut hasher = Self { block_size, state: 0, filled: 0, tokens: 0, hashes: Vec::new() };
        for salt in salts {
            for byte in salt.as_bytes() {
                hasher.mix(u64::from(*byte));
            }
            hasher.mix(u64::from(u32::MAX) + 1);
        }
        hasher
    }

    pub(crate) fn push(&mut self, token: Token) {
        self.mix(u64::from(token.0));
        self.tokens = self.tokens.saturating_add(1);
        self.filled += 1;
        if self.filled == self.block_size {
            self.filled = 0;
            self.hashes.push(BlockHash(self.fingerprint()));
        }
    }

    /// A hash of the salts and all tokens so far.
    pub(crate) fn fingerprint(&self) -> u64 {
        Rng::seeded(self.state).next_u64()
    }

    fn mix(&mut self, value: u64) {
        self.state = (self.state.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        tokenize(text, &mut tokens);
        tokens
    }

    #[test]
    fn four_bytes_are_a_token_and_detokenize_inverts_tokenize() {
        for (text, count) in [("", 0), ("a", 1), ("abcd", 1), ("Hello there", 3), ("größer 日本", 4)] {
            let tokens = tokens_of(text);
            assert_eq!(tokens.len(), count, "{text}");
            assert_eq!(detokenize(&tokens), text);
        }
    }

    #[test]
    fn markers_and_unknown_ids_are_detokenized() {
        assert_eq!(detokenize(&[Token::marker(2), Token(0x6161_6161)]), "<|2|>aaaa");
        assert_eq!(detokenize(&[Token(0x80)]), "\u{fffd}\0\0\0");
    }

    #[test]
    fn equal_prefixes_have_equal_hashes_unless_salts_differ() {
        let hash = |salt: &str, text: &str| {
            let mut hasher = BlockHasher::new(2, &[salt]);
            tokens_of(text).into_iter().for_each(|token| hasher.push(token));
            hasher.hashes
        };
        let (one, two) = (hash("", "aaaabbbbccccdddd"), hash("", "aaaabbbbcccceeeeffff"));
        assert_eq!((one.len(), two.len()), (2, 2));
        assert_eq!(one[0], two[0]);
        assert_ne!(one[1], two[1]);
        assert_ne!(one[0], hash("salt", "aaaabbbb")[0]);
    }
}
