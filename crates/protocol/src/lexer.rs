//! An incremental push parser for JSON in chunks of any size. It buffers at most one key or scalar, and emits the
//! values with the path of known keys that leads to them.
//!
//! It does not validate: a response is passed on as the engine wrote it, and what cannot be parsed yields no facts.
//!
//! Written by hand because no JSON parser among the dependencies accepts a text in chunks, and for its speed:
//! [`crate::sse`] has the figure.

use crate::words::{HIGH_BITS, equal, first};

/// Depth of objects up to which keys are tracked. The deepest value that is read is
/// `response.usage.input_tokens_details.cached_tokens`.
const MAX_PATH: usize = 5;

/// Deepest nesting of containers. At a deeper one parsing stops.
const MAX_DEPTH: u8 = 128;

/// Bytes of a key, string or number that are buffered when it is split over chunks. Longer ones are truncated to this
/// length, whether they are split or not.
pub(crate) const CAPTURE: usize = 256;

/// An object key that is known to a reader of responses, or [`Key::Other`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Key {
    CacheCreationInputTokens,
    CacheReadInputTokens,
    CachedTokens,
    Choices,
    Code,
    CompletionTokens,
    Content,
    Delta,
    Error,
    FinishReason,
    FunctionCall,
    Id,
    Index,
    InputTokens,
    InputTokensDetails,
    Message,
    MetaInfo,
    Object,
    OutputIds,
    OutputTokens,
    PromptTokens,
    PromptTokensDetails,
    Reasoning,
    ReasoningContent,
    Refusal,
    Response,
    Status,
    StatusCode,
    StopReason,
    Text,
    TokenIds,
    ToolCalls,
    Type,
    Usage,
    #[default]
    Other,
}

impl Key {
    fn from_name(name: &[u8]) -> Self {
        match name {
            b"cache_creation_input_tokens" => Self::CacheCreationInputTokens,
            b"cache_read_input_tokens" => Self::CacheReadInputTokens,
            b"cached_tokens" => Self::CachedTokens,
            b"choices" => Self::Choices,
            b"code" => Self::Code,
            b"completion_tokens" => Self::CompletionTokens,
            b"content" => Self::Content,
            b"delta" => Self::Delta,
            b"error" => Self::Error,
            b"finish_reason" => Self::FinishReason,
            b"function_call" => Self::FunctionCall,
            b"id" => Self::Id,
            b"index" => Self::Index,
            b"input_tokens" => Self::InputTokens,
            b"input_tokens_details" => Self::InputTokensDetails,
            b"message" => Self::Message,
            b"meta_info" => Self::MetaInfo,
            b"object" => Self::Object,
            b"output_ids" => Self::OutputIds,
            b"output_tokens" => Self::OutputTokens,
            b"prompt_tokens" => Self::PromptTokens,
            b"prompt_tokens_details" => Self::PromptTokensDetails,
            b"reasoning" => Self::Reasoning,
            b"reasoning_content" => Self::ReasoningContent,
            b"refusal" => Self::Refusal,
            b"response" => Self::Response,
            b"status" => Self::Status,
            b"status_code" => Self::StatusCode,
            b"stop_reason" => Self::StopReason,
            b"text" => Self::Text,
            b"token_ids" => Self::TokenIds,
            b"tool_calls" => Self::ToolCalls,
            b"type" => Self::Type,
            b"usage" => Self::Usage,
            _ => Self::Other,
        }
    }
}

/// A value in the text. Arrays are transparent: their elements have the path of the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonEvent<'a> {
    /// The start of an object.
    ObjectStart,
    /// A string: at most its first [`CAPTURE`] bytes, escaped.
    String(&'a [u8]),
    /// A number; `None` where it is not an unsigned integer of 64 bits.
    Number(Option<u64>),
    /// `null`, `true`, `false`, or an invalid literal.
    Literal,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// Within a string; `escape` after a backslash.
    String { escape: bool },
    /// Within a number or literal.
    Scalar,
    /// Nested too deeply, or unbalanced: the rest of the text is ignored.
    Invalid,
}

/// The state of the parser.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lexer {
    state: State,
    /// One bit per open container, the innermost lowest: 1 for an object, 0 for an array.
    kinds: u128,
    depth: u8,
    path: [Key; MAX_PATH],
    objects: usize,
    expects_key: bool,
    captured: Vec<u8>,
    closed: bool,
}

impl Lexer {
    /// Starts a new text.
    pub(crate) fn reset(&mut self) {
        self.state = State::Between;
        self.depth = 0;
        self.objects = 0;
        self.expects_key = false;
        self.captured.clear();
        self.closed = false;
    }

    /// Whether the outermost object or array is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.closed && self.depth == 0 && self.state == State::Between
    }

    /// Parses the next chunk. `sink` is called with each value and the keys that lead to it, outermost first.
    pub(crate) fn push(&mut self, chunk: &[u8], mut sink: impl FnMut(&[Key], JsonEvent<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.state {
                State::Between => self.between(rest, &mut sink),
                State::String { escape } => self.string(rest, escape, &mut sink),
                State::Scalar => self.scalar(rest, &mut sink),
                State::Invalid => return,
            };
        }
    }

    /// Parses up to a value that goes on in the next chunk.
    fn between<'a>(&mut self, mut rest: &'a [u8], sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) -> &'a [u8] {
        while matches!(self.state, State::Between)
            && let Some((&first, after)) = rest.split_first()
        {
            rest = match first {
                b'"' => self.start_string(after, sink),
                b'{' => {
                    self.emit(JsonEvent::ObjectStart, sink);
                    self.open(true);
                    after
                }
                b'[' => {
                    self.open(false);
                    after
                }
                b'}' | b']' => {
                    self.close(first == b'}');
                    after
                }
                b',' => {
                    self.expects_key = self.depth > 0 && self.kinds & 1 == 1;
                    after
                }
                b':' => {
                    self.expects_key = false;
                    after
                }
                b' ' | b'\t' | b'\n' | b'\r' => after,
                _ => self.start_scalar(rest, sink),
            };
        }
        rest
    }

    fn open(&mut self, object: bool) {
        if self.depth == MAX_DEPTH {
            self.state = State::Invalid;
            return;
        }
        self.kinds = self.kinds << 1 | u128::from(object);
        self.depth += 1;
        self.expects_key = object;
        if object {
            if let Some(key) = self.path.get_mut(self.objects) {
                *key = Key::Other;
            }
            self.objects += 1;
        }
    }

    fn close(&mut self, object: bool) {
        if self.depth == 0 || (self.kinds & 1 == 1) != object {
            self.state = State::Invalid;
            return;
        }
        self.kinds >>= 1;
        self.depth -= 1;
        self.expects_key = false;
        self.objects -= usize::from(object);
        self.closed |= self.depth == 0;
    }

    /// Starts a string. Most end in the same chunk and are not copied.
    fn start_string<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) -> &'a [u8] {
        if let Some((text, [b'"', after @ ..])) =
            quote_or_backslash(rest).and_then(|end| rest.split_at_checked(end))
        {
            let is_key = self.expects_key;
            self.end_string(text.get(..CAPTURE).unwrap_or(text), sink);
            return match after {
                [b':', value @ ..] if is_key => {
                    self.expects_key = false;
                    value
                }
                _ => after,
            };
        }
        self.captured.clear();
        self.state = State::String { escape: false };
        rest
    }

    fn string<'a>(
        &mut self,
        rest: &'a [u8],
        escape: bool,
        sink: &mut impl FnMut(&[Key], JsonEvent<'_>),
    ) -> &'a [u8] {
        if escape {
            self.state = State::String { escape: false };
            self.capture(rest.get(..1).unwrap_or_default());
            return rest.get(1..).unwrap_or_default();
        }
        let Some(end) = quote_or_backslash(rest) else {
            self.capture(rest);
            return &[];
        };
        self.capture(rest.get(..end).unwrap_or_default());
        if rest.get(end) == Some(&b'\\') {
            self.capture(b"\\");
            self.state = State::String { escape: true };
        } else {
            self.state = State::Between;
            let captured = std::mem::take(&mut self.captured);
            self.end_string(&captured, sink);
            self.captured = captured;
        }
        rest.get(end + 1..).unwrap_or_default()
    }

    fn end_string(&mut self, text: &[u8], sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) {
        if self.expects_key {
            if let Some(key) = self.objects.checked_sub(1).and_then(|level| self.path.get_mut(level)) {
                *key = Key::from_name(text);
            }
        } else {
            self.emit(JsonEvent::String(text), sink);
        }
    }

    fn start_scalar<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) -> &'a [u8] {
        self.captured.clear();
        let end = scalar_end(rest);
        if end == rest.len() {
            self.state = State::Scalar;
            return rest;
        }
        self.emit(scalar(rest.get(..end.min(CAPTURE)).unwrap_or_default()), sink);
        rest.get(end..).unwrap_or_default()
    }

    fn scalar<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) -> &'a [u8] {
        let end = scalar_end(rest);
        self.capture(rest.get(..end).unwrap_or_default());
        if end == rest.len() {
            return &[];
        }
        self.state = State::Between;
        self.emit(scalar(&self.captured), sink);
        rest.get(end..).unwrap_or_default()
    }

    fn capture(&mut self, bytes: &[u8]) {
        let room = CAPTURE.saturating_sub(self.captured.len()).min(bytes.len());
        self.captured.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn emit(&self, event: JsonEvent<'_>, sink: &mut impl FnMut(&[Key], JsonEvent<'_>)) {
        if let Some(path) = self.path.get(..self.objects) {
            sink(path, event);
        }
    }
}

/// Index of the first quote or backslash. Most strings are shorter than a word.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    if let Some(word) = bytes.first_chunk() {
        let word = u64::from_le_bytes(*word);
        let marked = (equal(word, b'"') | equal(word, b'\\')) & HIGH_BITS;
        if marked != 0 {
            return Some(first(marked));
        }
    }
    memchr::memchr2(b'"', b'\\', bytes)
}

fn scalar_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| {
            matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b':' | b'"' | b' ' | b'\t' | b'\n' | b'\r')
        })
        .unwrap_or(bytes.len())
}

fn scalar(text: &[u8]) -> JsonEvent<'static> {
    match text.first() {
        Some(b'-' | b'0'..=b'9') => JsonEvent::Number(digits(text)),
        _ => JsonEvent::Literal,
    }
}

/// Parses an unsigned integer that consists of digits only.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A string as an id for paths and maps; `None` where it is truncated or has escapes.
pub(crate) fn identifier(text: &[u8]) -> Option<String> {
    let usable = !text.is_empty() && text.len() < CAPTURE && !text.contains(&b'\\');
    usable.then(|| std::str::from_utf8(text).ok().map(str::to_owned)).flatten()
}
