//! `/v1/completions` and `/v1/chat/completions`.

mod api;
mod events;
mod response;

use http::Response;

use self::api::CompletionApi;
use self::events::CompletionEvents;
use self::response::Completion;
use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, requested_model};
use super::prompt::{chat_prompt, prompts};
use super::request::ApiRequest;
use super::stream;
use crate::app::App;
use crate::error::Failure;
use crate::response::{ResponseBody, json};
use crate::text::Token;

/// `/v1/completions`.
pub(crate) async fn complete(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompts = prompts(fields.require("prompt")?, "body.prompt")?;
    generate(app, request, &fields, CompletionApi::Completions, &prompts).await
}

/// `/v1/chat/completions`.
pub(crate) async fn chat(app: &App, request: ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let prompt = chat_prompt(fields.list("messages")?)?;
    generate(app, request, &fields, CompletionApi::Chat, &[prompt]).await
}

async fn generate(
    app: &App,
    request: ApiRequest,
    fields: &Fields,
    api: CompletionApi,
    prompts: &[Vec<Token>],
) -> Result<Response<ResponseBody>, Failure> {
    let model = requested_model(app, fields)?;
    let header = ResponseHeader::new(app, fields, api.id_prefix(), &request)?;
    let generation = Generation::start(app, fields, &api.sampling(), &model, prompts)?;
    if fields.flag("stream")? {
        return Ok(stream::respond(request, generation, CompletionEvents::new(api, header, fields)?));
    }
    generation.handle().finished().await;
    let aborted = request.apply_fault().await?;
    Ok(json(&Completion::new(api, &header, &generation, aborted)))
}
