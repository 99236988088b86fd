//! The admin server: health, readiness, metrics and debug pages.
//!
//! Contents come from [`AdminSources`], callbacks that are called at each request. Connections, header sizes and times
//! are bounded.
//!
//! Must not know: the fleet, the gateway, the configuration's types.

mod pages;
mod readiness;
mod server;

pub use pages::{AdminSources, DecisionSource};
pub use readiness::{Check, Readiness};
pub use server::AdminServer;
