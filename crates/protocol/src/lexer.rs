//! A forgiving, incremental reader of JSON that comes in pieces: it keeps no more than the place it is at
//! and hands on the values whose keys are known.
//!
//! It does not validate. An answer is the engine's; whatever is not understood yields no facts.

/// Object levels whose keys are kept. The deepest value read is
/// `response.usage.input_tokens_details.cached_tokens`.
const MAX_PATH: usize = 5;

/// Open containers that can be told apart; deeper text is not read any further.
const MAX_DEPTH: u8 = 128;

/// Bytes of a key, string or number that are kept when it is split over pieces. Longer ones are known by
/// these first bytes, whether they were split or not.
pub(crate) const CAPTURE: usize = 256;

/// A known object key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    Other,
}

impl Key {
    fn of(name: &[u8]) -> Self {
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

/// A value that the reader came by. Arrays are transparent: their elements have the array's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An object begins.
    Open,
    /// A string: its first bytes, at most [`CAPTURE`], escapes as they are.
    Text(&'a [u8]),
    /// A number; none where it is no whole number in range.
    Number(Option<u64>),
    /// `null`, `true`, `false`, or none of JSON's words.
    Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// Inside a string; `escape` after a backslash.
    Text {
        escape: bool,
    },
    Scalar,
    /// Nested too deeply, or closed what was not open: no more facts.
    Lost,
}

/// The reader's place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Lexer {
    state: State,
    /// A bit for each open container, the innermost lowest: 1 is an object.
    kinds: u128,
    depth: u8,
    path: [Key; MAX_PATH],
    objects: usize,
    expects_key: bool,
    kept: Vec<u8>,
    closed: bool,
}

impl Lexer {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Between,
            kinds: 0,
            depth: 0,
            path: [Key::Other; MAX_PATH],
            objects: 0,
            expects_key: false,
            kept: Vec::new(),
            closed: false,
        }
    }

    /// Starts over with another text.
    pub(crate) fn reset(&mut self) {
        self.state = State::Between;
        self.depth = 0;
        self.objects = 0;
        self.expects_key = false;
        self.kept.clear();
        self.closed = false;
    }

    /// Whether an outermost object or array has been read to its end, and nothing is open.
    pub(crate) fn is_complete(&self) -> bool {
        self.closed && self.depth == 0 && self.state == State::Between
    }

    /// Reads the next piece; `sink` gets each value with the keys that lead to it, outermost first.
    pub(crate) fn push(&mut self, piece: &[u8], mut sink: impl FnMut(&[Key], Token<'_>)) {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Between => self.between(rest, &mut sink),
                State::Text { escape } => self.text(rest, escape, &mut sink),
                State::Scalar => self.scalar(rest, &mut sink),
                State::Lost => return,
            };
        }
    }

    fn between<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], Token<'_>)) -> &'a [u8] {
        let Some((&first, after)) = rest.split_first() else { return rest };
        match first {
            b'"' => return self.start_text(after, sink),
            b'{' => {
                self.emit(Token::Open, sink);
                self.open(true);
            }
            b'[' => self.open(false),
            b'}' | b']' => self.close(first == b'}'),
            b',' => self.expects_key = self.depth > 0 && self.kinds & 1 == 1,
            b':' => self.expects_key = false,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => return self.start_scalar(rest, sink),
        }
        after
    }

    fn open(&mut self, object: bool) {
        if self.depth == MAX_DEPTH {
            self.state = State::Lost;
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
            self.state = State::Lost;
            return;
        }
        self.kinds >>= 1;
        self.depth -= 1;
        self.expects_key = false;
        self.objects -= usize::from(object);
        self.closed |= self.depth == 0;
    }

    /// A string begins; most end in the same piece and are never copied.
    fn start_text<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], Token<'_>)) -> &'a [u8] {
        if let Some(end) = memchr::memchr2(b'"', b'\\', rest)
            && rest.get(end) == Some(&b'"')
        {
            let text = rest.get(..end.min(CAPTURE)).unwrap_or_default();
            self.end_text(text, sink);
            return rest.get(end + 1..).unwrap_or_default();
        }
        self.kept.clear();
        self.state = State::Text { escape: false };
        rest
    }

    fn text<'a>(
        &mut self,
        rest: &'a [u8],
        escape: bool,
        sink: &mut impl FnMut(&[Key], Token<'_>),
    ) -> &'a [u8] {
        if escape {
            self.state = State::Text { escape: false };
            self.keep(rest.get(..1).unwrap_or_default());
            return rest.get(1..).unwrap_or_default();
        }
        let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
            self.keep(rest);
            return &[];
        };
        self.keep(rest.get(..end).unwrap_or_default());
        if rest.get(end) == Some(&b'\\') {
            self.keep(b"\\");
            self.state = State::Text { escape: true };
        } else {
            self.state = State::Between;
            let kept = std::mem::take(&mut self.kept);
            self.end_text(&kept, sink);
            self.kept = kept;
        }
        rest.get(end + 1..).unwrap_or_default()
    }

    fn end_text(&mut self, text: &[u8], sink: &mut impl FnMut(&[Key], Token<'_>)) {
        if self.expects_key {
            if let Some(key) = self.objects.checked_sub(1).and_then(|level| self.path.get_mut(level)) {
                *key = Key::of(text);
            }
        } else {
            self.emit(Token::Text(text), sink);
        }
    }

    fn start_scalar<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], Token<'_>)) -> &'a [u8] {
        self.kept.clear();
        let end = scalar_end(rest);
        if end == rest.len() {
            self.state = State::Scalar;
            return rest;
        }
        self.emit(scalar(rest.get(..end.min(CAPTURE)).unwrap_or_default()), sink);
        rest.get(end..).unwrap_or_default()
    }

    fn scalar<'a>(&mut self, rest: &'a [u8], sink: &mut impl FnMut(&[Key], Token<'_>)) -> &'a [u8] {
        let end = scalar_end(rest);
        self.keep(rest.get(..end).unwrap_or_default());
        if end == rest.len() {
            return &[];
        }
        self.state = State::Between;
        self.emit(scalar(&self.kept), sink);
        rest.get(end..).unwrap_or_default()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = CAPTURE.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn emit(&self, token: Token<'_>, sink: &mut impl FnMut(&[Key], Token<'_>)) {
        if let Some(path) = self.path.get(..self.objects) {
            sink(path, token);
        }
    }
}

fn scalar_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| {
            matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b':' | b'"' | b' ' | b'\t' | b'\n' | b'\r')
        })
        .unwrap_or(bytes.len())
}

fn scalar(text: &[u8]) -> Token<'static> {
    match text.first() {
        Some(b'-' | b'0'..=b'9') => Token::Number(digits(text)),
        _ => Token::Word,
    }
}

/// Reads a whole number that consists of digits only.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
