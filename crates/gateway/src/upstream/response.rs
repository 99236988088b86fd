//! An engine's response, and the connection that it is read from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::Upstream;
use super::h1::{Closed, H1};
use super::h2::StreamSlot;

/// A response whose head has arrived.
#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    pub(crate) head: response::Parts,
    pub(crate) body: UpstreamBody,
}

/// The result of polling a body: a frame, an error, or `None` at the end.
pub(super) type NextFrame = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The body of a response. Polling it drives an HTTP/1.1 connection, and reading it to its end returns that connection for
/// reuse. Dropping it early closes the connection (HTTP/1.1) or resets the stream (HTTP/2).
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    connection: Option<Box<H1>>,
    /// The stream of an HTTP/2 connection, until its end.
    stream: Option<StreamSlot>,
    upstream: Arc<Upstream>,
    ended: bool,
}

impl UpstreamBody {
    pub(super) const fn new(
        incoming: Incoming,
        connection: Option<Box<H1>>,
        upstream: Arc<Upstream>,
    ) -> Self {
        Self { incoming, connection, stream: None, upstream, ended: false }
    }

    /// The body of a response on an HTTP/2 stream.
    pub(super) const fn of_stream(incoming: Incoming, stream: StreamSlot, upstream: Arc<Upstream>) -> Self {
        Self { incoming, connection: None, stream: Some(stream), upstream, ended: false }
    }

    /// Whether all frames have been read. A length ends the body too: over HTTP/2 the mark of the end may come later, when
    /// the client's connection no longer asks for it.
    pub(crate) fn is_end(&self) -> bool {
        self.ended || self.incoming.is_end_stream() || self.remaining() == Some(0)
    }

    /// The remaining length in bytes, if the engine sent a content-length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let polled = self.poll_incoming(cx);
        if let Poll::Ready(frame) = &polled
            && (frame.is_none() || self.incoming.is_end_stream())
        {
            self.ended = true;
            self.stream = None;
            self.release_connection(cx);
        }
        polled
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        if let Some(connection) = &mut self.connection {
            match connection.drive_body(cx, &mut self.incoming) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(frame)) => return Poll::Ready(frame),
                Poll::Ready(Err(Closed)) => self.connection = None,
            }
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    /// Returns the connection for reuse, if both sides have ended the exchange.
    pub(crate) fn release_connection(&mut self, cx: &Context<'_>) {
        if let Some(mut connection) = self.connection.take()
            && connection.poll_idle(cx)
        {
            self.upstream.check_in(connection);
        }
    }
}
