//! Upgraded connections: bytes both ways until either side ends.

use http::{HeaderValue, Response, StatusCode, Version, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pointsman_core::{Completion, Usage};
use pointsman_exchange::strip_hop_by_hop;
use pointsman_telemetry::Outcome;
use tokio::io::copy_bidirectional;

use crate::attempt::{Chosen, Got};
use crate::record::Record;
use crate::reply::ReplyBody;
use crate::shared::Shared;

/// The protocol that the client wants to go over to. Going over to HTTP/2 is not taken up, as any server may choose.
pub(crate) fn wanted(head: &request::Parts) -> Option<HeaderValue> {
    let listed = head.headers.get_all(header::CONNECTION).iter().any(|value| {
        let names = value.to_str().unwrap_or_default();
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    let protocol = head.headers.get(header::UPGRADE)?;
    let taken = listed && head.version == Version::HTTP_11 && !protocol.as_bytes().starts_with(b"h2");
    taken.then(|| protocol.clone())
}

/// Tells the client that both sides go over, and passes bytes from then on. The reservation lasts as long as the
/// tunnel.
pub(crate) fn open(
    shared: &Shared,
    chosen: Chosen,
    client: OnUpgrade,
    mut record: Record,
) -> Response<ReplyBody> {
    let Chosen { placed, got: Got { mut head, .. } } = chosen;
    let engine = head.extensions.remove::<OnUpgrade>();
    let protocol = head.headers.get(header::UPGRADE).cloned();
    record.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    let cut = shared.cut.clone();
    shared.tasks.spawn(async move {
        let tunnel = async {
            let (client, engine) = tokio::try_join!(client, engine?).ok()?;
            copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(engine)).await.ok()
        };
        let completion = match cut.run_until_cancelled(tunnel).await {
            Some(Some(_)) => Completion::Complete,
            // Which side broke off cannot be told, so it is not held against the engine.
            Some(None) | None => Completion::ClientGone,
        };
        if let Some(placed) = placed {
            placed.finish(completion, Usage::default());
        }
        record.finish(Outcome::Served(completion), Usage::default());
    });
    strip_hop_by_hop(&mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    let mut response = Response::new(ReplyBody::EMPTY);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    response
}
