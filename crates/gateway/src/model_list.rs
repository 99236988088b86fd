//! `GET /v1/models`: the models that are declared and those that engines serve, as one list.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use pointsman_fleet::Generation;
use pointsman_protocol::ServedModel;
use pointsman_protocol::models::{merge_models, render_models};

use crate::response::ResponseBody;

/// The list, or the entry `id` of it; `None` if there is no such model.
pub(crate) fn response(generation: &Generation, id: Option<&str>) -> Option<Response<ResponseBody>> {
    let pools = &generation.world.pools;
    let declared = pools.iter().flat_map(|pool| pool.models.declared_models());
    let declared = declared.map(|name| ServedModel::named(&**name));
    let served = generation.pools.iter().flat_map(|pool| pool.served_models()).map(|model| ServedModel {
        parent: model.parent.as_deref().map(str::to_owned),
        ..ServedModel::named(&*model.id)
    });
    let models = merge_models(declared.chain(served));
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let body: Bytes = match id {
        None => render_models(&models, created),
        Some(id) => models.iter().find(|model| model.id == id)?.render(created),
    };
    let mut response = Response::new(ResponseBody::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(response)
}
