//! Texts in, trees of nodes with positions out. One broken document of a file does not hide the others.

mod documents;
mod tree;

use std::sync::Arc;

use crate::picker_config::PickerConfig;

pub(crate) use documents::parse;
pub(crate) use tree::{Key, Node, Scalar, ScalarType, Value, quoted, shortened};

/// A text and the name to report it under; the name's folder is where relative paths within it start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Such as `my/routes.yaml`.
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

/// The front door that a set of manifests is read for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Door {
    /// The gateway, which listens as the Gateways say.
    #[default]
    Gateway,
    /// The endpoint picker. Gateways and routes are for the gateway in front of it and are passed over.
    Picker {
        /// What its configuration file says, for all pools; a PoolPolicy then says nothing of that.
        config: Option<PickerConfig>,
    },
}

/// What a set is read for, and bounds on it: texts come from files that others may write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Who reads.
    pub door: Door,
    /// The longest text, in bytes.
    pub max_file_bytes: usize,
    /// The most nodes (values and keys) in one document, aliases counted with all they stand for.
    pub max_nodes: usize,
    /// The deepest nesting.
    pub max_depth: usize,
    /// The most objects in one set.
    pub max_objects: usize,
    /// The most problems that are kept; the last one says how many more there were.
    pub max_problems: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            door: Door::Gateway,
            max_file_bytes: 4 << 20,
            max_nodes: 200_000,
            max_depth: 64,
            max_objects: 10_000,
            max_problems: 1_000,
        }
    }
}
