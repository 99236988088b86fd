//! Open-loop load generator and overhead measurements.

pub mod workload;
