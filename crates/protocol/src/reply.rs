//! What a JSON answer says as it passes, without holding it.

use crate::lexer::{Key, Lexer, Token, digits};
use crate::sse::{StreamFailure, identifier};
use crate::usage::{Usage, UsageFields};

/// What a JSON answer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyFacts {
    /// Token counts, where the answer has them.
    pub usage: Option<Usage>,
    /// An `error` object, or a choice that was aborted.
    pub failure: Option<StreamFailure>,
    /// The answer's `id`: for responses, the one to fetch it by.
    pub id: Option<String>,
    /// The outermost JSON value was read to its end; false for half an answer, or none.
    pub complete: bool,
}

/// Reads one JSON answer of any API, in pieces of any size; keeps less than a kilobyte of it.
#[derive(Debug, Clone)]
pub struct UsageReader {
    lexer: Lexer,
    notes: Notes,
}

#[derive(Debug, Clone, Default)]
struct Notes {
    usage: UsageFields,
    id: Option<String>,
    error: bool,
    aborted: bool,
    failed: bool,
    code: Option<u16>,
}

impl Default for UsageReader {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageReader {
    /// A reader for a new answer.
    #[must_use]
    pub fn new() -> Self {
        Self { lexer: Lexer::new(), notes: Notes::default() }
    }

    /// Reads the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let notes = &mut self.notes;
        self.lexer.push(piece, |path, token| notes.note(path, token));
    }

    /// What was said so far; meant for the end of the answer.
    #[must_use]
    pub fn facts(&self) -> ReplyFacts {
        let notes = &self.notes;
        let failure = if notes.error {
            Some(StreamFailure::Error { code: notes.code })
        } else if notes.failed {
            Some(StreamFailure::ResponseFailed)
        } else if notes.aborted {
            Some(StreamFailure::Aborted)
        } else {
            None
        };
        ReplyFacts {
            usage: notes.usage.usage(),
            failure,
            id: notes.id.clone(),
            complete: self.lexer.is_complete(),
        }
    }
}

impl Notes {
    fn note(&mut self, path: &[Key], token: Token<'_>) {
        match (path, token) {
            ([Key::Id], Token::Text(id)) => self.id = identifier(id),
            ([Key::Error], Token::Open | Token::Text(_))
            | ([Key::Object | Key::Type], Token::Text(b"error"))
            | ([Key::Choices, Key::FinishReason], Token::Text(b"error")) => self.error = true,
            ([Key::Status], Token::Text(b"failed")) => self.failed = true,
            (
                [Key::Choices, Key::FinishReason]
                | [Key::MetaInfo, Key::FinishReason, Key::Type]
                | [Key::StopReason],
                Token::Text(b"abort"),
            ) => self.aborted = true,
            ([Key::Error, Key::Code] | [Key::Code], Token::Number(code)) => self.note_code(code),
            ([Key::Error, Key::Code] | [Key::Code], Token::Text(code)) => self.note_code(digits(code)),
            ([Key::Usage | Key::MetaInfo, below @ ..], Token::Number(value)) => {
                self.usage.note(below, value);
            }
            _ => {}
        }
    }

    fn note_code(&mut self, code: Option<u64>) {
        let status = code.and_then(|code| u16::try_from(code).ok());
        self.code = status.filter(|code| (400..600).contains(code)).or(self.code);
    }
}
