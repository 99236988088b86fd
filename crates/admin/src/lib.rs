//! The admin listener: health, readiness, metrics, and what the pools hold as JSON.
//!
//! It knows nothing of pools or configurations. Whoever starts it hands over [`AdminSources`], functions that it calls
//! when a page is asked for. Everything a client could use up is bounded: connections, heads, time.
//!
//! What this crate must not know: the fleet, the gateway, the configuration's types.

mod pages;
mod readiness;
mod server;

pub use pages::AdminSources;
pub use readiness::{Check, Readiness};
pub use server::AdminServer;
