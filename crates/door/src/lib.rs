//! The part of request processing that all front doors share: admission, model rules, placement, and the request's
//! metrics, log line and span.
//!
//! A front door has one [`Door`] and one [`RequestContext`] per request:
//!
//! ```text
//! Door::begin ─▶ admit ─▶ hold_body ─▶ Door::resolve ─▶ place ─▶ placed ─▶ set_status ─▶ finish
//! ```
//!
//! No step suspends or needs a runtime. A door without one takes the placement with
//! [`Ticket::try_placed`](pointsman_fleet::Ticket::try_placed) and runs its fleet on another thread's runtime. Doors with
//! ports of their own load their certificates by [`certificates`].
//!
//! Must not know: HTTP connections, ext_proc, body formats, how endpoints are chosen.

mod budget;
pub mod certificates;
mod door;
mod request;
mod stored_responses;

pub use budget::{Budget, Share};
pub use door::Door;
pub use request::{REQUEST_ID, RequestContext, TRACEPARENT, request_id};
