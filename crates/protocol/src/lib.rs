//! Parsing and rendering of inference API requests and responses. Pure: bytes in, facts out.
//!
//! | Module | From | To |
//! |---|---|---|
//! | [`api`] | method and path | the API of a request and its properties |
//! | [`request`] | a complete JSON body | [`BodyFacts`] |
//! | [`form`] | an HTML form | the model that it names |
//! | [`splice`] | a body and a model name | the body with that name |
//! | [`blocks`] | a body and its facts | the block hashes of the prompt |
//! | [`sse`] | chunks of an event stream | first token, token events, usage, failure, end |
//! | [`response`] | chunks of a JSON response | usage, failure, id |
//! | [`error`] | an error | a body or event in the shape of the client's API |
//! | [`models`] | model lists of engines | one list |
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
//! assert_eq!(facts.model.as_deref(), Some("chat"));
//! let spliced = splice_model(&body, &facts.model_slot, "chat-v2");
//! assert_eq!(spliced.parts.concat(), br#"{"model": "chat-v2", "prompt": "Which track?", "stream": true}"#);
//! # Ok::<(), pointsman_protocol::BodyError>(())
//! ```
//!
//! Prompt text is never copied out of a body: facts contain counts and byte ranges, blocks contain hashes.

pub mod api;
pub mod blocks;
mod body_error;
mod cursor;
pub mod error;
mod failure;
pub mod form;
mod lexer;
pub mod models;
mod prompt;
pub mod request;
pub mod response;
pub mod splice;
pub mod sse;
mod usage;
mod words;

pub use api::{Api, Route, StreamFormat, UrlModel};
pub use blocks::{BLOCK_TOKENS, BlockKey, MAX_BLOCKS, prompt_blocks};
pub use body_error::BodyError;
pub use error::{ErrorBody, ErrorShape};
pub use failure::StreamFailure;
pub use form::{FormModel, MultipartScanner, scan_urlencoded};
pub use models::{ModelListError, ServedModel};
pub use prompt::{MAX_PROMPT_SPANS, PromptFacts, PromptSpan, SpanKind, TOKENS_PER_IMAGE};
pub use request::{BodyFacts, CacheSalt};
pub use response::{JsonScanner, ResponseFacts};
pub use splice::{ModelSlot, Notation, SplicedBody, percent_encode, splice_model};
pub use sse::{SseScanner, StreamEnd, StreamFacts};
pub use usage::Usage;
