//! A simulated model server that speaks vLLM's protocol.
//!
//! Behind the sockets runs the engine model of `pointsman-sim` in real time: batches, KV blocks, preemptions and
//! adapter slots behave as on the hardware its profile describes. Texts are drawn words; the tokenizer is a rule
//! (four bytes are a token); everything else that a client can see (paths, fields and their order, chunking,
//! headers, errors, metrics) follows recordings of vLLM 0.32.0. Differences are deliberate and few: there is no
//! model behind the words, log probabilities are null, and every adapter path is found.
//!
//! Several servers can run in one process: nothing is global. Types that carry prompts or answers have no `Debug`, so
//! that no log line can show them.

mod api;
mod app;
mod config;
mod fault;
mod live;
mod metrics;
mod reply;
mod routes;
mod server;
mod socket;
mod stored;
mod stream;
mod text;

pub use config::{EngineConfig, EngineError};
pub use fault::{Fault, FaultError, FaultOrder};
pub use server::EngineServer;
