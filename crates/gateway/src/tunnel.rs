//! WebSockets: bytes are copied both ways until either side closes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pointsman_core::{Completion, Usage};
use pointsman_door::RequestContext;
use pointsman_exchange::{asks_for_tunnel, strip_hop_by_hop};
use pointsman_telemetry::Outcome;
use tokio::io::copy_bidirectional;

use crate::attempt::{SelectedResponse, StartedResponse};
use crate::connection::ConnectionRequest;
use crate::response::ResponseBody;
use crate::shared::Shared;
use crate::template::REQUEST_ID_NAME;

/// The only protocol of a tunnel: through any other, requests would pass unread.
pub(crate) const PROTOCOL: HeaderValue = HeaderValue::from_static("websocket");

/// Whether the client asks for a WebSocket.
pub(crate) fn is_requested(head: &request::Parts) -> bool {
    let listed = head.headers.get_all(header::CONNECTION).iter().any(|value| {
        let names = value.to_str().unwrap_or_default();
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    listed && head.version == Version::HTTP_11 && head.method == Method::GET && asks_for_tunnel(&head.headers)
}

/// Whether an engine's `101 Switching Protocols` opens a WebSocket.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the client with `101 Switching Protocols` and starts the tunnel. The load stays reserved until it ends.
pub(crate) fn open(
    shared: &Shared,
    selected: SelectedResponse,
    client: OnUpgrade,
    mut context: RequestContext,
    request: ConnectionRequest,
) -> Response<ResponseBody> {
    let SelectedResponse { placed, response: StartedResponse { mut head, .. } } = selected;
    let engine = head.extensions.remove::<OnUpgrade>();
    context.set_status(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let id = context.request_id().cloned();
    let abort = shared.abort.clone();
    shared.tasks.spawn(async move {
        let tunnel = async {
            let (client, engine) = tokio::try_join!(client, engine?).ok()?;
            copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(engine)).await.ok()
        };
        let completion = match abort.run_until_cancelled(tunnel).await {
            Some(Some(_)) => Completion::Complete,
            // Either side may have closed it, so it does not count against the engine.
            Some(None) | None => Completion::ClientGone,
        };
        if let Some(placed) = placed {
            placed.finish(completion, Usage::default());
        }
        context.finish(Outcome::Served(completion), Usage::default());
        drop(request);
    });
    strip_hop_by_hop(&mut head.headers);
    if let Some(id) = id {
        head.headers.insert(REQUEST_ID_NAME, id);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, PROTOCOL);
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    response
}
