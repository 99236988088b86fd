//! Errors of request bodies.

/// The reason why a body is refused. Messages name offsets and fields, never content. Offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is empty, or ends within a value.
    #[error("body is not valid JSON: it ends at byte {offset} inside a value")]
    UnexpectedEnd {
        /// Length of the body.
        offset: usize,
    },
    /// The JSON syntax is wrong.
    #[error("body is not valid JSON: expected {expected} at byte {offset}")]
    Syntax {
        /// Offset of the error.
        offset: usize,
        /// The tokens that are valid there.
        expected: &'static str,
    },
    /// A string contains an unescaped control character.
    #[error("body is not valid JSON: unescaped control character at byte {offset}")]
    ControlCharacter {
        /// Offset of the error.
        offset: usize,
    },
    /// An escape is not one of JSON's, or is a lone surrogate in a field that is read.
    #[error("body is not valid JSON: invalid escape at byte {offset}")]
    InvalidEscape {
        /// Offset of the error.
        offset: usize,
    },
    /// The body is not UTF-8.
    #[error("body is not valid UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// Offset of the error.
        offset: usize,
    },
    /// Objects and arrays are nested too deeply.
    #[error("body nests deeper than {limit} levels at byte {offset}")]
    TooDeep {
        /// Offset of the error.
        offset: usize,
        /// Number of levels allowed.
        limit: u32,
    },
    /// Bytes follow the JSON value.
    #[error("body has bytes after its JSON value, from byte {offset}")]
    TrailingBytes {
        /// Offset of the first of them.
        offset: usize,
    },
    /// The JSON value is not an object.
    #[error("body is not a JSON object")]
    NotAnObject,
    /// A field that is read occurs twice at the top level. Parsers disagree on which occurrence is valid.
    #[error("field `{field}` appears twice, again at byte {offset}")]
    DuplicateField {
        /// Its name.
        field: &'static str,
        /// Offset of the second key.
        offset: usize,
    },
    /// The body is not a valid form, or parsers may disagree on what it says.
    #[error("body is not a form that every parser reads alike: {problem} at byte {offset}")]
    Form {
        /// Offset of the error.
        offset: usize,
        /// What is there.
        problem: &'static str,
    },
    /// `model` is neither a string nor null.
    #[error("field `model` at byte {offset} is not a string")]
    ModelNotAString {
        /// Offset of its value.
        offset: usize,
    },
    /// The value of a field exceeds its length limit.
    #[error("field `{field}` at byte {offset} is longer than {limit} bytes")]
    FieldTooLong {
        /// Its name.
        field: &'static str,
        /// Offset of its value.
        offset: usize,
        /// Number of bytes allowed.
        limit: usize,
    },
}

impl BodyError {
    /// The field at fault, for the error body's `param`.
    #[must_use]
    pub fn param(&self) -> Option<&'static str> {
        if let Self::DuplicateField { field, .. } | Self::FieldTooLong { field, .. } = self {
            return Some(field);
        }
        matches!(self, Self::ModelNotAString { .. }).then_some("model")
    }
}
