//! Events of streamed completions and chat completions.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::CompletionApi;
use super::response::{Choice, CompletionUsage, Content, FINGERPRINT, MessageDelta};
use crate::api::fields::Fields;
use crate::api::generation::{Generation, ResponseHeader};
use crate::api::null_fields::NullFields;
use crate::api::stream::{Delta, EventFormat, Events, event};
use crate::error::ApiError;
use crate::text::Finish;

/// The last event of a stream.
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The events of a stream.
#[derive(Debug)]
pub(super) struct CompletionEvents {
    api: CompletionApi,
    header: ResponseHeader,
    /// Whether a last chunk has the token counts.
    include_usage: bool,
    /// Whether every chunk has the token counts so far.
    continuous_usage: bool,
}

#[derive(Serialize)]
struct Chunk<'a> {
    #[serde(flatten)]
    header: &'a ResponseHeader,
    choices: &'a [Choice<'a>],
    #[serde(flatten)]
    nulls: NullFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<CompletionUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'static str>,
}

impl CompletionEvents {
    /// Reads the `stream_options` field.
    pub(super) fn new(
        api: CompletionApi,
        mut header: ResponseHeader,
        fields: &Fields,
    ) -> Result<Self, ApiError> {
        if api == CompletionApi::Chat {
            header.object = "chat.completion.chunk";
        }
        let options = fields.object("stream_options")?;
        let flag =
            |name: &str| options.and_then(|options| options.get(name)).and_then(Value::as_bool) == Some(true);
        let include_usage = flag("include_usage");
        let continuous_usage = include_usage && flag("continuous_usage_stats");
        Ok(Self { api, header, include_usage, continuous_usage })
    }

    fn chunk<'a>(&'a self, choices: &'a [Choice<'a>]) -> Chunk<'a> {
        let nulls = NullFields::default();
        Chunk { header: &self.header, choices, nulls, usage: None, system_fingerprint: None }
    }

    /// The token counts so far, where every chunk has them.
    fn continuous_usage(&self, generation: &Generation, sent: &[u32]) -> Option<CompletionUsage> {
        let usage = || CompletionUsage::totals(&generation.counts(sent.iter().copied()));
        self.continuous_usage.then(usage)
    }
}

impl EventFormat for CompletionEvents {
    /// In a chat completion each choice starts with its role and no text.
    fn start(&mut self, generation: &Generation, events: &mut Events) {
        if self.api == CompletionApi::Completions {
            return;
        }
        for index in 0..generation.outputs.len() {
            let choice = Choice {
                index,
                content: Content::Delta { delta: MessageDelta { role: Some("assistant"), content: "" } },
                logprobs: (),
                finish_reason: None,
                stop_reason: None,
                nulls: NullFields::default(),
            };
            let nulls = NullFields(&["prompt_token_ids", "prompt_text"]);
            let usage = self.continuous_usage(generation, &[]);
            events.push_back(event(None, &Chunk { nulls, usage, ..self.chunk(&[choice]) }));
        }
    }

    fn delta(&mut self, generation: &Generation, delta: Delta<'_>, events: &mut Events) {
        let Delta { choice: index, text, finish, sent } = delta;
        let stop_reason = finish.map(|finish| finish.stop_reason);
        let (content, stop_reason, nulls) = match self.api {
            CompletionApi::Completions => {
                let stop_reason = Some(stop_reason.flatten());
                (Content::Text { text: text.into() }, stop_reason, &["prompt_token_ids", "token_ids"][..])
            }
            CompletionApi::Chat => {
                let delta = MessageDelta { role: None, content: text };
                (Content::Delta { delta }, stop_reason, &["token_ids"][..])
            }
        };
        let finish_reason = finish.map(|finish| finish.reason);
        let nulls = NullFields(nulls);
        let choice = Choice { index, content, logprobs: (), finish_reason, stop_reason, nulls };
        let with_fingerprint = finish.is_some() && !self.include_usage;
        let system_fingerprint = with_fingerprint.then_some(FINGERPRINT);
        let usage = self.continuous_usage(generation, sent);
        events.push_back(event(None, &Chunk { usage, system_fingerprint, ..self.chunk(&[choice]) }));
    }

    fn end(&mut self, generation: &Generation, sent: &[u32], _: Finish<'_>, events: &mut Events) {
        if self.include_usage {
            let counts = generation.counts(sent.iter().copied());
            let usage = Some(CompletionUsage::detailed(&counts, self.api, true));
            let system_fingerprint = Some(FINGERPRINT);
            events.push_back(event(None, &Chunk { usage, system_fingerprint, ..self.chunk(&[]) }));
        }
        events.push_back(DONE);
    }

    fn error(&mut self, error: &ApiError, events: &mut Events) {
        events.push_back(event(None, &error.body()));
        events.push_back(DONE);
    }
}
