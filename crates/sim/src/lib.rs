//! Simulation of inference servers and routers in virtual time.
//!
//! [`engine`] models one vLLM v1 server: step times, continuous batching, KV blocks. It has no clock: its driver passes the
//! time, so the same code runs in simulations of days and behind the sockets of a live simulated server.
//!
//! A [`Scenario`] describes the engines and the router's information about them, a workload makes jobs, a [`Routing`]
//! decides where they go, and the [`Outcome`] holds the results.
//!
//! What this crate must not know: sockets, threads, wall-clock time, HTTP, the text of prompts.

pub mod engine;
pub mod experiment;
pub mod fit;
pub mod fuzz;
mod outcome;
mod scenario;
mod simulate;

pub use outcome::{End, LoadPoint, Outcome};
pub use scenario::{Bound, Change, EngineSpec, Information, PrefixKnowledge, Routing, Scenario};
pub use simulate::{SimulationError, simulate, simulate_checked};
