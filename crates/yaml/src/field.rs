//! A value with its path.

use crate::node::{Node, ScalarType, Value};
use crate::problem::{Located, Location, Severity};
use crate::report::Report;

/// The kind of a value, for formats that accept several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A number without quotes.
    Number,
    /// Any other scalar.
    String,
    /// A list.
    List,
    /// A mapping.
    Mapping,
}

/// A value with its path. Readers return `None` where the value is not usable, and have then reported why.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// The value.
    pub node: &'a Node,
    pub(crate) path: String,
    pub(crate) report: &'a Report,
}

impl<'a> Field<'a> {
    /// The root of a document.
    #[must_use]
    pub fn root(node: &'a Node, report: &'a Report) -> Self {
        Self { node, path: String::new(), report }
    }

    /// A value within this one; `suffix` continues the path.
    pub(crate) fn child(&self, node: &'a Node, suffix: &str) -> Self {
        Self { node, path: format!("{}{suffix}", self.path), report: self.report }
    }

    /// The kind of the value.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match &self.node.value {
            Value::List(_) => ValueKind::List,
            Value::Mapping(_) => ValueKind::Mapping,
            Value::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Number => ValueKind::Number,
                ScalarType::Null | ScalarType::Bool | ScalarType::String => ValueKind::String,
            },
        }
    }

    /// The location of the value.
    #[must_use]
    pub fn location(&self) -> Location {
        Location { position: self.node.position, path: self.path.as_str().into() }
    }

    /// `value` with the location of this field.
    pub fn locate<T>(&self, value: T) -> Located<T> {
        Located { value, location: self.location() }
    }

    /// Whether no error is reported in the value so far.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.report.is_sound(&self.path)
    }

    /// Whether no error is reported so far in the entry `name` of this mapping.
    #[must_use]
    pub fn is_sound_at(&self, name: &str) -> bool {
        self.report.is_sound(&self.path_of(name))
    }

    /// Reports a mistake at the value, with its fix.
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report.push(Severity::Error, self.node.position, &self.path, message.into(), fix.into());
    }

    /// Reports a warning at the value, with its fix.
    pub fn warn(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report.push(Severity::Warning, self.node.position, &self.path, message.into(), fix.into());
    }

    /// Reports a mistake at another location of the same object.
    pub fn error_at(&self, location: &Location, message: impl Into<String>, fix: impl Into<String>) {
        self.report.error_at(location, message, fix);
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(crate) fn wrong_type(&self, expected: &str, fix: &str) {
        self.error(format!("expects {expected}, found {}", self.node.describe()), fix);
    }
}
