//! HTTP/1.1 connections to an engine.

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

use super::engine_io::EngineIo;
use super::failure::{SendFailure, cause};
use super::request_body::RequestBody;
use super::response::{NextFrame, UpstreamBody, UpstreamResponse};
use super::{MAX_HEAD_BYTES, MAX_HEADERS, SendError, Upstream};
use crate::gate::Gate;

/// A connection. It makes progress only while the request that uses it polls it.
#[derive(Debug)]
pub(super) struct H1 {
    sender: SendRequest<RequestBody>,
    connection: http1::Connection<TokioIo<EngineIo<EngineStream>>, RequestBody>,
    /// Reading a frame of a body wakes the connection that fills it.
    gate: Gate,
}

/// The connection is closed; frames that it read before may remain in the body.
#[derive(Debug)]
pub(super) struct Closed;

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    builder
}

impl H1 {
    pub(super) async fn open(socket: EngineStream) -> Result<Self, SendError> {
        let opened = builder().handshake(TokioIo::new(EngineIo::new(socket))).await;
        let (sender, connection) = opened.map_err(|_| FailureCause::Connect)?;
        Ok(Self { sender, connection, gate: Gate::new() })
    }

    /// Polls the connection, which is ready once it is closed.
    pub(super) fn drive(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Self { connection, gate, .. } = self;
        gate.poll(cx, |cx| Pin::new(&mut *connection).poll(cx).map(drop))
    }

    /// Polls the connection and then the body that it fills.
    ///
    /// # Errors
    /// The connection is closed.
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
            // Only the connection polled above fills the body, so the body needs no waker.
            Pin::new(&mut *incoming).poll_frame(&mut Context::from_waker(Waker::noop())).map(Ok)
        })
    }

    /// Whether the connection is open and between requests.
    pub(super) fn poll_idle(&mut self, cx: &Context<'_>) -> bool {
        self.drive(cx).is_pending() && self.sender.is_ready()
    }
}

/// Sends a request and awaits the response head.
pub(super) async fn send(
    upstream: &Arc<Upstream>,
    mut connection: Box<H1>,
    request: Request<RequestBody>,
) -> Result<UpstreamResponse, SendFailure> {
    let mut response = pin!(connection.sender.try_send_request(request));
    let mut connection = Some(connection);
    let result = poll_fn(|cx| {
        if connection.as_mut().is_some_and(|connection| connection.drive(cx).is_ready()) {
            // Dropping a closed connection fails the request, or returns it if it was not sent.
            connection = None;
        }
        response.as_mut().poll(cx)
    })
    .await;
    match result {
        Ok(response) => {
            let (head, incoming) = response.into_parts();
            let mut body = UpstreamBody::new(incoming, connection, Arc::clone(upstream));
            if body.is_end() {
                poll_fn(|cx| {
                    body.release_connection(cx);
                    Poll::Ready(())
                })
                .await;
            }
            Ok(UpstreamResponse { head, body })
        }
        Err(mut error) => Err(match error.take_message() {
            Some(request) => SendFailure::Unsent(Box::new(request)),
            None => SendFailure::Failed(cause(error.error())),
        }),
    }
}

/// Sends a request that asks for a protocol upgrade on a new connection, which a task drives: hyper hands the raw stream
/// to the owner of the response. An engine that speaks HTTP/2 receives an ordinary request.
pub(crate) async fn upgrade(
    upstream: &Arc<Upstream>,
    endpoint: &PoolEndpoint,
    mut request: Request<RequestBody>,
) -> Result<UpstreamResponse, SendError> {
    let Connection { io, version } = super::open(&upstream.connector, endpoint).await?;
    if version == HttpVersion::Http2 {
        request.headers_mut().remove(header::CONNECTION);
        request.headers_mut().remove(header::UPGRADE);
        return upstream.send(endpoint, request, false).await;
    }
    let H1 { mut sender, connection, .. } = H1::open(io).await?;
    tokio::spawn(connection.with_upgrades());
    let sent = sender.send_request(request).await;
    let response = sent.map_err(|error| cause(&error))?;
    let (head, incoming) = response.into_parts();
    Ok(UpstreamResponse { head, body: UpstreamBody::new(incoming, None, Arc::clone(upstream)) })
}
