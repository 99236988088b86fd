//! Problems: what is wrong with a text, where, and how to fix it.

use std::fmt;
use std::sync::Arc;

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object cannot be used.
    Error,
    /// The object can be used, but probably does not do what its author intends.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake with its position and a suggested fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Name of the text, as in [`SourceText`](crate::SourceText).
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The object and the field, such as `HTTPRoute default/chat: spec.rules[0].matches[1].path.type`.
    pub path: String,
    /// The mistake.
    pub message: String,
    /// The suggested fix.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, line, column, path, message, fix } = self;
        write!(f, "{file}:{line}:{column}: {}: ", severity.as_str())?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{message} (fix: {fix})")
    }
}

/// A position in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// The location of a value: its position in the text and its path within the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Start of the value.
    pub position: Position,
    /// Such as `spec.rules[0].name`; empty for the object itself.
    pub path: Arc<str>,
}

/// A value with its location, kept for checks across objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub location: Location,
}
