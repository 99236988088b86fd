//! The pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pointsman_telemetry::{Exposition, Metrics};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::readiness::Readiness;

/// Where the pages' contents come from. The functions may take locks for microseconds; they are called off the
/// runtime's own threads.
#[derive(Clone)]
pub struct AdminSources {
    /// Whether requests should be sent here.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Every pool with its endpoints and what is known of them.
    pub pools: Arc<dyn Fn() -> Value + Send + Sync>,
    /// The metrics of the process.
    pub metrics: Metrics,
}

impl std::fmt::Debug for AdminSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminSources").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

const INDEX: &str = "\
Pointsman

/healthz          200 while the process runs
/readyz           200 when it can serve, else 503 with what is missing
/readyz?verbose   every check, the configuration's generation and its problems
/metrics          Prometheus metrics
/debug/pools      pools and endpoints, with every fact held about them and its age (JSON)
";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

pub(crate) fn router(sources: AdminSources) -> Router {
    Router::new()
        .route("/", get(async || page(StatusCode::OK, TEXT, INDEX)))
        .route("/healthz", get(async || page(StatusCode::OK, TEXT, "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/pools", get(pools))
        .fallback(async || page(StatusCode::NOT_FOUND, TEXT, "no such page; / lists the pages\n"))
        .method_not_allowed_fallback(async || {
            page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "the admin pages can only be read: GET or HEAD\n")
        })
        .with_state(sources)
}

async fn readyz(State(sources): State<AdminSources>, RawQuery(query): RawQuery) -> Response {
    let verbose = query
        .is_some_and(|query| query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose=")));
    made(move || {
        let readiness = (sources.ready)();
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        page(status, TEXT, if verbose { readiness.verbose() } else { readiness.brief() })
    })
    .await
}

async fn metrics(State(sources): State<AdminSources>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let exposition = Exposition::negotiate(accept);
    made(move || page(StatusCode::OK, exposition.content_type(), sources.metrics.render(exposition))).await
}

async fn pools(State(sources): State<AdminSources>) -> Response {
    made(move || page(StatusCode::OK, JSON, format!("{:#}\n", (sources.pools)()))).await
}

/// Makes a page on a thread where it may take its time: with many models and endpoints it takes milliseconds, which
/// requests on this runtime should not wait for.
async fn made(page_of: impl FnOnce() -> Response + Send + 'static) -> Response {
    match spawn_blocking(page_of).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error = %error, "an admin page could not be made");
            page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the page could not be made; see the log\n")
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
