//! Request bodies that are not read to their end: the rest is read and discarded for a bounded time, so that the client,
//! which may still be writing, gets to read the response. Closing a connection with unread bytes resets it, and the
//! client's system then discards a response that has already arrived.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pointsman_door::Budget;

/// Maximum time for which a body is discarded.
const TIME: Duration = Duration::from_secs(5);
/// Maximum number of bytes of a body that are discarded.
const BYTES: u64 = 64 << 20;
/// Maximum number of bodies that are being discarded.
const BODIES: u64 = 256;

/// A request body as it arrives, whose rest is discarded when it is dropped.
#[derive(Debug)]
pub(crate) struct UnreadBody {
    incoming: Option<Incoming>,
    /// Whether the client sends the body only after `100 Continue`, which the first read sends.
    awaits_continue: bool,
    /// The bodies that are being discarded.
    discarded: Arc<Budget>,
}

impl UnreadBody {
    pub(crate) fn new(incoming: Incoming, headers: &HeaderMap, discarded: &Arc<Budget>) -> Self {
        let awaits_continue = headers.contains_key(header::EXPECT);
        Self { incoming: Some(incoming), awaits_continue, discarded: Arc::clone(discarded) }
    }
}

impl Body for UnreadBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.awaits_continue = false;
        let incoming = this.incoming.as_mut();
        incoming.map_or(Poll::Ready(None), |incoming| Pin::new(incoming).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for UnreadBody {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| !self.awaits_continue && !incoming.is_end_stream());
        let Some(incoming) = rest else { return };
        let mut share = self.discarded.share();
        if share.grow_to(1, BODIES) {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(TIME, discard(incoming)).await;
                drop(share);
            });
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut left = BYTES;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}
