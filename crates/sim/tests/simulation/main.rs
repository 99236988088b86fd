//! Runs in virtual time through the public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod bounds;
mod conservation;
mod large_fleet;
mod life;
mod overload;
mod prefixes;
mod queueing;
mod routers;
mod support;
