//! The endpoint picker: Envoy's external processing protocol (ext_proc) in front of the pools, as the Gateway API
//! inference extension's proposal 004 asks for it. What is done with a request is decided in `pointsman-exchange`;
//! this crate turns messages into its steps and its outputs into messages.
//!
//! ```text
//! Envoy ──ProcessingRequest──▶ Session ──Asking──▶ pool
//!       ◀─ProcessingResponse──         ◀──guard───
//! ```
//!
//! [`Session`] is pure: no sockets, no clock, no runtime. It sees the pool through [`Pool`] and holds the load that is
//! reserved for a request through [`Guard`]. [`Picker`] runs sessions on gRPC streams against a pool of the fleet.
//!
//! What this crate must not know: how endpoints are chosen, model rules, body formats, manifests' syntax.

mod address;
mod bootstrap;
mod connection;
mod grpc;
mod health;
mod lanes;
mod live;
mod picker;
mod process;
mod record;
mod session;
mod shared;
mod tls;
pub mod wire;

pub use address::{DESTINATION, SERVED, SUBSET, SubsetHint};
pub use bootstrap::{BootstrapError, EnvoyOptions, PickerLink, ResponseBodies, envoy_config};
pub use grpc::Messages;
pub use picker::{Picker, PickerError, PickerOptions};
pub use session::{
    Asking, BodyMode, Guard, Next, OutOfOrder, Patience, Pool, Session, SessionOptions, Summary,
};
pub use tls::{Security, SecurityError, SecurityFiles};
