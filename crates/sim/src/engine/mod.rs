//! The engine model: one vLLM v1 server as its scheduler, its KV block pool and the time its steps take.
//!
//! A driver repeats three calls: [`Engine::start_step`] composes a batch and says when it ends,
//! [`Engine::finish_step`] at that time gives what it produced, and [`Engine::submit`] and [`Engine::abort`] happen
//! whenever they happen. The rules are those of `vllm/v1/core/sched/scheduler.py`; the step time is the sum
//! described at [`StepTime`]. Nothing is drawn at random: equal calls give equal answers.
//!
//! A decode step costs time in proportion to the sequences that end or begin a KV block in it, not to the batch:
//! sequences that decode move in lockstep, so their lengths are kept as one shared step count.

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
pub(crate) use blocks::{AsIs, BlockPool};
pub use gauges::{Gauges, Totals};
pub use outlook::Outlook;
pub use profile::{BuiltinProfile, EngineProfile, ProfileError};
pub use request::{Detail, Request, Step, StepOutput, SubmitError};
pub use scheduler::Engine;
pub use sequence::SequenceId;
pub use step::{Batch, LinearPiece, StepTime};
