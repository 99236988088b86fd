//! Inference servers in virtual time.
//!
//! [`engine`] is the model of one vLLM v1 server: what a step costs, who is in the batch, which KV blocks are held.
//! It has no clock of its own: whoever drives it says what time it is, so the same code runs in a simulation of
//! days and behind the sockets of a live simulated server.
//!
//! A [`Scenario`] says which engines there are and what a router gets to know of them; a workload gives [`Job`]s; a
//! [`Routing`] decides; the [`Outcome`] says what came of it.
//!
//! What this crate must not know: sockets, threads, wall-clock time, HTTP, the text of prompts.

pub mod engine;
pub mod experiment;
pub mod fit;
pub mod fuzz;
mod job;
mod outcome;
mod scenario;
mod simulate;
pub mod workload;

pub use job::{Job, Jobs, Turn};
pub use outcome::{End, LoadPoint, Outcome};
pub use scenario::{Bound, Change, Information, Member, Prefixes, Routing, Scenario};
pub use simulate::{SimulationError, simulate, simulate_checked};
