//! The answer of an engine, and the connection that it comes from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::response;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::Upstream;
use super::h1::H1;

/// An answer of which the head has come.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The head.
    pub(crate) head: response::Parts,
    /// The body, still to be read.
    pub(crate) body: AnswerBody,
}

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
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = self.poll_incoming(cx);
        if let Poll::Ready(frame) = &polled
            && (frame.is_none() || self.incoming.is_end_stream())
        {
            self.ended = true;
            self.give_back(cx);
        }
        polled
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(connection) = &mut self.connection else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        // Only the connection, driven right here, fills the body: it needs no wake-up of its own.
        let mut unwoken = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.incoming).poll_frame(&mut unwoken);
        if polled.is_ready() {
            return polled;
        }
        if connection.drive(cx).is_ready() {
            self.connection = None;
        }
        Pin::new(&mut self.incoming).poll_frame(&mut unwoken)
    }

    /// Keeps the connection for the next request, if both sides are through with this one.
    pub(crate) fn give_back(&mut self, cx: &mut Context<'_>) {
        if let Some(mut connection) = self.connection.take()
            && connection.poll_idle(cx)
        {
            self.home.check_in(connection);
        }
    }
}
