//! The session as tables: messages in, responses out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bodies;
mod fuzz;
mod models;
mod order;
mod outcomes;
mod picks;
mod support;
