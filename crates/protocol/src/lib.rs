//! Inference API bodies and streams to facts, and back. Pure: bytes in, facts out.
//!
//! | Module | From | To |
//! |---|---|---|
//! | [`api`] | method and path | which API a request speaks, and what may be done with it |
//! | [`request`] | a whole JSON body | [`BodyFacts`]; and a body with another `model`, by splicing |
//! | [`blocks`] | a body and its facts | the prompt's block hashes |
//! | [`sse`] | pieces of an event stream | first token, pace, usage, how the stream ended |
//! | [`reply`] | pieces of a JSON answer | usage, failure, id |
//! | [`error`] | a failure of ours | an error body or event in the shape of the client's API |
//! | [`models`] | engines' model lists | one list |
//!
//! ```
//! use bytes::Bytes;
//! use pointsman_protocol::{Api, BodyFacts, Route, splice_model};
//!
//! assert_eq!(Api::of("POST", "/v1/completions"), Route::Inference(Api::Completions));
//! let body = Bytes::from_static(br#"{"model": "chat", "prompt": "Which track?", "stream": true}"#);
//! let facts = BodyFacts::scan(&body)?;
//! assert!(facts.stream);
//! assert_eq!(facts.estimated_prompt_tokens(), 3);
//! let model = facts.model.expect("this body names one");
//! let spliced = splice_model(&body, &model, "chat-v2");
//! assert_eq!(spliced.parts.concat(), br#"{"model": "chat-v2", "prompt": "Which track?", "stream": true}"#);
//! # Ok::<(), pointsman_protocol::BodyError>(())
//! ```
//!
//! Prompt text is never copied out of a body: facts hold counts and byte ranges, blocks hold hashes.

pub mod api;
pub mod blocks;
mod cursor;
pub mod error;
mod lexer;
pub mod models;
mod prompt;
pub mod reply;
pub mod request;
pub mod splice;
pub mod sse;
mod usage;

pub use api::{Api, Grammar, Route};
pub use blocks::{BLOCK_TOKENS, MAX_BLOCKS, prompt_blocks};
pub use error::{ErrorBody, ErrorShape};
pub use models::{ModelListError, ServedModel};
pub use prompt::{MAX_PROMPT_SPANS, PromptFacts, PromptSpan, SpanKind, TOKENS_PER_IMAGE};
pub use reply::{ReplyFacts, UsageReader};
pub use request::{BodyError, BodyFacts, CacheSalt, ModelSpan};
pub use splice::{SplicedBody, splice_model};
pub use sse::{SseScanner, StreamEnd, StreamFacts, StreamFailure};
pub use usage::Usage;
