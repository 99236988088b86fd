//! Protocol upgrades: bytes are copied both ways until either side closes.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Version, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pointsman_core::{Completion, Usage};
use pointsman_door::RequestContext;
use pointsman_exchange::strip_hop_by_hop;
use pointsman_telemetry::Outcome;
use tokio::io::copy_bidirectional;

use crate::attempt::{SelectedResponse, StartedResponse};
use crate::connection::ConnectionRequest;
use crate::response::ResponseBody;
use crate::shared::Shared;

/// The protocol of the client's upgrade request. An upgrade to HTTP/2 is ignored, as RFC 9110 permits.
pub(crate) fn requested_protocol(head: &request::Parts) -> Option<HeaderValue> {
    let listed = head.headers.get_all(header::CONNECTION).iter().any(|value| {
        let names = value.to_str().unwrap_or_default();
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    let protocol = head.headers.get(header::UPGRADE)?;
    let accepted = listed && head.version == Version::HTTP_11 && !protocol.as_bytes().starts_with(b"h2");
    accepted.then(|| protocol.clone())
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
    let protocol = head.headers.get(header::UPGRADE).cloned();
    context.set_status(StatusCode::SWITCHING_PROTOCOLS.as_u16());
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
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    response
}
