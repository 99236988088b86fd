//! The tree of a document: values as written, each with its position.

use std::borrow::Cow;

use crate::problem::Position;

/// A value and the position of its first character.
#[derive(Clone, Debug)]
pub struct Node {
    /// The position of the value.
    pub position: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order written. Keys are unique.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) position: Position,
    pub(crate) name: Box<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: Box<str>,
    /// Written without quotes, so that its type follows from its spelling.
    pub(crate) plain: bool,
}

/// The type of a scalar as a Kubernetes API server reads it, which mixes YAML 1.1 and 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarType {
    Null,
    Bool,
    Number,
    String,
}

impl Scalar {
    pub(crate) fn scalar_type(&self) -> ScalarType {
        if !self.plain {
            return ScalarType::String;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | "yes" | "Yes" | "YES" | "no" | "No"
            | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF" | "y" | "Y" | "n" | "N" => ScalarType::Bool,
            text if is_number(text) => ScalarType::Number,
            _ => ScalarType::String,
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_'))
        && digits.replace('_', "").parse::<f64>().is_ok()
}

impl Node {
    /// The value for messages, such as `the number 1`.
    pub(crate) fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::List(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
            Value::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Null => "null".into(),
                ScalarType::Bool if matches!(scalar.text.len(), 4 | 5) => {
                    format!("the boolean {}", scalar.text).into()
                }
                ScalarType::Bool => format!("{}, which YAML 1.1 reads as a boolean", scalar.text).into(),
                ScalarType::Number => format!("the number {}", truncated(&scalar.text)).into(),
                ScalarType::String => format!("the string {}", quoted(&scalar.text)).into(),
            },
        }
    }

    /// Whether the value is null or empty.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.scalar_type() == ScalarType::Null)
    }

    /// The value under a key, where this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Self> {
        let Value::Mapping(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| &*key.name == name).map(|(_, node)| node)
    }

    /// The keys and values of a mapping, in the order written; of another value none.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = if let Value::Mapping(entries) = &self.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, node)| (&*key.name, node))
    }

    /// The text of a scalar, whatever its type.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::List(_) | Value::Mapping(_) => None,
        }
    }
}

/// Maximum number of characters of an input that a message repeats.
const MAX_SHOWN: usize = 64;

/// A text, truncated to what a message should repeat.
#[must_use]
pub fn truncated(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A text in quotes for messages, truncated, with control characters escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("{:?}", truncated(text))
}
