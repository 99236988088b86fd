//! Input texts and the limits on them.

use std::sync::Arc;

/// A text and the name to report it under. Relative paths within the text start at the folder of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Usually a path, such as `my/routes.yaml`.
    pub name: Arc<str>,
    /// YAML, several documents allowed. JSON is YAML.
    pub text: Arc<str>,
}

impl SourceText {
    /// A text under a name.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Limits on a text, which may come from an untrusted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a text in bytes.
    pub max_bytes: usize,
    /// Maximum number of nodes (values and keys) in one document, with every alias expanded.
    pub max_nodes: usize,
    /// Maximum nesting depth.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_nodes: 200_000, max_depth: 64 }
    }
}
