//! Routes and pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pointsman_telemetry::{Exposition, Metrics};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::readiness::Readiness;

/// Sources of the pages' contents. The callbacks run on blocking threads and may take locks for microseconds.
#[derive(Clone)]
pub struct AdminSources {
    /// The state of readiness.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Pools and endpoints with their state and its age, as JSON.
    pub pools: Arc<dyn Fn() -> Value + Send + Sync>,
    /// The latest placement decisions, of one request where its ID is given, as JSON; `None` where none are kept.
    pub decisions: Arc<DecisionSource>,
    /// The metrics of the process.
    pub metrics: Metrics,
}

/// Placement decisions, of one request where its ID is given.
pub type DecisionSource = dyn Fn(Option<&str>) -> Option<Value> + Send + Sync;

impl std::fmt::Debug for AdminSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminSources").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

const INDEX: &str = "\
Pointsman

/healthz          200 while the process runs
/readyz           200 when ready to serve, else 503 with the failed checks
/readyz?verbose   all checks, the configuration's generation and its problems
/metrics          Prometheus metrics
/debug/pools      pools and endpoints with their state and its age (JSON)
/debug/decisions  the latest placement decisions, where --decisions keeps them (JSON)
/debug/decisions?request=ID   those of one request, by its x-request-id or its number
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
        .route("/debug/decisions", get(decisions))
        .fallback(async || page(StatusCode::NOT_FOUND, TEXT, "no such page; / lists the pages\n"))
        .method_not_allowed_fallback(async || {
            page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "admin pages are read-only: GET or HEAD\n")
        })
        .with_state(sources)
}

async fn readyz(State(sources): State<AdminSources>, RawQuery(query): RawQuery) -> Response {
    let verbose = query
        .is_some_and(|query| query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose=")));
    on_blocking_thread(move || {
        let readiness = (sources.ready)();
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        page(status, TEXT, if verbose { readiness.verbose() } else { readiness.brief() })
    })
    .await
}

async fn metrics(State(sources): State<AdminSources>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let exposition = Exposition::negotiate(accept);
    on_blocking_thread(move || {
        page(StatusCode::OK, exposition.content_type(), sources.metrics.render(exposition))
    })
    .await
}

async fn pools(State(sources): State<AdminSources>) -> Response {
    on_blocking_thread(move || page(StatusCode::OK, JSON, format!("{:#}\n", (sources.pools)()))).await
}

async fn decisions(
    State(sources): State<AdminSources>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    on_blocking_thread(move || match (sources.decisions)(query.get("request").map(String::as_str)) {
        None => page(StatusCode::NOT_FOUND, TEXT, "no decisions are kept; start with --decisions\n"),
        Some(decisions) => page(StatusCode::OK, JSON, format!("{decisions:#}\n")),
    })
    .await
}

/// Renders a page on a blocking thread: with many models and endpoints it takes milliseconds, which would delay
/// requests on the runtime's threads.
async fn on_blocking_thread(render: impl FnOnce() -> Response + Send + 'static) -> Response {
    match spawn_blocking(render).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an admin page could not be rendered");
            page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the page could not be rendered; see the log\n")
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
