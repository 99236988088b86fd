//! The HTTP gateway: listeners, TLS, HTTP/1.1 and HTTP/2 in and out, connections to engines, streaming, retries.
//!
//! `pointsman-exchange` decides what happens to a request, `pointsman-door` places and records it. This crate moves bytes.
//!
//! ```text
//! listener ─▶ serve ─▶ proxy ─▶ attempt ─▶ upstream ─▶ engine
//!                                  │           │
//!   client ◀── relay ◀─────────────┴───────────┘
//! ```
//!
//! Must not know: body formats, model rules, how endpoints are chosen, the syntax of manifests.

mod attempt;
mod bound_port;
mod client;
mod client_body;
mod client_io;
mod connection;
mod gate;
mod gateway;
mod half_close;
mod holder;
mod listener;
mod model_list;
mod proxy;
mod reader_watch;
mod relay;
mod response;
mod route;
mod serve;
mod shared;
mod template;
mod tls;
mod tunnel;
mod unread_body;
mod upstream;

pub use gateway::{Gateway, GatewayError, GatewayOptions};
pub use pointsman_door::certificates::certified_key;
