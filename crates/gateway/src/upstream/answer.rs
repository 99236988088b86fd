//! The answer of an engine, and the connection that it comes from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::Upstream;
use super::h1::{Closed, H1};

/// An answer of which the head has come.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The head.
    pub(crate) head: response::Parts,
    /// The body, still to be read.
    pub(crate) body: AnswerBody,
}

/// What a body gives when it is polled: a frame, its failure, or nothing more.
pub(super) type NextFrame = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The body of an answer. Polling it drives the connection; dropping it early closes the connection (HTTP/1.1) or
/// resets the stream (HTTP/2), and reading it to its end gives the connection back.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    incoming: Incoming,
    connection: Option<Box<H1>>,
    home: Arc<Upstream>,
    ended: bool,
}

impl AnswerBody {
    pub(super) const fn new(incoming: Incoming, connection: Option<Box<H1>>, home: Arc<Upstream>) -> Self {
        Self { incoming, connection, home, ended: false }
    }

    /// Whether everything has been read.
    pub(crate) fn is_end(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    /// The length still to come, where it is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next frame.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let polled = self.poll_incoming(cx);
        if let Poll::Ready(frame) = &polled
            && (frame.is_none() || self.incoming.is_end_stream())
        {
            self.ended = true;
            self.give_back(cx);
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

    /// Keeps the connection for the next request, if both sides are through with this one.
    pub(crate) fn give_back(&mut self, cx: &Context<'_>) {
        if let Some(mut connection) = self.connection.take()
            && connection.poll_idle(cx)
        {
            self.home.check_in(connection);
        }
    }
}
