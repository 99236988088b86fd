//! `GET /v1/models`: the models that a client can name on its route, as one list.
//!
//! The request goes to an engine of the route's pool like any other, so that the engine's own authorisation, its CORS
//! headers and the route's filters apply. The list that comes back is completed by what the other engines list and by
//! the names that model rules declare.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use pointsman_config::PoolIndex;
use pointsman_core::{Completion, FailureCause, Rejection, Usage};
use pointsman_door::RequestContext;
use pointsman_exchange::Refusal;
use pointsman_fleet::{Generation, PoolHandle};
use pointsman_protocol::ServedModel;
use pointsman_protocol::models::{merge_models, parse_models, render_models};
use tokio::time::{Instant, timeout_at};

use crate::attempt::{SelectedResponse, StartedResponse};
use crate::proxy::Proxy;
use crate::response::{ResponseBody, refuse};
use crate::template::response_headers;

/// Longest list of an engine in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The path of the list below an engine's root.
const PATH: &str = "/v1/models";

/// A request for the list, or for one entry of it.
#[derive(Debug)]
pub(crate) struct ModelList {
    /// The pools whose models are listed.
    pub(crate) pools: Vec<PoolIndex>,
    /// The model whose entry is asked for.
    pub(crate) id: Option<String>,
    /// Whether the client wants the head alone.
    head_only: bool,
}

impl ModelList {
    /// Turns a request for one entry, or for the head alone, into one for the list: engines need not know the names that
    /// rules declare, nor the method.
    pub(crate) fn new(
        pools: Vec<PoolIndex>,
        id: Option<&str>,
        head: &mut http::request::Parts,
        engine_uri: &mut Uri,
    ) -> Self {
        let head_only = head.method == Method::HEAD;
        head.method = Method::GET;
        head.headers.remove(header::ACCEPT_ENCODING);
        head.headers.remove(header::IF_NONE_MATCH);
        if id.is_some() {
            let query = engine_uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            *engine_uri = Uri::try_from(format!("{PATH}{query}")).unwrap_or_default();
        }
        Self { pools, id: id.map(str::to_owned), head_only }
    }

    /// Whether an engine's response is to be completed. One without a list of its own has said nothing about the client.
    pub(crate) fn completes(status: StatusCode, headers: &HeaderMap) -> bool {
        match status {
            StatusCode::OK => !headers.contains_key(header::CONTENT_ENCODING),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => true,
            _ => false,
        }
    }

    /// Reads the engine's list and responds with the whole one.
    pub(crate) async fn respond(
        self,
        proxy: &Proxy<'_>,
        selected: SelectedResponse,
        mut context: RequestContext,
    ) -> Response<ResponseBody> {
        let SelectedResponse { placed, mut response } = selected;
        let until = Instant::now() + response.endpoint.timeouts.first_byte;
        let until = response.deadline.map_or(until, |deadline| deadline.min(until));
        let listed = if response.head.status == StatusCode::OK {
            let Some(body) = read(&mut response, until).await else {
                if let Some(placed) = placed {
                    placed.finish(Completion::Broken(FailureCause::Truncated), Usage::default());
                }
                let refusal = Refusal::Pool(Rejection::AttemptsFailed(FailureCause::Truncated));
                return refuse(context, &refusal, proxy.shape, proxy.forward.filters);
            };
            parse_models(&body).map_err(|_| body.freeze())
        } else {
            Ok(Vec::new())
        };
        let (listed, unread) = listed.map_or_else(|body| (Vec::new(), Some(body)), |listed| (listed, None));
        if let Some(placed) = placed {
            placed.finish(Completion::Complete, Usage::default());
        }
        let models = all(proxy.generation, &self.pools, listed);
        // Where nothing else is known, an engine's list in another form says more than an empty one.
        let unread = unread.filter(|body| models.is_empty() && !body.is_empty());
        let is_json = unread.is_none();
        let body: Bytes = match (&self.id, unread) {
            (None, Some(unread)) => unread,
            (None, None) => render_models(&models),
            (Some(id), _) => match models.iter().find(|model| model.id == *id) {
                Some(model) => model.render(),
                None => {
                    return refuse(context, &Refusal::UndeclaredModel, proxy.shape, proxy.forward.filters);
                }
            },
        };
        let mut headers = std::mem::take(&mut response.head.headers);
        for name in [header::TRANSFER_ENCODING, header::ETAG, header::LAST_MODIFIED] {
            headers.remove(name);
        }
        response_headers(&mut headers, &context, &[]);
        if is_json {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        response_headers(&mut headers, &context, proxy.forward.filters);
        context.add_response_bytes(body.len() as u64);
        context.complete(StatusCode::OK.as_u16());
        let mut response =
            Response::new(ResponseBody::full(if self.head_only { Bytes::new() } else { body }));
        *response.headers_mut() = headers;
        response
    }
}

/// The body of an engine's list; `None` if it is too long or does not end in time.
async fn read(response: &mut StartedResponse, until: Instant) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    let first = response.first.take().and_then(|(frame, _)| frame.into_data().ok());
    body.extend_from_slice(&first.unwrap_or_default());
    let rest = timeout_at(until, async {
        while body.len() <= MAX_BYTES {
            match poll_fn(|cx| response.body.poll_frame(cx)).await {
                None => return Some(()),
                Some(frame) => body.extend_from_slice(&frame.ok()?.into_data().unwrap_or_default()),
            }
        }
        None
    });
    rest.await.ok()??;
    Some(body)
}

/// What an engine listed, completed by the pools' other engines and by the names that their rules declare. Names that the
/// rules do not accept are left out.
fn all(generation: &Generation, pools: &[PoolIndex], listed: Vec<ServedModel>) -> Vec<ServedModel> {
    let pools: Vec<&Arc<PoolHandle>> = pools.iter().filter_map(|pool| generation.pool(*pool)).collect();
    // The path of the weights is none of a client's business.
    let listed = listed.into_iter().map(|model| ServedModel { root: None, ..model });
    let served = merge_models(listed.chain(pools.iter().flat_map(|pool| pool.served_models())));
    let mut declared = Vec::new();
    for pool in &pools {
        for name in pool.rules.declared_models() {
            let target = pool.rules.targets_of(name).next().unwrap_or(name);
            let known = served.iter().find(|model| *model.id == **target).cloned();
            let known = known.unwrap_or_else(|| ServedModel::named(&**name));
            declared.push(ServedModel { id: name.to_string(), ..known });
        }
    }
    let is_accepted = |model: &ServedModel| pools.iter().any(|pool| pool.rules.accepts(&model.id));
    merge_models(served.into_iter().filter(is_accepted).chain(declared))
}
