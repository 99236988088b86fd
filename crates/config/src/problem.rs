//! What is wrong with a set of manifests: one line each, with the place and the way out.

use std::fmt;
use std::sync::Arc;

use crate::manifest::ObjectId;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object cannot be used. At start, nothing runs.
    Error,
    /// It can be used, but probably does not do what was meant.
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

/// One mistake, with its position and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops anything.
    pub severity: Severity,
    /// The name under which the text was given.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The object and the field, such as `HTTPRoute default/chat: spec.rules[0].matches[1].path.type`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
    /// The object it lies in, where that much could be read.
    pub object: Option<ObjectId>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, message, fix, .. } = self;
        write!(f, "{file}:{line}:{column}: {}: ", self.severity.as_str())?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{message} (fix: {fix})")
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A place in an object: where it stands in the text, and the field's path within the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) mark: Mark,
    pub(crate) path: Arc<str>,
}

/// A value with its place, kept for checks that need other objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) spot: Spot,
}
