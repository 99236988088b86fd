//! Scanning of a non-streaming JSON response while it passes, without buffering it.

use crate::failure::{StreamFailure, error_status, named_status, tells_of_error};
use crate::lexer::{JsonEvent, Key, Lexer, identifier};
use crate::usage::{Usage, UsageFields};

/// The facts of a JSON response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseFacts {
    /// Token counts, where the response has them.
    pub usage: Option<Usage>,
    /// An `error` object, or an aborted choice.
    pub failure: Option<StreamFailure>,
    /// The `id` of the response; for `/v1/responses`, the id of the stored response.
    pub id: Option<String>,
    /// Whether the outermost JSON value is complete; false for a truncated or empty body.
    pub complete: bool,
}

/// Scans one JSON response of any API in chunks of any size, with less than a kilobyte of memory.
#[derive(Debug, Clone, Default)]
pub struct JsonScanner {
    lexer: Lexer,
    fields: ResponseFields,
}

#[derive(Debug, Clone, Default)]
struct ResponseFields {
    usage: UsageFields,
    id: Option<String>,
    error: bool,
    aborted: bool,
    failed: bool,
    code: Option<u16>,
}

impl JsonScanner {
    /// Scans the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let fields = &mut self.fields;
        self.lexer.push(chunk, |path, event| fields.store(path, event));
    }

    /// The facts so far, to be read at the end of the response.
    #[must_use]
    pub fn facts(&self) -> ResponseFacts {
        let fields = &self.fields;
        let failure = if fields.error {
            Some(StreamFailure::Error { code: fields.code })
        } else if fields.failed {
            Some(StreamFailure::ResponseFailed)
        } else if fields.aborted {
            Some(StreamFailure::Aborted)
        } else {
            None
        };
        ResponseFacts {
            usage: fields.usage.usage(),
            failure,
            id: fields.id.clone(),
            complete: self.lexer.is_complete(),
        }
    }
}

impl ResponseFields {
    fn store(&mut self, path: &[Key], event: JsonEvent<'_>) {
        if let [Key::Error, below @ ..] = path {
            self.error |= tells_of_error(below, event);
        }
        match (path, event) {
            ([Key::Id], JsonEvent::String(id)) => self.id = identifier(id),
            ([Key::Object | Key::Type], JsonEvent::String(b"error"))
            | ([Key::Choices, Key::FinishReason], JsonEvent::String(b"error")) => self.error = true,
            ([Key::Status], JsonEvent::String(b"failed")) => self.failed = true,
            (
                [Key::Choices, Key::FinishReason]
                | [Key::MetaInfo, Key::FinishReason, Key::Type]
                | [Key::StopReason],
                JsonEvent::String(b"abort"),
            ) => self.aborted = true,
            ([Key::Error, Key::Type], JsonEvent::String(kind)) => {
                self.code = self.code.or(named_status(kind));
            }
            ([Key::Error, Key::Code] | [Key::Code], code) => self.code = error_status(code).or(self.code),
            ([Key::Usage | Key::MetaInfo, below @ ..], JsonEvent::Number(value)) => {
                self.usage.store(below, value);
            }
            _ => {}
        }
    }
}
