//! Pointsman's own HTTP gateway: listeners, TLS, HTTP/1.1 and HTTP/2 in and out, connections to engines, streaming,
//! repeated attempts. What is done with a request is decided in `pointsman-exchange` and where it goes in
//! `pointsman-fleet`; this crate carries bytes.
//!
//! ```text
//! listener ─▶ serve ─▶ attempt ─▶ upstream ─▶ engine
//!                         │           │
//!   client ◀── relay ◀────┴───────────┘
//! ```
//!
//! What this crate must not know: what bodies say, how endpoints are chosen, manifests' syntax.

mod attempt;
mod client;
mod client_body;
mod entrance;
mod forward;
mod gate;
mod gateway;
mod listener;
mod models;
mod record;
mod relay;
mod reply;
mod serve;
mod shared;
mod stored;
mod tls;
mod tunnel;
mod upstream;

pub use gateway::{Gateway, GatewayError, GatewayOptions};
