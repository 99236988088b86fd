//! GET requests to an engine's own pages, by hyper-util's pooled client over the [`Connector`] of its pool.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client as PooledClient, Error as ClientError};
use hyper_util::rt::TokioIo;
use pointsman_config::{AppProtocol, EndpointAddress, Timeouts};

use crate::activity::Activity;
use crate::connect::{ConnectError, Connector, EngineStream};
use crate::endpoint::PoolEndpoint;
use crate::tasks::Tasks;

/// The longest response head in bytes.
const MAX_HEAD: usize = 64 << 10;

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

/// A client for the requests of one task to one endpoint, one at a time. It keeps one idle connection, and follows no
/// redirects.
#[derive(Debug)]
pub(crate) struct Client {
    tasks: Tasks,
    pooled: Option<(EngineConnector, PooledClient<EngineConnector, Empty<Bytes>>)>,
}

impl Client {
    pub(crate) const fn new(tasks: Tasks) -> Self {
        Self { tasks, pooled: None }
    }

    /// Requests `path` and hands the chunks of a 200 response's body to `on_chunk` until it breaks, the body exceeds
    /// `limit` bytes or ends, all within `budget`. The connection is kept only after a whole body.
    pub(crate) async fn get(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &'static str,
        budget: Duration,
        limit: usize,
        on_chunk: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GetError> {
        let exchange = self.exchange(endpoint, path, limit, on_chunk);
        let result = match tokio::time::timeout(budget, exchange).await {
            Ok(result) => result,
            Err(_) => Err(GetError::TimedOut),
        };
        if let Err(GetError::Connect(_) | GetError::Exchange(_) | GetError::TimedOut) = &result {
            endpoint.activity.set_answers(false);
        }
        result
    }

    async fn exchange(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &'static str,
        limit: usize,
        mut on_chunk: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GetError> {
        let response = self.send(endpoint, path).await?;
        endpoint.activity.set_answers(true);
        if response.status() != StatusCode::OK {
            return Err(GetError::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            total += data.len();
            if total > limit {
                return Err(GetError::TooLong(limit));
            }
            if on_chunk(&data).is_break() {
                return Ok(());
            }
        }
        // The connection returns to the pool in a task of its own. Without its turn, the caller's next request would
        // open another one.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Sends the request, a second time where the first may have met a connection that the engine was closing.
    async fn send(
        &mut self,
        endpoint: &PoolEndpoint,
        path: &'static str,
    ) -> Result<Response<Incoming>, GetError> {
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

fn request(endpoint: &PoolEndpoint, path: &'static str) -> Result<Request<Empty<Bytes>>, http::Error> {
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
