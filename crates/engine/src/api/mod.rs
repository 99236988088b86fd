//! The HTTP APIs, one file each: request fields and response bodies.

pub(crate) mod adapters;
pub(crate) mod completions;
mod fields;
mod generation;
pub(crate) mod messages;
pub(crate) mod models;
mod null_fields;
pub(crate) mod pooling;
mod prompt;
mod request;
pub(crate) mod responses;
mod sampling;
mod stream;
pub(crate) mod tokenizer;

pub(crate) use request::ApiRequest;
