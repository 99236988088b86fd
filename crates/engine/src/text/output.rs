//! Generated outputs: length, words and finish reason.
//!
//! An output is a function of the server's seed, the request's seed, the prompt and the index of the choice, so a
//! request that is sent again gets the same output. Each piece of text is one token.

use std::ops::Range;

use pointsman_core::Rng;
use serde::Serialize;

use super::tokens::Token;

/// The vocabulary of outputs: 128 pieces of four ASCII bytes, none of which JSON has to escape.
const PIECES: [&str; 128] = [
    " the", " and", " for", " are", " but", " not", " you", " all", " can", " her", " was", " one", " our",
    " out", " day", " get", " has", " him", " his", " how", " man", " new", " now", " old", " see", " two",
    " way", " who", " did", " its", " let", " put", " say", " she", " too", " use", " car", " big", " few",
    " got", " own", " red", " run", " sea", " sky", " sun", " top", " try", " win", " air", " arm", " art",
    " ask", " bad", " bag", " bar", " bed", " bit", " box", " bus", " buy", " cup", " cut", " dog", " dry",
    " ear", " eat", " egg", " end", " eye", " far", " fit", " fly", " fun", " gas", " hat", " hit", " hot",
    " ice", " job", " joy", " key", " kid", " law", " lay", " leg", " lot", " low", " map", " mix", " net",
    " oil", " pay", " pen", " per", " pie", " pop", " raw", " rid", " set", " sit", " six", " son", " tax",
    " tea", " ten", " tie", " tip", " toe", " via", " wet", " yes", " yet", " add", " age", " ago", " aid",
    " aim", " any", "ing ", "tion", "ment", "er, ", "ed. ", "ness", "able", "less", ". A ",
];

/// Quantiles of ShareGPT output lengths in tokens (median 144, p90 564, p99 948; capped at 1,024), interpolated
/// linearly: the length of an output that neither `max_tokens` nor a stop string ends.
const LENGTHS: [(f64, f64); 5] = [(0.0, 4.0), (0.5, 144.0), (0.9, 564.0), (0.99, 948.0), (1.0, 1024.0)];

/// The fields of a request that determine its outputs, named as in vLLM's `SamplingParams`.
#[derive(Clone, Default)]
pub(crate) struct SamplingParams {
    /// Upper bound of the output in tokens.
    pub(crate) max_tokens: u32,
    /// Tokens before which the output does not end.
    pub(crate) min_tokens: u32,
    /// Whether the output always has `max_tokens` tokens.
    pub(crate) ignore_eos: bool,
    /// Strings at which the output ends; the string found is not part of the text.
    pub(crate) stop: Vec<String>,
    /// The request's own seed.
    pub(crate) seed: u64,
}

/// vLLM's `finish_reason`, in the spelling of the OpenAI APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FinishReason {
    /// End of sequence or a stop string.
    Stop,
    /// `max_tokens`.
    Length,
    /// Cancelled by the server.
    Abort,
}

/// How the output of one choice ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finish<'a> {
    pub(crate) reason: FinishReason,
    /// vLLM's `stop_reason`: the stop string that was found.
    pub(crate) stop_reason: Option<&'a str>,
}

impl Finish<'_> {
    pub(crate) const ABORT: Self = Self { reason: FinishReason::Abort, stop_reason: None };
}

/// The output of one choice, known in full before its first token.
#[derive(Clone)]
pub(crate) struct Output {
    seed: u64,
    /// Length in tokens.
    pub(crate) tokens: u32,
    /// Length of the text in bytes: four per token, fewer where a stop string was cut off.
    text_bytes: usize,
    reason: FinishReason,
    stop_reason: Option<String>,
}

impl Output {
    /// Draws the output for a prompt, which its fingerprint identifies.
    pub(crate) fn draw(params: &SamplingParams, server_seed: u64, prompt: u64, choice: u32) -> Self {
        let mut rng = Rng::seeded(server_seed ^ params.seed.rotate_left(17) ^ prompt);
        let mut rng = Rng::seeded(rng.next_u64().wrapping_add(u64::from(choice)));
        let drawn = draw_length(&mut rng).max(params.min_tokens);
        let seed = rng.next_u64();
        let (tokens, reason) = if params.ignore_eos || drawn > params.max_tokens {
            (params.max_tokens, FinishReason::Length)
        } else {
            (drawn, FinishReason::Stop)
        };
        let mut output = Self { seed, tokens, text_bytes: tokens as usize * 4, reason, stop_reason: None };
        if !params.stop.is_empty() {
            output.cut_at_stop_string(&params.stop, params.min_tokens);
        }
        output
    }

    pub(crate) fn finish(&self) -> Finish<'_> {
        Finish { reason: self.reason, stop_reason: self.stop_reason.as_deref() }
    }

    /// Appends the text of a range of tokens.
    pub(crate) fn write_text(&self, tokens: Range<u32>, text: &mut String) {
        let start = text.len();
        let remaining = self.text_bytes.saturating_sub(tokens.start as usize * 4);
        for position in tokens {
            text.push_str(self.piece(position));
        }
        text.truncate(start.saturating_add(remaining));
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.text_bytes);
        self.write_text(0..self.tokens, &mut text);
        text
    }

    /// The tokens in order.
    pub(crate) fn token_ids(&self) -> impl Iterator<Item = Token> {
        (0..self.tokens).map(|position| Token::from_bytes(self.piece(position).as_bytes()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below the number of pieces")]
    fn piece(&self, position: u32) -> &'static str {
        let drawn = Rng::seeded(self.seed.wrapping_add(u64::from(position) << 20)).next_u64();
        PIECES[drawn as usize % PIECES.len()]
    }

    fn cut_at_stop_string(&mut self, stop: &[String], min_tokens: u32) {
        let text = self.text();
        let allowed_from = min_tokens as usize * 4;
        let found = stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
            let mut at = text.match_indices(stop.as_str()).map(|(at, _)| at);
            at.find(|at| at + stop.len() > allowed_from).map(|at| (at, stop))
        });
        if let Some((at, stop)) = found.min_by_key(|(at, stop)| (at + stop.len(), *at)) {
            self.text_bytes = at;
            self.tokens = u32::try_from((at + stop.len()).div_ceil(4)).unwrap_or(self.tokens);
            self.reason = FinishReason::Stop;
            self.stop_reason = Some(stop.clone());
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths are at most 1,024")]
fn draw_length(rng: &mut Rng) -> u32 {
    let quantile = rng.unit();
    let segment = LENGTHS.windows(2).find(|pair| quantile < pair[1].0);
    segment.map_or(1024, |pair| {
        let [(from, short), (to, long)] = [pair[0], pair[1]];
        (short + (quantile - from) / (to - from) * (long - short)) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(max_tokens: u32) -> SamplingParams {
        SamplingParams { max_tokens, ..SamplingParams::default() }
    }

    #[test]
    fn an_output_is_a_function_of_seeds_prompt_and_choice() {
        let text = |seed, server, prompt, choice| {
            Output::draw(&SamplingParams { seed, ..params(50) }, server, prompt, choice).text()
        };
        assert_eq!(text(1, 2, 3, 0), text(1, 2, 3, 0));
        for other in [text(9, 2, 3, 0), text(1, 9, 3, 0), text(1, 2, 9, 0), text(1, 2, 3, 1)] {
            assert_ne!(text(1, 2, 3, 0), other);
        }
    }

    #[test]
    fn lengths_follow_the_table_unless_max_tokens_or_ignore_eos_decides() {
        let mut outputs: Vec<_> =
            (0..10_000).map(|prompt| Output::draw(&params(4096), 7, prompt, 0)).collect();
        assert!(outputs.iter().all(|output| output.reason == FinishReason::Stop));
        outputs.sort_by_key(|output| output.tokens);
        assert!((130..160).contains(&outputs[5_000].tokens), "median {}", outputs[5_000].tokens);
        assert!((530..600).contains(&outputs[9_000].tokens), "p90 {}", outputs[9_000].tokens);
        let short = Output::draw(&params(3), 7, 1, 0);
        assert_eq!((short.tokens, short.reason), (3, FinishReason::Length));
        let forced = Output::draw(&SamplingParams { ignore_eos: true, ..params(2000) }, 7, 1, 0);
        assert_eq!((forced.tokens, forced.reason), (2000, FinishReason::Length));
    }

    #[test]
    fn a_stop_string_ends_the_text_before_it_and_counts_its_token() {
        let whole = Output::draw(&SamplingParams { ignore_eos: true, ..params(40) }, 1, 2, 0).text();
        let stop = whole[42..45].to_owned();
        let at = whole.find(&stop).unwrap();
        let wanted = SamplingParams { ignore_eos: true, stop: vec![stop.clone()], ..params(40) };
        let output = Output::draw(&wanted, 1, 2, 0);
        assert_eq!(output.text(), whole[..at]);
        assert_eq!((output.reason, output.stop_reason.as_ref()), (FinishReason::Stop, Some(&stop)));
        assert_eq!(output.tokens as usize, (at + stop.len()).div_ceil(4));
        let later = Output::draw(&SamplingParams { min_tokens: 40, ..wanted }, 1, 2, 0);
        assert_eq!(later.reason, FinishReason::Length, "not before min_tokens");
    }

    #[test]
    fn texts_of_single_tokens_join_to_the_whole_text() {
        let output = Output::draw(&params(60), 1, 2, 0);
        let mut joined = String::new();
        for position in 0..output.tokens {
            output.write_text(position..position + 1, &mut joined);
        }
        assert_eq!(joined, output.text());
    }

    #[test]
    fn every_piece_is_four_ascii_bytes_without_json_escapes() {
        for piece in PIECES {
            assert!(piece.len() == 4 && piece.is_ascii(), "{piece}");
            assert!(!piece.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)), "{piece}");
        }
    }
}
