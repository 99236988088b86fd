//! `/v1/completions` and `/v1/chat/completions`.

mod events;
mod response;

use http::Response;

use self::events::CompletionEvents;
use self::response::Completion;
use super::fields::Fields;
use super::generation::{Generation, ResponseHeader, requested_model};
use super::prompt::{chat_prompt, prompts};
use super::request::ApiRequest;
use super::sampling::SamplingFields;
use super::stream;
use crate::app::App;
use crate::error::Failure;
use crate::response::{ResponseBody, json};
use crate::text::Token;

/// OpenAI's APIs for completions, which share everything but their prompt, the fields of choices and some details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompletionApi {
    Completions,
    Chat,
}

impl CompletionApi {
    fn sampling(self) -> SamplingFields {
        let (max_tokens, default_max_tokens): (&[_], _) = match self {
            // Sixteen tokens are OpenAI's default length of a completion.
            Self::Completions => (&["max_tokens"], Some(16)),
            Self::Chat => (&["max_completion_tokens", "max_tokens"], None),
        };
        SamplingFields { max_tokens, default_max_tokens, stop: "stop", n: true }
    }
}

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
    let id_and_object = match api {
        CompletionApi::Completions => ("cmpl-", "text_completion"),
        CompletionApi::Chat => ("chatcmpl-", "chat.completion"),
    };
    let header = ResponseHeader::new(app, fields, id_and_object, &request)?;
    let generation = Generation::start(app, fields, &api.sampling(), &model, prompts)?;
    if fields.flag("stream")? {
        return Ok(stream::respond(request, generation, CompletionEvents::new(api, header, fields)?));
    }
    generation.handle.finished().await;
    let aborted = request.apply_fault().await?;
    Ok(json(&Completion::new(api, &header, &generation, aborted)))
}
