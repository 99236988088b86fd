//! HTTP/1.1 to an engine.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pointsman_core::FailureCause;
use pointsman_fleet::connect::EngineStream;
use pointsman_fleet::{Connection, HttpVersion, PoolEndpoint};

use super::answer::{AnswerBody, Answered, NextFrame};
use super::body::OutBody;
use super::failure::{Sent, cause};
use super::{MAX_HEAD_BYTES, MAX_HEADERS, SendError, Upstream};
use crate::gate::Gate;

/// One connection. It makes progress only while it is polled, by whoever uses it.
#[derive(Debug)]
pub(super) struct H1 {
    sender: SendRequest<OutBody>,
    connection: http1::Connection<TokioIo<EngineStream>, OutBody>,
    /// Reading a body wakes the connection that fills it, over and over.
    gate: Gate,
}

/// The connection is closed; what it had read may still be in the body.
#[derive(Debug)]
pub(super) struct Closed;

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    builder
}

impl H1 {
    pub(super) async fn open(socket: EngineStream) -> Result<Self, SendError> {
        let opened = builder().handshake(TokioIo::new(socket)).await;
        let (sender, connection) = opened.map_err(|_| FailureCause::Connect)?;
        Ok(Self { sender, connection, gate: Gate::new() })
    }

    /// Lets the connection read and write. Ready once it is closed.
    pub(super) fn drive(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Self { connection, gate, .. } = self;
        gate.poll(cx, |cx| Pin::new(&mut *connection).poll(cx).map(drop))
    }

    /// Lets the connection read until there is a frame of the body that it fills. The error says that it is closed.
    pub(super) fn drive_body(
        &mut self,
        cx: &Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<Result<NextFrame, Closed>> {
        let Self { connection, gate, .. } = self;
        gate.poll(cx, |cx| {
            if Pin::new(&mut *connection).poll(cx).is_ready() {
                return Poll::Ready(Err(Closed));
            }
            // Only the connection, driven right here, fills the body: it needs no wake-up of its own.
            Pin::new(&mut *incoming).poll_frame(&mut Context::from_waker(Waker::noop())).map(Ok)
        })
    }

    /// Whether the connection is open and between requests.
    pub(super) fn poll_idle(&mut self, cx: &Context<'_>) -> bool {
        self.drive(cx).is_pending() && self.sender.is_ready()
    }
}

/// Sends a request and waits for the head of the answer.
pub(super) async fn send(
    home: &Arc<Upstream>,
    mut connection: Box<H1>,
    request: Request<OutBody>,
) -> Result<Answered, Sent> {
    let mut answer = pin!(connection.sender.try_send_request(request));
    let mut connection = Some(connection);
    let answer = poll_fn(|cx| {
        if connection.as_mut().is_some_and(|connection| connection.drive(cx).is_ready()) {
            // Dropping it fails the request, or hands it back if it was not taken yet.
            connection = None;
        }
        answer.as_mut().poll(cx)
    })
    .await;
    match answer {
        Ok(response) => {
            let (head, incoming) = response.into_parts();
            let mut body = AnswerBody::new(incoming, connection, Arc::clone(home));
            if body.is_end() {
                poll_fn(|cx| {
                    body.give_back(cx);
                    Poll::Ready(())
                })
                .await;
            }
            Ok(Answered { head, body })
        }
        Err(mut error) => Err(match error.take_message() {
            Some(request) => Sent::Unsent(Box::new(request)),
            None => Sent::Failed(cause(error.error())),
        }),
    }
}

/// Sends a request that asks for an upgrade, on a connection of its own. The connection is driven by a task, since
/// the answer's owner gets the raw bytes through hyper. An engine that speaks HTTP/2 gets an ordinary request.
pub(crate) async fn upgrade(
    upstream: &Arc<Upstream>,
    endpoint: &PoolEndpoint,
    mut request: Request<OutBody>,
) -> Result<Answered, SendError> {
    let Connection { io, version } = super::open(&upstream.connector, endpoint).await?;
    if version == HttpVersion::Http2 {
        request.headers_mut().remove(header::CONNECTION);
        request.headers_mut().remove(header::UPGRADE);
        return upstream.send(endpoint, request, false).await;
    }
    let H1 { mut sender, connection, .. } = H1::open(io).await?;
    tokio::spawn(connection.with_upgrades());
    let sent = sender.send_request(request).await;
    let response = sent.map_err(|error| SendError { cause: cause(&error), kept: false })?;
    let (head, incoming) = response.into_parts();
    Ok(Answered { head, body: AnswerBody::new(incoming, None, Arc::clone(upstream)) })
}
