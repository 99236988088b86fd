//! Metric families, logs and traces: one home for every name under which Pointsman shows what it does.
//!
//! Other crates hold handles ([`Metrics`], [`PoolSeries`], [`RequestSeries`], [`trace::Tracer`]) and report facts
//! through them. They name no metric, label or attribute themselves, so what a dashboard may rely on stands in this
//! crate alone.
//!
//! What this crate must not know: pools' inner state, the gateway's HTTP, prompts.

pub mod logging;
mod metrics;
pub mod trace;

pub use metrics::{
    BuildInfo, EndpointSample, EndpointSeries, Exposition, GatewaySample, Metrics, OTHER, Outcome,
    PoolSample, PoolSeries, RequestRecord, RequestSeries, Running, UNDECLARED,
};
