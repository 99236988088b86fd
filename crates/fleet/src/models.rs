//! What engines say they serve: `GET /v1/models`, asked now and then.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;

/// The most models of one engine that are kept.
const MAX_MODELS: usize = 1_024;
/// The longest model name that is kept, in bytes.
const MAX_NAME: usize = 512;

/// A model or adapter that an engine serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServedModel {
    /// Its name.
    pub id: Arc<str>,
    /// The base model, where this is an adapter.
    pub parent: Option<Arc<str>>,
}

/// The newest list of one engine; empty until it first answered.
#[derive(Debug, Default)]
pub struct ServedModels(ArcSwap<Vec<ServedModel>>);

impl ServedModels {
    /// The list, in the engine's order.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<ServedModel>> {
        self.0.load_full()
    }

    /// Takes a new list; whether it is the one that was there already.
    pub(crate) fn replace(&self, models: Vec<ServedModel>) -> bool {
        let known = **self.0.load() == models;
        if !known {
            self.0.store(Arc::new(models));
        }
        known
    }
}

/// The models of an answer; `None` where it is not such an answer.
pub(crate) fn parse(body: &[u8]) -> Option<Vec<ServedModel>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        id: Arc<str>,
        #[serde(default)]
        parent: Option<Arc<str>>,
    }
    let list: List = serde_json::from_slice(body).ok()?;
    let sane = |name: &str| !name.is_empty() && name.len() <= MAX_NAME;
    let entries = list.data.into_iter().filter(|entry| sane(&entry.id)).take(MAX_MODELS);
    Some(
        entries
            .map(|entry| ServedModel { id: entry.id, parent: entry.parent.filter(|parent| sane(parent)) })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&[(&str, Option<&str>)]>) {
        let expected = expected.map(|models| {
            let model = |(id, parent): &(&str, Option<&str>)| ServedModel {
                id: (*id).into(),
                parent: parent.map(Into::into),
            };
            models.iter().map(model).collect::<Vec<_>>()
        });
        assert_eq!(parse(body.as_bytes()), expected);
    }

    #[test]
    fn a_list_names_models_and_adapters_with_their_base() {
        let body = r#"{"object":"list","data":[
            {"id":"tiny","object":"model","parent":null,"max_model_len":4096},
            {"id":"tiny-lora-a","root":"tiny-lora-a","parent":"tiny","permission":[]},
            {"id":"bare"}]}"#;
        check(body, Some(&[("tiny", None), ("tiny-lora-a", Some("tiny")), ("bare", None)]));
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        check("", None);
        check("{}", None);
        check(r#"{"data":[{"id":7}]}"#, None);
        check("<html>", None);
    }

    #[test]
    fn absurd_lists_are_bounded() {
        let entry = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_NAME + 1));
        check(&format!(r#"{{"data":[{entry},{{"id":""}},{{"id":"ok"}}]}}"#), Some(&[("ok", None)]));
        let many = vec![r#"{"id":"m"}"#; MAX_MODELS + 5].join(",");
        assert_eq!(
            parse(format!(r#"{{"data":[{many}]}}"#).as_bytes()).map(|models| models.len()),
            Some(MAX_MODELS)
        );
    }
}
