//! The engine model: the scheduler, KV block pool and step times of one vLLM v1 server.
//!
//! A driver calls [`Engine::start_step`], which composes a batch and returns the end of its step, then
//! [`Engine::finish_step`] at that time, which returns the outputs. [`Engine::submit`] and [`Engine::abort`] are allowed at
//! any time. The rules are those of `vllm/v1/core/sched/scheduler.py`; [`StepTime`] gives the step time. The model is
//! deterministic.
//!
//! Simulating a decode step costs time in proportion to the sequences that end or need a KV block in it, not to the batch:
//! decoding sequences advance in lockstep, so one shared step count stands for their lengths.

mod adapters;
mod blocks;
mod compose;
mod gauges;
mod outlook;
mod profile;
mod progress;
mod request;
mod scheduler;
mod sequence;
mod step;
#[cfg(test)]
mod tests;

pub use adapters::AdapterId;
pub(crate) use blocks::{BlockPool, IdentityHasher};
pub use gauges::{Gauges, Totals};
pub use outlook::Outlook;
pub use profile::{BuiltinProfile, EngineProfile, ProfileError};
pub use request::{Detail, Request, Step, StepOutput, SubmitError};
pub use scheduler::Engine;
pub use sequence::SequenceId;
pub use step::{Batch, LinearPiece, StepTime};
