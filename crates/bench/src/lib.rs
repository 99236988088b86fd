//! An open-loop load generator, and overhead measurements of the gateway and the endpoint picker.
//!
//! A [`Workload`](workload::Workload) and a seed give a [`Plan`](workload::Plan), which
//! [`run_plan`](run::run_plan) sends through a [`Client`](client::Client) to a gateway or directly to engines, and
//! [`run_slices`](slices::run_slices) through two arms in alternating slices.

pub mod bare_picker;
pub mod bare_proxy;
pub mod client;
mod exchange;
mod measurement;
pub mod overhead;
pub mod picker;
pub mod run;
mod seed;
pub mod slices;
pub mod stub;
mod summary;
pub mod workload;

pub use exchange::{Outcome, RequestRecord};
pub use measurement::MeasurementError;
