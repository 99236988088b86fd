//! Inference servers in virtual time.
//!
//! [`engine`] is the model of one vLLM v1 server: what a step costs, who is in the batch, which KV blocks are held.
//! It has no clock of its own: whoever drives it says what time it is, so the same code runs in a simulation of
//! days and behind the sockets of a live simulated server.
//!
//! What this crate must not know: sockets, threads, wall-clock time, HTTP, the text of prompts.

pub mod engine;
