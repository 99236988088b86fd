//! The engine model run in real time: its clock, its driver task, and the progress and statistics of its requests.

mod clock;
mod driver;
mod histogram;
mod progress;
mod sequences;
mod stats;

pub(crate) use clock::unix_now;
pub(crate) use driver::{LiveEngine, RequestHandle};
pub(crate) use histogram::Histogram;
pub(crate) use sequences::SequenceRequest;
pub(crate) use stats::EngineStats;
