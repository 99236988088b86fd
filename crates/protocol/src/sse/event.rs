//! One event of a stream, by the grammar of its API.

use crate::api::Grammar;
use crate::lexer::{CAPTURE, Key, Lexer, Token, digits};
use crate::sse::StreamFailure;
use crate::sse::lines::MAX_NAME;
use crate::usage::UsageFields;

/// What OpenAI's streams send last.
const DONE: &[u8] = b"[DONE]";

/// An event as it comes in.
#[derive(Debug, Clone)]
pub(super) struct Event {
    lexer: Lexer,
    notes: Notes,
    name: Vec<u8>,
    /// The data's first bytes, to know `[DONE]`.
    head: [u8; DONE.len()],
    len: usize,
    /// A line ended since the last byte.
    fresh_line: bool,
}

/// What the event's JSON said so far.
#[derive(Debug, Clone, Default)]
struct Notes {
    token: bool,
    usage: bool,
    finish_reason: bool,
    aborted: bool,
    failed: bool,
    error: bool,
    code: Option<u16>,
    kind: Option<Kind>,
    response_id: Option<String>,
}

/// What a typed event (messages, responses) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    End,
    Error,
    Failed,
    Other,
}

/// What a complete event says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) token: bool,
    pub(super) usage: bool,
    pub(super) finish_reason: bool,
    /// `[DONE]`.
    pub(super) done: bool,
    /// A typed event that ends the stream normally.
    pub(super) ends: bool,
    pub(super) failure: Option<StreamFailure>,
    pub(super) response_id: Option<String>,
}

impl Event {
    pub(super) fn new() -> Self {
        Self {
            lexer: Lexer::new(),
            notes: Notes::default(),
            name: Vec::new(),
            head: [0; DONE.len()],
            len: 0,
            fresh_line: false,
        }
    }

    /// Takes in part of the event's data.
    pub(super) fn data(&mut self, grammar: Grammar, data: &[u8], usage: &mut UsageFields) {
        let notes = &mut self.notes;
        if std::mem::take(&mut self.fresh_line) && self.len > 0 {
            // Lines of data are joined by a line feed.
            self.len = self.len.saturating_add(1);
            self.lexer.push(b"\n", |path, token| notes.note(grammar, path, token, usage));
        }
        if let Some(room) = self.head.get_mut(self.len..) {
            for (slot, byte) in room.iter_mut().zip(data) {
                *slot = *byte;
            }
        }
        self.len = self.len.saturating_add(data.len());
        self.lexer.push(data, |path, token| notes.note(grammar, path, token, usage));
    }

    /// Takes in part of the event's name.
    pub(super) fn name(&mut self, name: &[u8]) {
        if std::mem::take(&mut self.fresh_line) {
            self.name.clear();
        }
        let room = (MAX_NAME + 1).saturating_sub(self.name.len()).min(name.len());
        self.name.extend_from_slice(name.get(..room).unwrap_or_default());
    }

    pub(super) fn line_end(&mut self) {
        self.fresh_line = true;
    }

    /// The event is complete: says what it says and begins the next. Without data it says nothing.
    pub(super) fn take(&mut self, grammar: Grammar) -> Said {
        let notes = std::mem::take(&mut self.notes);
        let has_data = self.len > 0;
        let done = self.len == DONE.len() && self.head == DONE;
        let named = if self.name.is_empty() { None } else { Some(Kind::of(grammar, &self.name)) };
        self.lexer.reset();
        self.name.clear();
        self.len = 0;
        self.fresh_line = false;
        if !has_data {
            return Said::default();
        }
        // The data's own `type` wins over the event's name.
        let kind = notes.kind.or(named).unwrap_or(Kind::Other);
        Said {
            token: notes.token || kind == Kind::Token,
            usage: notes.usage,
            finish_reason: notes.finish_reason,
            done,
            ends: kind == Kind::End,
            failure: notes.failure(kind),
            response_id: notes.response_id,
        }
    }
}

impl Kind {
    fn of(grammar: Grammar, name: &[u8]) -> Self {
        match (grammar, name) {
            (_, b"error") => Self::Error,
            (Grammar::Messages, b"content_block_delta") => Self::Token,
            (Grammar::Messages, b"message_stop") => Self::End,
            (Grammar::Responses, b"response.completed" | b"response.incomplete") => Self::End,
            (Grammar::Responses, b"response.failed") => Self::Failed,
            (Grammar::Responses, other) if other.ends_with(b".delta") => Self::Token,
            _ => Self::Other,
        }
    }
}

impl Notes {
    fn failure(&self, kind: Kind) -> Option<StreamFailure> {
        if kind == Kind::Failed || self.failed {
            Some(StreamFailure::ResponseFailed)
        } else if kind == Kind::Error || self.error {
            Some(StreamFailure::Error { code: self.code })
        } else if self.aborted {
            Some(StreamFailure::Aborted)
        } else {
            None
        }
    }

    /// Takes in a value of the event's JSON.
    fn note(&mut self, grammar: Grammar, path: &[Key], token: Token<'_>, usage: &mut UsageFields) {
        match grammar {
            Grammar::Completions | Grammar::ChatCompletions | Grammar::Generate => {
                self.note_choice(grammar, path, token, usage);
            }
            Grammar::Messages | Grammar::Responses => self.note_typed(grammar, path, token, usage),
            Grammar::Unknown => {}
        }
    }

    /// OpenAI's chunks and the engines' own `generate`.
    fn note_choice(&mut self, grammar: Grammar, path: &[Key], token: Token<'_>, usage: &mut UsageFields) {
        match (path, token) {
            (
                [Key::Choices, Key::Text]
                | [
                    Key::Choices,
                    Key::Delta,
                    Key::Content | Key::ReasoningContent | Key::Reasoning | Key::Refusal,
                ]
                | [Key::Choices, Key::Delta, Key::Content, Key::Text],
                Token::Text(text),
            ) => self.token |= !text.is_empty(),
            ([Key::Text], Token::Text(text)) if grammar == Grammar::Generate => {
                self.token |= !text.is_empty();
            }
            ([Key::Choices, Key::Delta, Key::ToolCalls | Key::FunctionCall], Token::Open)
            | ([Key::Choices, Key::TokenIds] | [Key::Choices, Key::Delta, Key::TokenIds], Token::Number(_))
            | ([Key::OutputIds | Key::TokenIds], Token::Number(_)) => self.token = true,
            (
                [Key::Choices | Key::MetaInfo, Key::FinishReason]
                | [Key::MetaInfo, Key::FinishReason, Key::Type],
                Token::Text(reason),
            ) => self.note_finish_reason(reason),
            ([Key::MetaInfo, Key::FinishReason], Token::Open) => self.finish_reason = true,
            ([Key::Error], Token::Open | Token::Text(_)) | ([Key::Object], Token::Text(b"error")) => {
                self.error = true;
            }
            ([Key::Error, Key::Code] | [Key::Code], token) => self.note_code(token),
            ([Key::MetaInfo, Key::FinishReason, Key::StatusCode], token) => self.note_code(token),
            ([Key::Usage | Key::MetaInfo, below @ ..], Token::Number(value)) => {
                self.usage |= usage.note(below, value);
            }
            _ => {}
        }
    }

    /// Anthropic's and OpenAI's typed events.
    fn note_typed(&mut self, grammar: Grammar, path: &[Key], token: Token<'_>, usage: &mut UsageFields) {
        match (path, token) {
            ([Key::Type], Token::Text(kind)) => self.kind = Some(Kind::of(grammar, kind)),
            ([Key::Error], Token::Open | Token::Text(_)) => self.error = true,
            ([Key::Error | Key::Response, .., Key::Code] | [Key::Code], token) => self.note_code(token),
            ([Key::Delta, Key::StopReason], Token::Text(b"abort")) => self.aborted = true,
            ([Key::Response, Key::Status], Token::Text(b"failed")) => self.failed = true,
            ([Key::Response, Key::Id], Token::Text(id)) => self.response_id = identifier(id),
            (
                [Key::Usage, below @ ..]
                | [Key::Message, Key::Usage, below @ ..]
                | [Key::Response, Key::Usage, below @ ..],
                Token::Number(value),
            ) => self.usage |= usage.note(below, value),
            _ => {}
        }
    }

    fn note_finish_reason(&mut self, reason: &[u8]) {
        match reason {
            b"abort" => self.aborted = true,
            b"error" => self.error = true,
            _ => {}
        }
        self.finish_reason = true;
    }

    fn note_code(&mut self, token: Token<'_>) {
        let code = match token {
            Token::Number(value) => value,
            Token::Text(text) => digits(text),
            Token::Open | Token::Word => None,
        };
        // Only an HTTP status says whose fault it was.
        self.code = code
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (400..600).contains(code))
            .or(self.code);
    }
}

/// An id as it is used in paths and maps: nothing that was cut or would need unescaping.
pub(crate) fn identifier(text: &[u8]) -> Option<String> {
    let plain = !text.is_empty() && text.len() < CAPTURE && !text.contains(&b'\\');
    plain.then(|| std::str::from_utf8(text).ok().map(str::to_owned)).flatten()
}
