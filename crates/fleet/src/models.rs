//! The models that an engine lists at `GET /v1/models`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pointsman_core::ModelKey;
use pointsman_protocol::ServedModel;
use pointsman_protocol::models::{ModelListError, parse_models};

/// The largest number of models kept of one engine.
const MAX_MODELS: usize = 1_024;
/// The longest model name kept, in bytes.
const MAX_NAME: usize = 512;

/// The latest list of one engine; empty until its first response.
#[derive(Debug, Default)]
pub struct ServedModels(ArcSwap<List>);

#[derive(Debug, Default)]
struct List {
    models: Arc<Vec<ServedModel>>,
    keys: Arc<[ModelKey]>,
}

impl ServedModels {
    /// The list, in the engine's order.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<ServedModel>> {
        Arc::clone(&self.0.load().models)
    }

    /// The keys of the models' names, each once, in order.
    pub(crate) fn keys(&self) -> Arc<[ModelKey]> {
        Arc::clone(&self.0.load().keys)
    }

    /// Replaces the list. Returns whether the new one is equal to the old one, apart from `created`, which some engines set
    /// to the time of the request.
    pub(crate) fn replace(&self, models: Vec<ServedModel>) -> bool {
        let timeless = |model: &ServedModel| ServedModel { created: None, ..model.clone() };
        let unchanged = self.0.load().models.iter().map(timeless).eq(models.iter().map(timeless));
        if !unchanged {
            let mut keys: Vec<_> = models.iter().map(|model| ModelKey::of(&model.id)).collect();
            keys.sort_unstable();
            keys.dedup();
            self.0.store(Arc::new(List { models: Arc::new(models), keys: keys.into() }));
        }
        unchanged
    }
}

/// The models of a response, within the limits above. `root`, the path of the weights, is removed because clients must not
/// see it.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<ServedModel>, ModelListError> {
    let is_valid = |name: &String| !name.is_empty() && name.len() <= MAX_NAME;
    let models = parse_models(body)?.into_iter().filter(|model| is_valid(&model.id)).take(MAX_MODELS);
    Ok(models
        .map(|model| ServedModel {
            root: None,
            parent: model.parent.filter(is_valid),
            owned_by: model.owned_by.filter(is_valid),
            ..model
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&[(&str, Option<&str>)]>) {
        let expected = expected.map(|models| {
            let model = |(id, parent): &(&str, Option<&str>)| ((*id).to_owned(), parent.map(str::to_owned));
            models.iter().map(model).collect::<Vec<_>>()
        });
        let found = parse(body.as_bytes()).ok();
        assert!(found.iter().flatten().all(|model| model.root.is_none()));
        let found = found.map(|models| models.into_iter().map(|model| (model.id, model.parent)).collect());
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_has_models_and_adapters_with_their_base() {
        let body = r#"{"object":"list","data":[
            {"id":"tiny","object":"model","parent":null,"max_model_len":4096},
            {"id":"tiny-lora-a","root":"tiny-lora-a","parent":"tiny","permission":[]},
            {"id":"bare"}]}"#;
        check(body, Some(&[("tiny", None), ("tiny-lora-a", Some("tiny")), ("bare", None)]));
    }

    #[test]
    fn a_response_of_another_shape_has_no_list() {
        check("", None);
        check("{}", None);
        check(r#"{"data":[{"id":7}]}"#, None);
        check("<html>", None);
    }

    #[test]
    fn lists_beyond_the_limits_are_cut() {
        let entry = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_NAME + 1));
        check(&format!(r#"{{"data":[{entry},{{"id":""}},{{"id":"ok"}}]}}"#), Some(&[("ok", None)]));
        let many = vec![r#"{"id":"m"}"#; MAX_MODELS + 5].join(",");
        assert_eq!(
            parse(format!(r#"{{"data":[{many}]}}"#).as_bytes()).map(|models| models.len()),
            Ok(MAX_MODELS)
        );
    }
}
