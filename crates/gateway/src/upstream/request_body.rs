//! The body of a request to an engine.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pointsman_exchange::Refusal;
use pointsman_protocol::SplicedBody;

use crate::client_body::ClientBody;
use crate::unread_body::UnreadBody;

/// The body of a request to an engine.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    /// Slices of a buffered body, of which the first `next` were taken; `left` counts the remaining bytes.
    Buffered {
        parts: [Bytes; 3],
        next: usize,
        left: u64,
    },
    /// The client's body, streaming through.
    Stream(Box<ClientBody<UnreadBody>>),
}

impl RequestBody {
    /// A buffered body. Attempts share its bytes without copying.
    pub(crate) fn buffered(body: &SplicedBody) -> Self {
        Self::Buffered { parts: body.parts.clone(), next: 0, left: body.content_length() }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Buffered { parts, next, left } => {
                while let Some(part) = parts.get_mut(*next) {
                    *next += 1;
                    if !part.is_empty() {
                        let part = std::mem::take(part);
                        *left = left.saturating_sub(part.len() as u64);
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    }
                }
                Poll::Ready(None)
            }
            Self::Stream(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Buffered { left, .. } => *left == 0,
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Buffered { left, .. } => SizeHint::with_exact(*left),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
