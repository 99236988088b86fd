//! `/v1/models`: the base model and its adapters.

use http::Response;
use serde::Serialize;

use super::null_fields::Null;
use crate::app::{App, unix_seconds};
use crate::response::{ResponseBody, json};

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelCard<'a>>,
}

#[derive(Serialize)]
struct ModelCard<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    root: &'a str,
    /// The base model of an adapter.
    parent: Option<&'a str>,
    /// Context length in tokens; vLLM gives it for the base model alone.
    max_model_len: Option<u32>,
    permission: [ModelPermission; 1],
}

#[derive(Default, Serialize)]
struct ModelPermission {
    id: String,
    object: &'static str,
    created: u64,
    allow_create_engine: bool,
    allow_sampling: bool,
    allow_logprobs: bool,
    allow_search_indices: bool,
    allow_view: bool,
    allow_fine_tuning: bool,
    organization: &'static str,
    group: Null,
    is_blocking: bool,
}

pub(crate) fn list(app: &App) -> Response<ResponseBody> {
    let base = &app.config.model;
    let adapters = app.adapters();
    let max_model_len = Some(app.config.profile.max_model_len);
    let mut data = vec![ModelCard { max_model_len, ..card(app, base, base) }];
    data.extend(
        adapters
            .iter()
            .map(|(name, adapter)| ModelCard { parent: Some(base), ..card(app, name, &adapter.path) }),
    );
    json(&ModelList { object: "list", data })
}

fn card<'a>(app: &App, id: &'a str, root: &'a str) -> ModelCard<'a> {
    let created = unix_seconds();
    let permission = ModelPermission {
        id: format!("modelperm-{}", app.new_id()),
        object: "model_permission",
        created,
        allow_sampling: true,
        allow_logprobs: true,
        allow_view: true,
        organization: "*",
        ..ModelPermission::default()
    };
    let permission = [permission];
    ModelCard {
        id,
        object: "model",
        created,
        owned_by: "vllm",
        root,
        parent: None,
        max_model_len: None,
        permission,
    }
}
