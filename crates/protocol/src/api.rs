//! Which inference API a request speaks, told from its method and path.

mod administration;
mod path;

use crate::request::BodyFacts;

/// An inference API: a JSON POST whose body is held whole before an endpoint is chosen.
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
    /// vLLM's `/v1/completions/render` and `/v1/chat/completions/render`: templates without generation.
    Render,
}

/// What the gateway does with a request, from its method and path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A JSON POST to a known inference path: its body is held whole and read.
    Inference(Api),
    /// `GET /v1/models`, or one model's entry.
    Models {
        /// The model asked for, percent-decoded; none for the whole list.
        id: Option<String>,
    },
    /// Reading, deleting or cancelling a stored response: it goes to the engine that has it.
    Stored {
        /// The response's id, percent-decoded.
        response_id: String,
    },
    /// An engine's administration path: answered with 404 unless a route names it exactly.
    Administration,
    /// Anything else: forwarded as it is, placed by load alone.
    Unknown,
}

/// How an API's event stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grammar {
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
    /// Not known: only the transport tells how it ended.
    Unknown,
}

impl Api {
    /// Every API, in declaration order.
    pub const ALL: [Self; 14] = [
        Self::Completions,
        Self::ChatCompletions,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
        Self::Score,
        Self::Rerank,
        Self::Pooling,
        Self::Classify,
        Self::Tokenize,
        Self::Detokenize,
        Self::Generate,
        Self::Render,
    ];

    /// Classifies a request. `path` may carry a query string, which is not looked at.
    ///
    /// The path is compared after percent-decoding, merging of repeated slashes and resolution of dot
    /// segments, so that no spelling of an administration path passes for something else.
    #[must_use]
    pub fn of(method: &str, path: &str) -> Route {
        path::classify(method, path)
    }

    /// A name for metric labels and logs: lower case, words joined by underscores.
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
        }
    }

    /// Whether a body without `model` is refused. The engines' own calls (scoring, pooling, tokenizing,
    /// generate) name no model in their documentation's examples and fall to the engine's base model.
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
            | Self::Render => false,
        }
    }

    /// Whether the call may be repeated on another engine after it was written to one: it leaves nothing
    /// behind there and needs nothing kept there. A response is stored unless `store` is false, and one
    /// that continues a stored response can only run where that is.
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
            | Self::Render => true,
        }
    }

    /// Whether the engine produces tokens one after another, so that time to first token and pace exist.
    #[must_use]
    pub fn generates(self) -> bool {
        self.streams() != Grammar::Unknown
    }

    /// The grammar of this API's event stream; [`Grammar::Unknown`] for an API that does not stream.
    #[must_use]
    pub fn streams(self) -> Grammar {
        match self {
            Self::Completions => Grammar::Completions,
            Self::ChatCompletions => Grammar::ChatCompletions,
            Self::Responses => Grammar::Responses,
            Self::Messages => Grammar::Messages,
            Self::Generate => Grammar::Generate,
            Self::CountTokens
            | Self::Embeddings
            | Self::Score
            | Self::Rerank
            | Self::Pooling
            | Self::Classify
            | Self::Tokenize
            | Self::Detokenize
            | Self::Render => Grammar::Unknown,
        }
    }
}

impl Route {
    /// The inference API, where the route is one.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        match self {
            Self::Inference(api) => Some(*api),
            Self::Models { .. } | Self::Stored { .. } | Self::Administration | Self::Unknown => None,
        }
    }
}
