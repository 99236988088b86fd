//! What can be wrong with a request body.

/// Why a body cannot be used. Messages name places and fields, never content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text ends inside a value: an empty or truncated body.
    #[error("body is not valid JSON: it ends at byte {offset} inside a value")]
    UnexpectedEnd {
        /// Length of the body.
        offset: usize,
    },
    /// Something else was due.
    #[error("body is not valid JSON: expected {expected} at byte {offset}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What was due there.
        expected: &'static str,
    },
    /// A control character stands inside a string.
    #[error("body is not valid JSON: unescaped control character at byte {offset}")]
    ControlCharacter {
        /// Where.
        offset: usize,
    },
    /// An escape that JSON does not know, or half of a surrogate pair in a field that is read.
    #[error("body is not valid JSON: invalid escape at byte {offset}")]
    InvalidEscape {
        /// Where.
        offset: usize,
    },
    /// The text is not UTF-8.
    #[error("body is not valid UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// Where.
        offset: usize,
    },
    /// Objects and arrays nest too deeply.
    #[error("body nests deeper than {limit} levels at byte {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
        /// The most levels allowed.
        limit: u32,
    },
    /// Something follows the value.
    #[error("body has bytes after its JSON value, from byte {offset}")]
    TrailingBytes {
        /// Where they start.
        offset: usize,
    },
    /// The value is not an object.
    #[error("body is not a JSON object")]
    NotAnObject,
    /// A field that is read here stands twice at the top level; parsers disagree on which one counts.
    #[error("field `{field}` appears twice, again at byte {offset}")]
    DuplicateField {
        /// Which.
        field: &'static str,
        /// Where the second one's key starts.
        offset: usize,
    },
    /// `model` is not a string.
    #[error("field `model` at byte {offset} is not a string")]
    ModelNotAString {
        /// Where its value starts.
        offset: usize,
    },
    /// A field that is kept is longer than its bound.
    #[error("field `{field}` at byte {offset} is longer than {limit} bytes")]
    FieldTooLong {
        /// Which.
        field: &'static str,
        /// Where its value starts.
        offset: usize,
        /// The most bytes allowed.
        limit: usize,
    },
}

impl BodyError {
    /// The field at fault, for the error body's `param`.
    #[must_use]
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::DuplicateField { field, .. } | Self::FieldTooLong { field, .. } => Some(field),
            Self::ModelNotAString { .. } => Some("model"),
            Self::UnexpectedEnd { .. }
            | Self::Syntax { .. }
            | Self::ControlCharacter { .. }
            | Self::InvalidEscape { .. }
            | Self::InvalidUtf8 { .. }
            | Self::TooDeep { .. }
            | Self::TrailingBytes { .. }
            | Self::NotAnObject => None,
        }
    }
}
