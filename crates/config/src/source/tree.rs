//! The node tree: what YAML says, each node with its place.

use std::borrow::Cow;

use crate::problem::Mark;

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order written. Keys are unique; their places are those of the keys.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) mark: Mark,
    pub(crate) name: Box<str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: Box<str>,
    /// Written without quotes, so that its type follows from its spelling.
    pub(crate) plain: bool,
}

/// What an unquoted scalar is to a Kubernetes API server, which reads YAML 1.1 here and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarType {
    Null,
    Bool,
    Number,
    Text,
}

impl Scalar {
    pub(crate) fn scalar_type(&self) -> ScalarType {
        if !self.plain {
            return ScalarType::Text;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | "yes" | "Yes" | "YES" | "no" | "No"
            | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF" | "y" | "Y" | "n" | "N" => ScalarType::Bool,
            text if is_number(text) => ScalarType::Number,
            _ => ScalarType::Text,
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
    /// What it is, in words for messages.
    pub(crate) fn describe(&self) -> Cow<'static, str> {
        match &self.value {
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Null => "nothing".into(),
                ScalarType::Bool if matches!(scalar.text.len(), 4 | 5) => {
                    format!("the boolean {}", scalar.text).into()
                }
                ScalarType::Bool => format!("{}, which Kubernetes reads as a boolean", scalar.text).into(),
                ScalarType::Number => format!("the number {}", shortened(&scalar.text)).into(),
                ScalarType::Text => format!("the text {}", quoted(&scalar.text)).into(),
            },
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.scalar_type() == ScalarType::Null)
    }

    /// The entry of a mapping, without any check.
    pub(crate) fn entry(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| &*key.name == name).map(|(_, node)| node)
    }

    /// The text of a scalar, without any check.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// The longest part of a text that a message repeats.
const SHOWN: usize = 64;

/// A text, cut where it is long.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A text in quotes, cut where it is long, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}
