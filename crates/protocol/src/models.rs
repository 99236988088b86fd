//! Model lists (`GET /v1/models`): parsed from engines, merged, and rendered for clients.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Upper bound of a list's models; further ones are dropped.
pub const MAX_MODELS: usize = 10_000;
/// Largest list in bytes that is parsed.
pub const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;
/// Longest model id in bytes that is accepted.
pub const MAX_ID_BYTES: usize = crate::request::MAX_MODEL_BYTES;

/// A model that requests can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// The model name of requests.
    pub id: String,
    /// The path or name of the weights or adapter.
    pub root: Option<String>,
    /// The base model of an adapter.
    pub parent: Option<String>,
    /// Context length in tokens.
    pub max_model_len: Option<u64>,
    /// When it was made or loaded, in Unix seconds.
    pub created: Option<u64>,
    /// Who serves it, as the engine says.
    pub owned_by: Option<String>,
}

/// The reason why an engine's list cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelListError {
    /// The list is longer than [`MAX_LIST_BYTES`].
    #[error("model list is longer than {limit} bytes")]
    TooLong {
        /// Number of bytes allowed.
        limit: usize,
    },
    /// The JSON is invalid or not a model list.
    #[error("model list is not `{{\"data\": [{{\"id\": …}}]}}`, at line {line}, column {column}")]
    Malformed {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
}

#[derive(Deserialize)]
struct List {
    data: Vec<Value>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
    root: Option<&'a str>,
    parent: Option<&'a str>,
    max_model_len: Option<u64>,
}

impl ServedModel {
    /// A model with a name and nothing else.
    #[must_use]
    pub fn named(id: impl Into<String>) -> Self {
        let (root, parent, max_model_len, created, owned_by) = (None, None, None, None, None);
        Self { id: id.into(), root, parent, max_model_len, created, owned_by }
    }

    /// The entry of an engine's list, if it has an id. Other fields of a type that none of the known engines writes count as
    /// absent: clients need the name.
    fn read(entry: &Map<String, Value>) -> Option<Self> {
        let text = |field| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field| entry.get(field).and_then(unsigned);
        Some(Self {
            id: text("id")?,
            root: text("root"),
            parent: text("parent"),
            max_model_len: number("max_model_len"),
            created: number("created"),
            owned_by: text("owned_by"),
        })
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            id: &self.id,
            object: "model",
            // Clients expect a number; 0 is the one of models of which no engine says.
            created: self.created.unwrap_or(0),
            owned_by: self.owned_by.as_deref().unwrap_or("pointsman"),
            root: self.root.as_deref(),
            parent: self.parent.as_deref(),
            max_model_len: self.max_model_len,
        }
    }

    /// The response to `GET /v1/models/ID`.
    #[must_use]
    pub fn render(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(&self.entry()).unwrap_or_default())
    }
}

/// Parses an engine's response to `GET /v1/models`. Entries without an id, with an empty or too long one, and those beyond
/// [`MAX_MODELS`] are dropped.
///
/// # Errors
///
/// The list is longer than [`MAX_LIST_BYTES`] or not a model list.
pub fn parse_models(body: &[u8]) -> Result<Vec<ServedModel>, ModelListError> {
    if body.len() > MAX_LIST_BYTES {
        return Err(ModelListError::TooLong { limit: MAX_LIST_BYTES });
    }
    let list: List = serde_json::from_slice(body)
        .map_err(|error| ModelListError::Malformed { line: error.line(), column: error.column() })?;
    let entries = list.data.iter().filter_map(Value::as_object);
    let mut models: Vec<_> = entries.filter_map(ServedModel::read).collect();
    if models.is_empty() && !list.data.is_empty() {
        return Err(ModelListError::Malformed { line: 1, column: 1 });
    }
    models.retain(|model| !model.id.is_empty() && model.id.len() <= MAX_ID_BYTES);
    models.truncate(MAX_MODELS);
    Ok(models)
}

/// A number without its fraction: some servers write a time in floating point.
fn unsigned(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let whole = value.as_f64()?.trunc();
        // The text of a whole number in floating point has no exponent.
        format!("{whole:.0}").parse().ok()
    })
}

/// Merges lists by id, sorted. Of entries with the same id the first one counts, and later ones fill its missing
/// fields. The context length is the shortest, since a request may go to any engine.
#[must_use]
pub fn merge_models(lists: impl IntoIterator<Item = ServedModel>) -> Vec<ServedModel> {
    let mut merged: BTreeMap<String, ServedModel> = BTreeMap::new();
    for model in lists {
        if let Some(known) = merged.get_mut(&model.id) {
            known.root = known.root.take().or(model.root);
            known.parent = known.parent.take().or(model.parent);
            known.created = known.created.or(model.created);
            known.owned_by = known.owned_by.take().or(model.owned_by);
            known.max_model_len = match (known.max_model_len, model.max_model_len) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        } else if merged.len() < MAX_MODELS {
            merged.insert(model.id.clone(), model);
        }
    }
    merged.into_values().collect()
}

/// The response to `GET /v1/models`.
#[must_use]
pub fn render_models(models: &[ServedModel]) -> Bytes {
    #[derive(Serialize)]
    struct Rendered<'a> {
        object: &'static str,
        data: Vec<Entry<'a>>,
    }
    let list = Rendered { object: "list", data: models.iter().map(|model| model.entry()).collect() };
    // Serialization of strings and numbers into memory does not fail.
    Bytes::from(serde_json::to_vec(&list).unwrap_or_default())
}
