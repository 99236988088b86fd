//! A simulated engine that speaks vLLM's protocol.
//!
//! The engine model of `pointsman-sim` runs behind the sockets in real time: batches, KV blocks, preemptions and
//! adapter slots behave as on the hardware that its profile describes. Outputs are random words, and the tokenizer is a
//! rule (four bytes are a token). Everything else that a client sees (paths, fields and their order, chunking, headers,
//! errors, metrics) follows recordings of vLLM 0.32.0. The deliberate differences: no model computes the words, log
//! probabilities are null, and every adapter path exists.
//!
//! Several servers can run in one process, since nothing is global. Types that carry prompts or outputs have no
//! `Debug`, so that no log line can contain them.

mod api;
mod app;
mod config;
mod error;
mod fault;
mod live;
mod lock;
mod metrics;
mod response;
mod routes;
mod server;
mod socket;
mod stored_responses;
mod text;

pub use config::{EngineConfig, EngineError};
pub use fault::{FaultError, FaultInjection};
pub use server::EngineServer;
