//! A picker on real sockets in front of a real fleet.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "tests")]

mod client;
mod hermetic;
mod life;
mod running;
mod tls;
