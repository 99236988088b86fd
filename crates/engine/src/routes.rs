//! Routing of HTTP requests to their handlers, and the faults that strike before a handler runs.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;

use crate::api::{ApiRequest, adapters, completions, messages, models, pooling, responses, tokenizer};
use crate::app::App;
use crate::config::VLLM_VERSION;
use crate::error::{ApiError, ConnectionAborted, ErrorType, Failure};
use crate::fault::{Fault, FaultInjection};
use crate::lock::locked;
use crate::metrics;
use crate::response::{self, ResponseBody};
use crate::socket::ResetSwitch;

/// The paths of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Chat,
    Completions,
    Responses,
    StoredResponse(&'a str),
    Messages,
    CountTokens,
    Embeddings,
    Score,
    Rerank,
    Tokenize,
    Detokenize,
    Models,
    Health,
    Version,
    Load,
    Metrics,
    LoadAdapter,
    UnloadAdapter,
    ResetPrefixCache,
    Fault,
}

/// The route of a path, its methods as the `allow` header lists them, and whether its requests run in the engine: only
/// those are struck by injected faults.
fn route_of(path: &str) -> Option<(Route<'_>, &'static str, bool)> {
    Some(match path {
        "/v1/chat/completions" => (Route::Chat, "POST", true),
        "/v1/completions" => (Route::Completions, "POST", true),
        "/v1/responses" => (Route::Responses, "POST", true),
        "/v1/messages" => (Route::Messages, "POST", true),
        "/v1/embeddings" => (Route::Embeddings, "POST", true),
        "/score" | "/v1/score" => (Route::Score, "POST", true),
        "/rerank" | "/v1/rerank" | "/v2/rerank" => (Route::Rerank, "POST", true),
        "/v1/messages/count_tokens" => (Route::CountTokens, "POST", false),
        "/tokenize" => (Route::Tokenize, "POST", false),
        "/detokenize" => (Route::Detokenize, "POST", false),
        "/v1/load_lora_adapter" => (Route::LoadAdapter, "POST", false),
        "/v1/unload_lora_adapter" => (Route::UnloadAdapter, "POST", false),
        "/reset_prefix_cache" => (Route::ResetPrefixCache, "POST", false),
        "/v1/models" => (Route::Models, "GET", false),
        "/health" => (Route::Health, "GET", false),
        "/version" => (Route::Version, "GET", false),
        "/load" => (Route::Load, "GET", false),
        "/metrics" => (Route::Metrics, "GET", false),
        "/ping" => (Route::Health, "GET, POST", false),
        "/fault" => (Route::Fault, "DELETE, POST", false),
        other => {
            let id = other.strip_prefix("/v1/responses/")?;
            (
                Some(id).filter(|id| !id.is_empty() && !id.contains('/')).map(Route::StoredResponse)?,
                "GET",
                false,
            )
        }
    })
}

/// Handles one request. An error ends the connection without a response.
pub(crate) async fn handle(
    app: Arc<App>,
    reset: ResetSwitch,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ConnectionAborted> {
    if app.refusal.borrow().is_some() {
        reset.set();
        return Err(ConnectionAborted);
    }
    let (head, body) = request.into_parts();
    let route = route_of(head.uri.path()).filter(|(route, ..)| app.config.faults || *route != Route::Fault);
    let Some((route, methods, is_inference)) = route else {
        return Ok(response::framework_error(StatusCode::NOT_FOUND, None));
    };
    if !methods.split(", ").any(|method| method == head.method.as_str()) {
        return Ok(response::framework_error(StatusCode::METHOD_NOT_ALLOWED, Some(methods)));
    }
    let fault = match is_inference.then(|| fault_of(&app, &head.headers)).transpose() {
        Ok(fault) => fault.flatten(),
        Err(error) => return Ok(response::error(&error)),
    };
    let body = match Limited::new(body, app.config.max_body_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(response::error(&ApiError::new(
                ErrorType::TooLarge,
                "The request body is too large.",
            )));
        }
        Err(_) => return Err(ConnectionAborted),
    };
    match fault {
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Status { code }) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Ok(response::error(&ApiError::engine_dead(status)));
        }
        Some(_) | None => {}
    }
    let request = ApiRequest {
        body,
        is_json: is_json(&head.headers),
        request_id: header_text(&head.headers, "x-request-id"),
        fault,
        reset,
    };
    match dispatch(&app, route, &head.method, request).await {
        Ok(response) => Ok(response),
        Err(Failure::Api(error)) => Ok(response::error(&error)),
        Err(Failure::Aborted(aborted)) => Err(aborted),
    }
}

async fn dispatch(
    app: &App,
    route: Route<'_>,
    method: &Method,
    request: ApiRequest,
) -> Result<Response<ResponseBody>, Failure> {
    match route {
        Route::Chat => completions::chat(app, request).await,
        Route::Completions => completions::complete(app, request).await,
        Route::Responses => responses::create(app, request).await,
        Route::StoredResponse(id) => responses::get(app, id),
        Route::Messages => messages::create(app, request).await,
        Route::CountTokens => messages::count_tokens(app, &request),
        Route::Embeddings => pooling::embed(app, request).await,
        Route::Score => pooling::score(app, request).await,
        Route::Rerank => pooling::rerank(app, request).await,
        Route::Tokenize => tokenizer::tokenize(app, &request),
        Route::Detokenize => tokenizer::detokenize(app, &request),
        Route::Models => Ok(models::list(app)),
        Route::Health => Ok(response::untyped("")),
        Route::Version => Ok(response::json(&json!({"version": VLLM_VERSION}))),
        Route::Load => {
            let gauges = app.engine.lock().engine.gauges();
            Ok(response::json(&json!({"server_load": gauges.running + gauges.waiting})))
        }
        Route::Metrics => Ok(response::metrics(metrics::page(app))),
        Route::LoadAdapter => adapters::load(app, &request),
        Route::UnloadAdapter => adapters::unload(app, &request),
        Route::ResetPrefixCache => {
            let success = app.engine.lock().engine.reset_prefix_cache();
            Ok(response::json(&json!({"success": success})))
        }
        Route::Fault => fault(app, method, &request),
    }
}

/// `POST /fault` activates the injection in the body; `DELETE /fault` ends all of them.
fn fault(app: &App, method: &Method, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    if method == Method::DELETE {
        app.clear_faults();
    } else {
        let injection = std::str::from_utf8(&request.body).unwrap_or_default().parse::<FaultInjection>();
        let injected = injection.and_then(|injection| app.inject(injection));
        injected.map_err(|error| ApiError::new(ErrorType::BadRequest, error.to_string()))?;
    }
    Ok(response::json(&json!({"success": true})))
}

/// The fault of a request: that of its own header, else that of an active injection.
fn fault_of(app: &App, headers: &HeaderMap) -> Result<Option<Fault>, ApiError> {
    let Some(text) = header_text(headers, "x-pointsman-fault").filter(|_| app.config.faults) else {
        return Ok(locked(&app.faults).next_fault());
    };
    match text.parse::<FaultInjection>() {
        Ok(FaultInjection { fault: Fault::Refuse { .. } | Fault::Slow { .. }, .. }) => {
            let message = "refuse and slow affect the whole server: inject them with POST /fault";
            Err(ApiError::new(ErrorType::BadRequest, message))
        }
        Ok(injection) => Ok(Some(injection.fault)),
        Err(error) => Err(ApiError::new(ErrorType::BadRequest, error.to_string())),
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}
