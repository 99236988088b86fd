//! The placement core: which endpoint serves a request, decided by a state machine that knows neither sockets nor
//! clocks.
//!
//! The only way in is [`Pool::handle`]: an [`Event`] with the time it happened goes in, [`Effect`]s come out. Time,
//! randomness and input are arguments, so the same events give the same effects on every build, and a live run
//! can be repeated from its event log.
//!
//! What this crate must not know: HTTP, JSON bodies, file formats, names of hosts or models (a model is a
//! [`ModelKey`]), tokio, wall-clock time, logs.

mod decision;
mod endpoint;
mod event;
mod ids;
mod policy;
mod request;
mod rng;
mod time;

pub use decision::{Candidate, Decision};
pub use endpoint::{AdapterReport, Ejection, EndpointSpec, EngineTotals, Health, LoadReport};
pub use event::{Effect, Event, Fallbacks};
pub use ids::{BlockHash, EndpointId, ModelKey, PolicyId, PolicySet, RequestId};
pub use policy::{Placement, Policy, RetryBudget, SaturationLimits};
pub use request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
pub use rng::Rng;
pub use time::{Time, seconds};
