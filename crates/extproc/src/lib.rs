//! The endpoint picker: Envoy's external processing protocol (ext_proc), as proposal 004 of the Gateway API inference
//! extension specifies it.
//!
//! `pointsman-exchange` decides what happens to a request, `pointsman-door` places and records it. This crate translates
//! between messages and their steps.
//!
//! ```text
//! Envoy ──ProcessingRequest──▶ Session ──EngineRequest──▶ pool
//!       ◀─ProcessingResponse──         ◀─────Guard──────
//! ```
//!
//! [`Session`] is pure: no sockets, no clock, no runtime. It reaches the pool through [`Pool`] and holds the load reserved
//! for a request through [`Guard`]. [`Picker`] runs sessions on gRPC streams against a pool of the fleet.
//!
//! Must not know: how endpoints are chosen, model rules, body formats, manifests' syntax.

mod address;
mod bootstrap;
mod connection;
mod grpc;
mod health;
mod live;
mod picker;
mod process;
mod session;
mod shared;
mod tls;
pub mod wire;
mod workers;

pub use address::{DESTINATION, SERVED, SUBSET, SubsetHint};
pub use bootstrap::{BootstrapError, EnvoyOptions, PickerLink, ResponseBodies, envoy_config};
pub use grpc::Messages;
pub use picker::{Picker, PickerError, PickerOptions, choose_pool};
pub use session::{
    BodyMode, DataPlane, Destinations, Guard, Next, Pool, ProtocolViolation, Session, SessionOptions,
    Summary, WaitingFor,
};
pub use tls::{Security, SecurityError, SecurityFiles};
