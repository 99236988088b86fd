//! Answers: how long, and which words.
//!
//! An answer is a function of the server's seed, the request's seed, the prompt and the number of the choice, so a
//! repeated request gets the same answer. Each piece is one token.

use std::ops::Range;

use pointsman_core::Rng;

use super::tokens::{BlockHasher, Token};

/// The vocabulary of answers: 128 pieces of four bytes, none of which JSON has to escape.
const PIECES: [[u8; 4]; 128] = [
    *b" the", *b" and", *b" for", *b" are", *b" but", *b" not", *b" you", *b" all", *b" can", *b" her",
    *b" was", *b" one", *b" our", *b" out", *b" day", *b" get", *b" has", *b" him", *b" his", *b" how",
    *b" man", *b" new", *b" now", *b" old", *b" see", *b" two", *b" way", *b" who", *b" did", *b" its",
    *b" let", *b" put", *b" say", *b" she", *b" too", *b" use", *b" car", *b" big", *b" few", *b" got",
    *b" own", *b" red", *b" run", *b" sea", *b" sky", *b" sun", *b" top", *b" try", *b" win", *b" air",
    *b" arm", *b" art", *b" ask", *b" bad", *b" bag", *b" bar", *b" bed", *b" bit", *b" box", *b" bus",
    *b" buy", *b" cup", *b" cut", *b" dog", *b" dry", *b" ear", *b" eat", *b" egg", *b" end", *b" eye",
    *b" far", *b" fit", *b" fly", *b" fun", *b" gas", *b" hat", *b" hit", *b" hot", *b" ice", *b" job",
    *b" joy", *b" key", *b" kid", *b" law", *b" lay", *b" leg", *b" lot", *b" low", *b" map", *b" mix",
    *b" net", *b" oil", *b" pay", *b" pen", *b" per", *b" pie", *b" pop", *b" raw", *b" rid", *b" set",
    *b" sit", *b" six", *b" son", *b" tax", *b" tea", *b" ten", *b" tie", *b" tip", *b" toe", *b" via",
    *b" wet", *b" yes", *b" yet", *b" add", *b" age", *b" ago", *b" aid", *b" aim", *b" any", *b"ing ",
    *b"tion", *b"ment", *b"er, ", *b"ed. ", *b"ness", *b"able", *b"less", *b". A ",
];

/// Quantiles of ShareGPT answers in tokens (median 144, p90 564, p99 948; capped at 1,024), joined by lines: how long
/// an answer is when nothing else ends it.
const LENGTHS: [(f64, f64); 5] = [(0.0, 4.0), (0.5, 144.0), (0.9, 564.0), (0.99, 948.0), (1.0, 1024.0)];

/// What a request says about its answer.
#[derive(Clone, Default)]
pub(crate) struct AnswerRequest {
    /// The most tokens it may have.
    pub(crate) max_tokens: u32,
    /// The fewest.
    pub(crate) min_tokens: u32,
    /// Whether it goes on to `max_tokens` in any case.
    pub(crate) ignore_eos: bool,
    /// Strings that end it and are not part of it.
    pub(crate) stop: Vec<String>,
    /// The request's own seed.
    pub(crate) seed: u64,
}

/// Why an answer ends.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Ending {
    /// Its drawn length.
    Natural,
    /// `max_tokens`.
    Length,
    /// One of the stop strings.
    Stop(String),
}

/// One answer, known in full before its first token.
#[derive(Clone)]
pub(crate) struct Answer {
    seed: u64,
    /// Tokens.
    pub(crate) tokens: u32,
    /// Bytes of text; less than four for each token where a stop string was cut off.
    text_bytes: usize,
    /// Why it ends.
    pub(crate) ending: Ending,
}

impl Answer {
    /// Draws the answer to a prompt, given by its fingerprint.
    pub(crate) fn draw(request: &AnswerRequest, server_seed: u64, prompt: u64, choice: u32) -> Self {
        let mut rng = Rng::seeded(server_seed ^ request.seed.rotate_left(17) ^ prompt);
        let mut rng = Rng::seeded(rng.next_u64().wrapping_add(u64::from(choice)));
        let drawn = drawn_length(&mut rng).max(request.min_tokens);
        let seed = rng.next_u64();
        let (tokens, ending) = if request.ignore_eos || drawn > request.max_tokens {
            (request.max_tokens, Ending::Length)
        } else {
            (drawn, Ending::Natural)
        };
        let mut answer = Self { seed, tokens, text_bytes: tokens as usize * 4, ending };
        if !request.stop.is_empty() {
            answer.cut_at_stop(&request.stop, request.min_tokens);
        }
        answer
    }

    /// Appends the text of a range of its tokens.
    pub(crate) fn write(&self, tokens: Range<u32>, to: &mut Vec<u8>) {
        let start = to.len();
        for position in tokens.clone() {
            to.extend_from_slice(&self.piece(position));
        }
        let room = self.text_bytes.saturating_sub(tokens.start as usize * 4);
        to.truncate(start + room.min(to.len() - start));
    }

    /// Its whole text.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::with_capacity(self.text_bytes);
        self.write(0..self.tokens, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// One of its tokens.
    pub(crate) fn token(&self, position: u32) -> Token {
        Token::of(&self.piece(position))
    }

    /// Appends its tokens to its prompt's.
    pub(crate) fn hash_into(&self, hasher: &mut BlockHasher) {
        for position in 0..self.tokens {
            hasher.push(self.token(position));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the index is below the number of pieces")]
    fn piece(&self, position: u32) -> [u8; 4] {
        let drawn = Rng::seeded(self.seed.wrapping_add(u64::from(position) << 20)).next_u64();
        PIECES[drawn as usize % PIECES.len()]
    }

    fn cut_at_stop(&mut self, stop: &[String], min_tokens: u32) {
        let text = self.text();
        let allowed_from = min_tokens as usize * 4;
        let found = stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
            let mut at = text.match_indices(stop.as_str()).map(|(at, _)| at);
            at.find(|at| at + stop.len() > allowed_from).map(|at| (at, stop))
        });
        if let Some((at, stop)) = found.min_by_key(|(at, stop)| (at + stop.len(), *at)) {
            self.text_bytes = at;
            self.tokens = u32::try_from((at + stop.len()).div_ceil(4)).unwrap_or(self.tokens);
            self.ending = Ending::Stop(stop.clone());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the upper 53 bits of a draw are exact in a float")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths are small and positive")]
fn drawn_length(rng: &mut Rng) -> u32 {
    let quantile = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let segment = LENGTHS.windows(2).find(|pair| quantile < pair[1].0);
    segment.map_or(1024, |pair| {
        let [(from, short), (to, long)] = [pair[0], pair[1]];
        (short + (quantile - from) / (to - from) * (long - short)) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(max_tokens: u32) -> AnswerRequest {
        AnswerRequest { max_tokens, ..AnswerRequest::default() }
    }

    #[test]
    fn an_answer_repeats_with_its_seeds_and_changes_with_each() {
        let text = |seed, server, prompt, choice| {
            Answer::draw(&AnswerRequest { seed, ..request(50) }, server, prompt, choice).text()
        };
        assert_eq!(text(1, 2, 3, 0), text(1, 2, 3, 0));
        for other in [text(9, 2, 3, 0), text(1, 9, 3, 0), text(1, 2, 9, 0), text(1, 2, 3, 1)] {
            assert_ne!(text(1, 2, 3, 0), other);
        }
    }

    #[test]
    fn lengths_follow_the_table_and_end_as_they_say() {
        let mut lengths: Vec<_> =
            (0..10_000).map(|prompt| Answer::draw(&request(4096), 7, prompt, 0)).collect();
        assert!(lengths.iter().all(|answer| answer.ending == Ending::Natural));
        lengths.sort_by_key(|answer| answer.tokens);
        assert!((130..160).contains(&lengths[5_000].tokens), "median {}", lengths[5_000].tokens);
        assert!((530..600).contains(&lengths[9_000].tokens), "p90 {}", lengths[9_000].tokens);
        let short = Answer::draw(&request(3), 7, 1, 0);
        assert_eq!((short.tokens, short.ending), (3, Ending::Length));
        let forced = Answer::draw(&AnswerRequest { ignore_eos: true, ..request(2000) }, 7, 1, 0);
        assert_eq!((forced.tokens, forced.ending), (2000, Ending::Length));
    }

    #[test]
    fn a_stop_string_ends_the_text_before_it_and_counts_its_token() {
        let whole = Answer::draw(&AnswerRequest { ignore_eos: true, ..request(40) }, 1, 2, 0).text();
        let stop = whole[42..45].to_owned();
        let at = whole.find(&stop).unwrap();
        let wanted = AnswerRequest { ignore_eos: true, stop: vec![stop.clone()], ..request(40) };
        let answer = Answer::draw(&wanted, 1, 2, 0);
        assert_eq!(answer.text(), whole[..at]);
        assert_eq!(answer.ending, Ending::Stop(stop.clone()));
        assert_eq!(answer.tokens as usize, (at + stop.len()).div_ceil(4));
        let later = Answer::draw(&AnswerRequest { min_tokens: 40, ..wanted }, 1, 2, 0);
        assert_eq!(later.ending, Ending::Length, "not before min_tokens");
    }

    #[test]
    fn parts_of_an_answer_join_to_the_whole() {
        let answer = Answer::draw(&request(60), 1, 2, 0);
        let mut parts = Vec::new();
        for position in 0..answer.tokens {
            answer.write(position..position + 1, &mut parts);
        }
        assert_eq!(parts, answer.text().into_bytes());
    }

    #[test]
    fn no_piece_needs_escaping() {
        assert!(
            PIECES.iter().flatten().all(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\\' | 0..=0x1f))
        );
    }
}
