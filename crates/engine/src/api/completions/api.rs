//! The differences between the two completion APIs.

use crate::api::sampling::SamplingFields;

/// OpenAI's APIs for completions, which share everything but their prompt, the fields of choices and some details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompletionApi {
    Completions,
    Chat,
}

impl CompletionApi {
    /// The prefix of response ids.
    pub(super) fn id_prefix(self) -> &'static str {
        match self {
            Self::Completions => "cmpl-",
            Self::Chat => "chatcmpl-",
        }
    }

    pub(super) fn sampling(self) -> SamplingFields {
        match self {
            // Sixteen tokens are OpenAI's default length of a completion.
            Self::Completions => SamplingFields {
                max_tokens: &["max_tokens"],
                default_max_tokens: Some(16),
                stop: "stop",
                n: true,
            },
            Self::Chat => SamplingFields {
                max_tokens: &["max_completion_tokens", "max_tokens"],
                default_max_tokens: None,
                stop: "stop",
                n: true,
            },
        }
    }
}
