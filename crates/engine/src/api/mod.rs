//! The HTTP APIs, one file each: what a body means, and what an answer looks like.

pub(crate) mod adapters;
pub(crate) mod chat;
pub(crate) mod completions;
mod fields;
mod generation;
pub(crate) mod messages;
pub(crate) mod models;
pub(crate) mod pooling;
pub(crate) mod responses;
pub(crate) mod tokenizer;

pub(crate) use fields::Fields;
pub(crate) use generation::{Generation, Prompt};

/// The release whose answers are imitated.
pub(crate) const VLLM_VERSION: &str = "0.32.0";

/// What vLLM puts into `system_fingerprint`: its version and a digest of its settings.
pub(crate) const FINGERPRINT: &str = "vllm-0.32.0-00000000";
