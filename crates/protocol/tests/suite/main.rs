//! The crate's behaviour on recorded exchanges, on tables of valid and invalid input, and on random input.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod blocks;
mod body;
mod conversations;
mod errors;
mod forms;
mod models;
mod paths;
mod random;
mod recorded;
mod response;
mod splice;
mod stream;
