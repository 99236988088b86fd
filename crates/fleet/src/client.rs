//! GET requests to an engine's own pages, by hyper-util's pooled client over the [`Connector`] of its pool.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client as PooledClient, Error as ClientError};
use hyper_util::rt::TokioIo;
use pointsman_config::{AppProtocol, EndpointAddress, EngineKind, Timeouts};

use crate::activity::Activity;
use crate::connect::{ConnectError, Connector, EngineStream};
use crate::endpoint::PoolEndpoint;
use crate::tasks::Tasks;

/// The longest response head in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most redirects that are followed in a row.
const MAX_REDIRECTS: usize = 3;
/// The most paths of one endpoint whose redirects are kept.
const MAX_MOVED: usize = 4;

/// Why a request has no usable response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("{}", root_cause(.0))]
    Connect(ClientError),
    #[error("{}", root_cause(.0))]
    Exchange(ClientError),
    #[error("{0}")]
    Body(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("no response in time")]
    TimedOut,
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("an unexpected response body")]
    Unusable,
    #[error("{MAX_REDIRECTS} redirects in a row")]
    Redirects,
    #[error("the page has no series of a known engine ({})", EngineKind::words())]
    UnknownPage,
}

impl From<ClientError> for GetError {
    fn from(error: ClientError) -> Self {
        if error.is_connect() { Self::Connect(error) } else { Self::Exchange(error) }
    }
}

/// The innermost error: the outer ones say only at which step it happened.
fn root_cause(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A client for the requests of one task to one endpoint, one at a time. It keeps one idle connection, and follows redirects
/// to other paths of the endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    tasks: Tasks,
    purpose: Purpose,
    pooled: Option<(EngineConnector, PooledClient<EngineConnector, Empty<Bytes>>)>,
    /// Paths that were redirected, with the path that answered.
    moved: Vec<(Box<str>, Box<str>)>,
    /// Whether the last response was not complete in time.
    was_slow: bool,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Long bodies, a bounded number of them at one time.
    Pages,
    /// The same from another port than the endpoint's.
    PagesElsewhere,
    /// Probes, which must not wait for anything else.
    Probes,
}

impl Client {
    pub(crate) const fn new(tasks: Tasks, purpose: Purpose) -> Self {
        Self { tasks, purpose, pooled: None, moved: Vec::new(), was_slow: false }
    }

    /// Requests `path` and hands the chunks of a 200 response's body to `on_chunk` until it breaks, the body exceeds
    /// `limit` bytes or ends, all within `budget`. The connection is kept only after a whole body.
    pub(crate) async fn get(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &str,
        budget: Duration,
        limit: usize,
        on_chunk: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GetError> {
        let exchange = self.exchange(endpoint, path, limit, on_chunk);
        let timed = tokio::time::timeout(budget, exchange).await;
        self.was_slow = timed.is_err();
        let result = timed.unwrap_or(Err(GetError::TimedOut));
        if let Err(GetError::Connect(_) | GetError::Exchange(_) | GetError::TimedOut) = &result {
            self.note_contact(endpoint, false);
        }
        result
    }

    /// Notes whether the engine answers, if it is the engine that was asked.
    fn note_contact(&self, endpoint: &PoolEndpoint, answers: bool) {
        match self.purpose {
            Purpose::Pages | Purpose::Probes => endpoint.activity.set_answers(answers),
            Purpose::PagesElsewhere => {}
        }
    }

    async fn exchange(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &str,
        limit: usize,
        mut on_chunk: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GetError> {
        let response = self.follow(endpoint, path).await?;
        self.note_contact(endpoint, true);
        if response.status() != StatusCode::OK {
            return Err(GetError::Status(response.status()));
        }
        let _permit = match self.purpose {
            Purpose::Pages | Purpose::PagesElsewhere => self.tasks.read_permit(self.was_slow).await,
            Purpose::Probes => None,
        };
        let mut body = response.into_body();
        let mut left = limit;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let whole = data.len() <= left;
            let piece = data.get(..left).unwrap_or(&data);
            left -= piece.len();
            if on_chunk(piece).is_break() {
                return Ok(());
            }
            if !whole {
                return Err(GetError::TooLong(limit));
            }
        }
        // The connection returns to the pool in a task of its own. Without its turn, the caller's next request would
        // open another one.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// The response for a path, or for the one that it is redirected to. That one is asked at once the next time, for as long
    /// as it answers.
    async fn follow(&mut self, endpoint: &PoolEndpoint, path: &str) -> Result<Response<Incoming>, GetError> {
        let moved = self.moved.iter().position(|(from, _)| **from == *path);
        let mut to = moved.map_or_else(|| Box::from(path), |moved| self.moved.swap_remove(moved).1);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(endpoint, &to).await?;
            let Some(next) = redirected(&response, endpoint) else {
                if *to != *path && response.status() == StatusCode::OK && self.moved.len() < MAX_MOVED {
                    self.moved.push((path.into(), to));
                }
                return Ok(response);
            };
            to = next;
        }
        Err(GetError::Redirects)
    }

    /// Sends the request, a second time where the first may have met a connection that the engine was closing.
    async fn send(&mut self, endpoint: &PoolEndpoint, path: &str) -> Result<Response<Incoming>, GetError> {
        let client = self.client(endpoint);
        match client.request(request(endpoint, path)?).await {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => Err(error.into()),
            Err(_) => Ok(client.request(request(endpoint, path)?).await?),
        }
    }

    /// The pooled client for the endpoint's present settings.
    fn client(&mut self, endpoint: &PoolEndpoint) -> &PooledClient<EngineConnector, Empty<Bytes>> {
        let kept = self.pooled.take().filter(|(connector, _)| connector.is_for(endpoint));
        let (_, client) = self.pooled.insert(kept.unwrap_or_else(|| {
            let connector = EngineConnector {
                connector: Arc::clone(&endpoint.connector),
                address: endpoint.address.clone(),
                timeouts: endpoint.timeouts,
                activity: Arc::clone(&endpoint.activity),
            };
            let client = PooledClient::builder(self.tasks.clone())
                .pool_idle_timeout(endpoint.timeouts.keep_alive)
                .pool_max_idle_per_host(1)
                .http1_max_buf_size(MAX_HEAD)
                .http2_only(endpoint.address.protocol == AppProtocol::H2c)
                .build(connector.clone());
            (connector, client)
        }));
        client
    }
}

/// Opens the connections of one endpoint, whatever the URI.
#[derive(Clone, Debug)]
struct EngineConnector {
    connector: Arc<Connector>,
    address: EndpointAddress,
    timeouts: Timeouts,
    activity: Arc<Activity>,
}

impl EngineConnector {
    fn is_for(&self, endpoint: &PoolEndpoint) -> bool {
        Arc::ptr_eq(&self.connector, &endpoint.connector)
            && self.address == endpoint.address
            && self.timeouts == endpoint.timeouts
    }
}

impl tower_service::Service<Uri> for EngineConnector {
    type Response = TokioIo<EngineStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { connector, address, timeouts, activity } = self.clone();
        Box::pin(async move {
            let stream = connector.connect(&address, timeouts.connect).await?.io;
            activity.set_reached(stream.peer_addr());
            Ok(TokioIo::new(stream))
        })
    }
}

/// The path and query that a response redirects to; `None` where it does not, or to another host or port.
fn redirected(response: &Response<Incoming>, endpoint: &PoolEndpoint) -> Option<Box<str>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?.to_str().ok()?;
    let to: Uri = location.parse().ok()?;
    if let Some(host) = to.host() {
        let default_port = if to.scheme_str() == Some("https") { 443 } else { 80 };
        let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = to.port_u16().unwrap_or(default_port);
        if (bare(host), port) != (bare(&endpoint.address.host), endpoint.address.port) {
            return None;
        }
    }
    to.path_and_query().map(|path| path.as_str().into())
}

fn request(endpoint: &PoolEndpoint, path: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let scheme = match endpoint.address.protocol {
        AppProtocol::Http | AppProtocol::H2c => "http",
        AppProtocol::Https => "https",
    };
    let uri = Uri::builder().scheme(scheme).authority(&*endpoint.authority).path_and_query(path).build()?;
    let mut request = Request::get(uri).body(Empty::new())?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static("pointsman"));
    headers.extend(endpoint.connector.api_key());
    Ok(request)
}
