//! `/v1/models`: the base model and its adapters.

use http::Response;

use crate::app::App;
use crate::reply::{Reply, json, quoted};

pub(crate) fn list(app: &App) -> Response<Reply> {
    let base = &app.config.model;
    let limit = app.config.profile.max_model_len.to_string();
    let mut cards = vec![card(app, base, base, "null", &limit)];
    let parent = quoted(base);
    for (name, adapter) in app.adapters() {
        cards.push(card(app, &name, &adapter.path, &parent, "null"));
    }
    json(format!(r#"{{"object":"list","data":[{}]}}"#, cards.join(",")))
}

fn card(app: &App, name: &str, root: &str, parent: &str, limit: &str) -> String {
    let (id, root, created, permission) = (quoted(name), quoted(root), app.unix_seconds(), app.draw_id());
    format!(
        r#"{{"id":{id},"object":"model","created":{created},"owned_by":"vllm","root":{root},"parent":{parent},"max_model_len":{limit},"permission":[{{"id":"modelperm-{permission}","object":"model_permission","created":{created},"allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}}]}}"#
    )
}
