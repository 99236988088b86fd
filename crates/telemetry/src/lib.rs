//! Metrics, logs and traces.
//!
//! This crate defines every metric name, label, span attribute and field of the request log, so a dashboard's contract
//! is readable in one place. Other crates hold handles ([`Metrics`], [`PoolSeries`], [`RequestSeries`],
//! [`trace::Tracer`]) and report typed facts through them.
//!
//! Must not know: the scheduler's state, the gateway's HTTP, prompts.

pub mod logging;
mod metrics;
mod request_log;
pub mod trace;

pub use metrics::{
    BuildInfo, EndpointSample, EndpointSeries, Exposition, GatewaySample, Metrics, OTHER, Outcome,
    PoolSample, PoolSeries, RequestRecord, RequestSeries, Running, UNDECLARED,
};
pub use request_log::RequestLog;
