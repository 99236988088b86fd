//! Classification of requests by method and path.

mod administration;
mod path;
mod url_model;

use crate::prompt::PromptField;
use crate::request::BodyFacts;

pub(crate) use path::hex_pair;
pub use url_model::UrlModel;

/// An inference API: a JSON POST whose body is buffered before an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
    /// Anthropic's `/v1/messages`.
    Messages,
    /// Anthropic's `/v1/messages/count_tokens`.
    CountTokens,
    /// `/v1/embeddings`, and Cohere's `/v2/embed`.
    Embeddings,
    /// `/score` and `/v1/score`.
    Score,
    /// `/rerank`, `/v1/rerank`, `/v2/rerank`.
    Rerank,
    /// vLLM's `/pooling`, SGLang's `/encode`.
    Pooling,
    /// `/classify` and `/v1/classify`.
    Classify,
    /// `/tokenize` and `/v1/tokenize`.
    Tokenize,
    /// `/detokenize` and `/v1/detokenize`.
    Detokenize,
    /// SGLang's `/generate`, vLLM's `/inference/v1/generate`.
    Generate,
    /// vLLM's `/v1/completions/render` and `/v1/chat/completions/render`: the chat template without generation.
    Render,
    /// SageMaker's `/invocations`: the body tells which API it means.
    Invocations,
}

/// The class of a request, from its method and path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A JSON POST to an inference path: its body is buffered and scanned.
    Inference(Api),
    /// `GET /v1/models`, or one model's entry.
    Models {
        /// The model's id, percent-decoded; `None` for the whole list.
        id: Option<String>,
    },
    /// Reading, deletion or cancellation of a stored response: it is sent to the engine that has the response.
    Stored {
        /// The response's id, percent-decoded.
        response_id: String,
    },
    /// An administration path of an engine: answered with 404 unless a route names it exactly.
    Administration,
    /// Any other path: forwarded unchanged, and placed by load alone.
    Unknown,
}

/// The event format of an API's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamFormat {
    /// OpenAI completions: `choices[].text`, `[DONE]`.
    Completions,
    /// OpenAI chat: `choices[].delta`, `[DONE]`.
    ChatCompletions,
    /// OpenAI responses: typed events, `response.completed`.
    Responses,
    /// Anthropic messages: typed events, `message_stop`.
    Messages,
    /// SGLang's and vLLM's `generate`: text or token ids, `[DONE]`.
    Generate,
    /// Unknown: only the transport shows how the stream ended.
    #[default]
    Unknown,
}

impl Api {
    /// Classifies a request. A query string in `path` is ignored.
    ///
    /// Paths are compared after percent-decoding, merging of repeated slashes and resolution of dot segments, so that
    /// no spelling of an administration path is classified as anything else.
    #[must_use]
    pub fn of(method: &str, path: &str) -> Route {
        path::classify(method, path)
    }

    /// The name in metric labels and logs, in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Score => "score",
            Self::Rerank => "rerank",
            Self::Pooling => "pooling",
            Self::Classify => "classify",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::Generate => "generate",
            Self::Render => "render",
            Self::Invocations => "invocations",
        }
    }

    /// The API that a body means where the path leaves it open.
    #[must_use]
    pub fn of_body(self, facts: &BodyFacts) -> Self {
        let has = |field| facts.prompt.spans.iter().any(|span| span.field == field);
        if self != Self::Invocations {
            self
        } else if has(PromptField::Messages) {
            Self::ChatCompletions
        } else if has(PromptField::Prompt) {
            Self::Completions
        } else {
            self
        }
    }

    /// Whether a body without `model` is refused unless the pool has a default. The engines' own APIs (scoring, pooling, tokenization, generate) have
    /// no model in their documented examples and use the engine's base model.
    #[must_use]
    pub fn requires_model(self) -> bool {
        match self {
            Self::Completions
            | Self::ChatCompletions
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::Embeddings => true,
            Self::Score
            | Self::Rerank
            | Self::Pooling
            | Self::Classify
            | Self::Tokenize
            | Self::Detokenize
            | Self::Generate
            | Self::Render
            | Self::Invocations => false,
        }
    }

    /// Whether the request can be retried on another engine: it leaves no state on an engine and needs none. A response
    /// is stored unless `store` is false, and a request that continues a stored response can only run on its engine.
    #[must_use]
    pub fn stateless(self, facts: &BodyFacts) -> bool {
        match self {
            Self::Responses => {
                facts.store == Some(false) && !facts.background && facts.previous_response_id.is_none()
            }
            Self::Completions
            | Self::ChatCompletions
            | Self::Messages
            | Self::CountTokens
            | Self::Embeddings
            | Self::Score
            | Self::Rerank
            | Self::Pooling
            | Self::Classify
            | Self::Tokenize
            | Self::Detokenize
            | Self::Generate
            | Self::Render
            | Self::Invocations => true,
        }
    }

    /// Whether the engine generates tokens, so that time to first token and time per output token are defined.
    #[must_use]
    pub fn generates(self) -> bool {
        self.stream_format() != StreamFormat::Unknown
    }

    /// The event format of this API's streams; [`StreamFormat::Unknown`] for an API that does not stream.
    #[must_use]
    pub fn stream_format(self) -> StreamFormat {
        match self {
            Self::Completions => StreamFormat::Completions,
            Self::ChatCompletions => StreamFormat::ChatCompletions,
            Self::Responses => StreamFormat::Responses,
            Self::Messages => StreamFormat::Messages,
            Self::Generate => StreamFormat::Generate,
            Self::CountTokens
            | Self::Embeddings
            | Self::Score
            | Self::Rerank
            | Self::Pooling
            | Self::Classify
            | Self::Tokenize
            | Self::Detokenize
            | Self::Render
            | Self::Invocations => StreamFormat::Unknown,
        }
    }
}

impl Route {
    /// The inference API, if the route is one.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        match self {
            Self::Inference(api) => Some(*api),
            Self::Models { .. } | Self::Stored { .. } | Self::Administration | Self::Unknown => None,
        }
    }
}
