//! The body of a request to an engine.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pointsman_exchange::{Refusal, RestScanner};
use pointsman_protocol::SplicedBody;

use crate::client_body::ClientBody;
use crate::unread_body::UnreadBody;

/// What follows the held part of a client's body, as it streams through.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) body: ClientBody<UnreadBody>,
    /// Reads it on the way, where the pool's rules apply to what it says.
    pub(crate) scanner: Option<RestScanner>,
}

/// The place of a [`Rest`] between attempts: an attempt takes it, and it returns unless a part of it was sent.
#[derive(Clone, Debug)]
pub(crate) struct RestSlot(Arc<Mutex<Option<Box<Rest>>>>);

impl RestSlot {
    pub(crate) fn new(rest: Box<Rest>) -> Self {
        Self(Arc::new(Mutex::new(Some(rest))))
    }

    /// Whether none of it was sent.
    pub(crate) fn is_untouched(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Box<Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A [`Rest`] that an attempt sends.
#[derive(Debug)]
struct SentRest {
    rest: Option<Box<Rest>>,
    touched: bool,
    slot: RestSlot,
}

impl Drop for SentRest {
    fn drop(&mut self) {
        if !self.touched {
            *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = self.rest.take();
        }
    }
}

/// The body of a request to an engine: slices that are held, of which the first `next` were taken and `left` bytes remain,
/// and what follows them.
#[derive(Debug)]
pub(crate) struct RequestBody {
    parts: [Bytes; 3],
    next: usize,
    left: u64,
    rest: Option<SentRest>,
}

impl RequestBody {
    /// A body of these slices and what is in the slot. Attempts share the bytes without copying.
    pub(crate) fn new(held: Option<&SplicedBody>, slot: Option<&RestSlot>) -> Self {
        let rest = slot.map(|slot| SentRest { rest: slot.take(), touched: false, slot: slot.clone() });
        let (parts, left) = held.map(|body| (body.parts.clone(), body.content_length())).unwrap_or_default();
        Self { parts, next: 0, left, rest }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        while let Some(part) = this.parts.get_mut(this.next) {
            this.next += 1;
            if !part.is_empty() {
                let part = std::mem::take(part);
                this.left = this.left.saturating_sub(part.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
        let Some(SentRest { rest: Some(rest), touched, .. }) = &mut this.rest else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut rest.body).poll_frame(cx);
        if polled.is_ready() {
            *touched = true;
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(scanner)) = (&polled, &mut rest.scanner)
            && let Some(data) = frame.data_ref()
            && let Err(error) = scanner.push(data)
        {
            return Poll::Ready(Some(Err(Refusal::Body(error))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref().and_then(|sent| sent.rest.as_ref());
        self.left == 0 && rest.is_none_or(|rest| rest.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(rest) = self.rest.as_ref().and_then(|sent| sent.rest.as_ref()) else {
            return SizeHint::with_exact(self.left);
        };
        let mut hint = rest.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + self.left);
        }
        hint.set_lower(hint.lower() + self.left);
        hint
    }
}
