//! What the crate promises, over recorded exchanges, tables of good and bad input, and random input.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod blocks;
mod body;
mod conversations;
mod errors;
mod models;
mod paths;
mod random;
mod recorded;
mod reply;
mod splice;
mod stream;
