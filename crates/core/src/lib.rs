//! The scheduler: a state machine without sockets and clocks that decides which endpoint serves a request.
//!
//! Its only entry is [`Scheduler::handle`]: an [`Event`] with the time it happened goes in, [`Effect`]s come out. Time,
//! randomness and input are arguments, so the same events give the same effects on every build, and a live run
//! can be replayed from its event log.
//!
//! Rules that drivers apply outside of a scheduler's lock stand here too, so that live traffic and simulations share
//! them: [`Liveness`], [`ScrapePace`], [`ProbePace`].
//!
//! This crate must not know HTTP, JSON bodies, file formats, names of hosts or models (a model is a [`ModelKey`]),
//! tokio, wall-clock time or logs.

mod adapters;
mod capacity;
mod cast;
mod decision;
mod endpoint;
mod endpoints;
mod event;
mod gauge;
mod health;
mod ids;
mod liveness;
mod pace;
mod placement;
mod policy;
mod prefill;
mod prefix;
mod rates;
mod request;
mod requests;
mod reservation;
mod retry;
mod scheduler;
mod time;
mod window;

pub use decision::{CandidateCost, CostTerm, Decision, Delay};
pub use endpoint::{AdapterReport, Ejection, EndpointSpec, EngineTotals, Health, LoadReport};
pub use event::{Effect, Event, Fallbacks, PROGRESS_EVERY};
pub use ids::{BlockHash, EndpointId, ModelKey, PoolId, PoolSet, RequestId};
pub use liveness::{EndpointActivity, Liveness, LivenessVerdict, ResponsePhase};
pub use pace::{PaceBounds, ProbePace, ScrapePace};
pub use pointsman_random::Rng;
pub use policy::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, BoundedLoad, CacheAware, DynamoCost, Picker,
    Placement, PoolPolicy, PrefixScore, RetryBudget, SaturationLimits,
};
pub use prefix::{Holder, Inserted, PrefixIndex};
pub use rates::Source;
pub use request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
pub use scheduler::{
    EndpointSnapshot, Estimate, FleetSnapshot, InvariantBroken, PoolGauges, PoolSnapshot,
    PrefixCacheSnapshot, ReadingSnapshot, Scheduler, SchedulerConfig, SchedulerSnapshot, SnapshotInSteps,
};
pub use time::{Time, seconds};
