//! Virtual clock, engine model and workloads. Pure.
