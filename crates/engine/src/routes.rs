//! Which request is whose.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::api::{
    VLLM_VERSION, adapters, chat, completions, messages, models, pooling, responses, tokenizer,
};
use crate::app::{App, Call, Failure};
use crate::fault::{Fault, FaultOrder};
use crate::reply::{self, ApiError, Broken, ErrorType, Reply};
use crate::socket::ResetSwitch;
use crate::{metrics, stream};

/// Everything that has a path.
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
    Ping,
    Version,
    Load,
    Metrics,
    LoadAdapter,
    UnloadAdapter,
    ResetPrefixCache,
    Fault,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/responses" => Self::Responses,
            "/v1/messages" => Self::Messages,
            "/v1/messages/count_tokens" => Self::CountTokens,
            "/v1/embeddings" => Self::Embeddings,
            "/score" | "/v1/score" => Self::Score,
            "/rerank" | "/v1/rerank" | "/v2/rerank" => Self::Rerank,
            "/tokenize" => Self::Tokenize,
            "/detokenize" => Self::Detokenize,
            "/v1/models" => Self::Models,
            "/health" => Self::Health,
            "/ping" => Self::Ping,
            "/version" => Self::Version,
            "/load" => Self::Load,
            "/metrics" => Self::Metrics,
            "/v1/load_lora_adapter" => Self::LoadAdapter,
            "/v1/unload_lora_adapter" => Self::UnloadAdapter,
            "/reset_prefix_cache" => Self::ResetPrefixCache,
            "/fault" => Self::Fault,
            other => Self::StoredResponse(
                other.strip_prefix("/v1/responses/").filter(|id| !id.is_empty() && !id.contains('/'))?,
            ),
        })
    }

    /// Methods it takes, as the `allow` header lists them.
    fn methods(self) -> &'static str {
        match self {
            Self::Chat
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::Embeddings
            | Self::Score
            | Self::Rerank
            | Self::Tokenize
            | Self::Detokenize
            | Self::LoadAdapter
            | Self::UnloadAdapter
            | Self::ResetPrefixCache => "POST",
            Self::StoredResponse(_)
            | Self::Models
            | Self::Health
            | Self::Version
            | Self::Load
            | Self::Metrics => "GET",
            Self::Ping => "GET, POST",
            Self::Fault => "DELETE, POST",
        }
    }

    /// Whether faults strike here: on what runs in the engine.
    fn runs(self) -> bool {
        match self {
            Self::Chat
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::Embeddings
            | Self::Score
            | Self::Rerank => true,
            Self::StoredResponse(_)
            | Self::CountTokens
            | Self::Tokenize
            | Self::Detokenize
            | Self::Models
            | Self::Health
            | Self::Ping
            | Self::Version
            | Self::Load
            | Self::Metrics
            | Self::LoadAdapter
            | Self::UnloadAdapter
            | Self::ResetPrefixCache
            | Self::Fault => false,
        }
    }
}

/// Answers one request, or ends its connection.
pub(crate) async fn answer(
    app: Arc<App>,
    reset: ResetSwitch,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Broken> {
    if app.refusal().borrow().is_some() {
        reset.set();
        return Err(Broken);
    }
    let (head, body) = request.into_parts();
    let route = Route::of(head.uri.path()).filter(|route| app.config.faults || *route != Route::Fault);
    let Some(route) = route else { return Ok(reply::detail(StatusCode::NOT_FOUND, None)) };
    if !route.methods().split(", ").any(|method| method == head.method.as_str()) {
        return Ok(reply::detail(StatusCode::METHOD_NOT_ALLOWED, Some(route.methods())));
    }
    let fault = match fault_for(&app, route, &head.headers) {
        Ok(fault) => fault,
        Err(error) => return Ok(error.into_response()),
    };
    let body = match Limited::new(body, app.config.max_body_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(ApiError::new(ErrorType::TooLarge, "The request body is too large.").into_response());
        }
        Err(_) => return Err(Broken),
    };
    match fault {
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Status { code }) => return Ok(failed(code)),
        Some(_) | None => {}
    }
    let call = Call {
        body,
        is_json: is_json(&head.headers),
        request_id: text_of(&head.headers, "x-request-id"),
        fault,
        reset,
    };
    match dispatch(&app, route, &head.method, call).await {
        Ok(response) => Ok(response),
        Err(Failure::Api(error)) => Ok(error.into_response()),
        Err(Failure::Broken(broken)) => Err(broken),
    }
}

async fn dispatch(
    app: &App,
    route: Route<'_>,
    method: &Method,
    call: Call,
) -> Result<Response<Reply>, Failure> {
    match route {
        Route::Chat => chat::chat(app, call).await,
        Route::Completions => completions::complete(app, call).await,
        Route::Responses => responses::create(app, call).await,
        Route::StoredResponse(id) => responses::get(app, id),
        Route::Messages => messages::message(app, call).await,
        Route::CountTokens => messages::count(app, &call),
        Route::Embeddings => pooling::embed(app, call).await,
        Route::Score => pooling::score(app, call).await,
        Route::Rerank => pooling::rerank(app, call).await,
        Route::Tokenize => tokenizer::tokenize(app, &call),
        Route::Detokenize => tokenizer::detokenize_ids(app, &call),
        Route::Models => Ok(models::list(app)),
        Route::Health | Route::Ping => Ok(reply::plain(String::new())),
        Route::Version => Ok(reply::json(format!(r#"{{"version":"{VLLM_VERSION}"}}"#))),
        Route::Load => {
            let gauges = app.live.gauges();
            Ok(reply::json(format!(r#"{{"server_load":{}}}"#, gauges.running + gauges.waiting)))
        }
        Route::Metrics => Ok(reply::metrics(metrics::page(app))),
        Route::LoadAdapter => adapters::load(app, &call),
        Route::UnloadAdapter => adapters::unload(app, &call),
        Route::ResetPrefixCache => {
            Ok(reply::json(format!(r#"{{"success":{}}}"#, app.live.reset_prefix_cache())))
        }
        Route::Fault => order_fault(app, method, &call),
    }
}

/// Orders a fault (`POST`, the order as the body) or ends them all (`DELETE`).
fn order_fault(app: &App, method: &Method, call: &Call) -> Result<Response<Reply>, Failure> {
    if method == Method::DELETE {
        app.heal();
        return Ok(reply::json(r#"{"success":true}"#.to_owned()));
    }
    let order = std::str::from_utf8(&call.body).unwrap_or_default().parse::<FaultOrder>();
    let ordered = order.and_then(|order| app.order(order));
    ordered.map_err(|error| ApiError::new(ErrorType::BadRequest, error.to_string()))?;
    Ok(reply::json(r#"{"success":true}"#.to_owned()))
}

/// The fault that this request asks for itself, or that the orders in force have for it.
fn fault_for(app: &App, route: Route<'_>, headers: &HeaderMap) -> Result<Option<Fault>, ApiError> {
    if !route.runs() {
        return Ok(None);
    }
    match text_of(headers, "x-pointsman-fault").filter(|_| app.config.faults) {
        Some(order) => match order.parse::<FaultOrder>() {
            Ok(FaultOrder { fault: Fault::Refuse { .. } | Fault::Slow { .. }, .. }) => {
                let message = "refuse and slow strike the server: order them with POST /fault";
                Err(ApiError::new(ErrorType::BadRequest, message))
            }
            Ok(order) => Ok(Some(order.fault)),
            Err(error) => Err(ApiError::new(ErrorType::BadRequest, error.to_string())),
        },
        None => Ok(app.strike()),
    }
}

fn failed(code: u16) -> Response<Reply> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ApiError { kind: ErrorType::Internal(status), ..stream::engine_dead() }.into_response()
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}
