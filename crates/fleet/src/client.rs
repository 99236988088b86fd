//! Small questions to an engine: one GET at a time on a connection that is kept between them.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pointsman_config::AppProtocol;
use tokio::time::Instant;

use crate::connect::{Connection, HttpVersion};
use crate::endpoint::PoolEndpoint;
use crate::tasks::Tasks;

/// Response heads longer than this are refused.
const MAX_HEAD: usize = 64 << 10;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}")]
    Connect(#[from] crate::connect::ConnectError),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("no answer in time")]
    TimedOut,
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("not what was asked for")]
    Unusable,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// A client for the questions of one task to one endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    tasks: Tasks,
    kept: Option<(Sender, Instant)>,
}

impl Client {
    pub(crate) const fn new(tasks: Tasks) -> Self {
        Self { tasks, kept: None }
    }

    /// Asks for `path` and hands the pieces of a 200's body to `piece` until it breaks off, `limit` bytes are exceeded
    /// or the body ends, all within `budget`. The connection is kept only after a whole body.
    pub(crate) async fn get(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &'static str,
        budget: Duration,
        limit: usize,
        piece: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), AskError> {
        let kept = self.kept.take();
        let answer = tokio::time::timeout(budget, self.ask(kept, endpoint, path, limit, piece));
        let sender = answer.await.map_err(|_| AskError::TimedOut)??;
        self.kept = sender.map(|sender| (sender, Instant::now()));
        Ok(())
    }

    async fn ask(
        &self,
        kept: Option<(Sender, Instant)>,
        endpoint: &PoolEndpoint,
        path: &'static str,
        limit: usize,
        mut piece: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Sender>, AskError> {
        let (mut sender, response) = self.send(kept, endpoint, path).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            total += data.len();
            if total > limit {
                return Err(AskError::TooLong(limit));
            }
            if piece(&data).is_break() {
                return Ok(None);
            }
        }
        Ok(sender.ready().await.is_ok().then_some(sender))
    }

    /// Sends on the kept connection if it is young enough, and anew where that one turns out to be closed.
    async fn send(
        &self,
        kept: Option<(Sender, Instant)>,
        endpoint: &PoolEndpoint,
        path: &'static str,
    ) -> Result<(Sender, Response<Incoming>), AskError> {
        if let Some((mut sender, since)) = kept
            && since.elapsed() < endpoint.timeouts.keep_alive
            && let Ok(response) = sender.send(request(endpoint, path)?).await
        {
            return Ok((sender, response));
        }
        let connection = endpoint.connector().connect(&endpoint.address, endpoint.timeouts.connect).await?;
        let mut sender = self.open(connection).await?;
        let response = sender.send(request(endpoint, path)?).await?;
        Ok((sender, response))
    }

    async fn open(&self, connection: Connection) -> Result<Sender, AskError> {
        let io = TokioIo::new(connection.io);
        match connection.version {
            HttpVersion::Http1 => {
                let (sender, driver) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await?;
                self.tasks.spawn(self.tasks.token(), async { drop(driver.await) });
                Ok(Sender::Http1(sender))
            }
            HttpVersion::Http2 => {
                let (sender, driver) = http2::Builder::new(TokioExecutor::new()).handshake(io).await?;
                self.tasks.spawn(self.tasks.token(), async { drop(driver.await) });
                Ok(Sender::Http2(sender))
            }
        }
    }
}

impl Sender {
    async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(&mut self, mut request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
                let host = authority.and_then(|authority| HeaderValue::try_from(authority).ok());
                request.headers_mut().extend(host.map(|host| (HOST, host)));
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.send_request(request).await
            }
        }
    }
}

fn request(endpoint: &PoolEndpoint, path: &'static str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let scheme = match endpoint.address.protocol {
        AppProtocol::Http | AppProtocol::H2c => "http",
        AppProtocol::Https => "https",
    };
    let uri = Uri::builder().scheme(scheme).authority(endpoint.authority()).path_and_query(path).build()?;
    let mut request = Request::get(uri).body(Empty::new())?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static("pointsman"));
    headers.extend(endpoint.connector().authorization().map(|key| (AUTHORIZATION, key)));
    Ok(request)
}
