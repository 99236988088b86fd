//! Drives the core in real time: clock, tickets and guards, metrics scrapes, health probes, manifests from files, event
//! log.
//!
//! A [`Fleet`] holds the configuration in force as a [`Generation`]. A front door takes a [`PoolHandle`] from it, asks
//! for an endpoint with [`PoolHandle::place`], awaits the [`Ticket`] and holds the [`Placed`] guard for as long as the
//! request runs. Whatever happens to the request, the guard counts it out.
//!
//! What this crate must not know: what requests say, how they are forwarded, listeners, admin pages.

mod activity;
mod budget;
pub mod certificates;
mod client;
mod clock;
pub mod connect;
mod endpoint;
mod fleet;
mod generation;
mod health;
pub mod manifests;
mod models;
mod monitor;
mod record;
mod scheduler;
pub mod scrape;
mod serving;
mod tasks;
mod ticket;

pub use activity::{Activity, StreamActivity};
pub use budget::{Budget, Share};
pub use clock::Clock;
pub use connect::{ConnectError, Connection, Connector, HttpVersion};
pub use endpoint::{PoolEndpoint, authority};
pub use fleet::{Fleet, FleetError, FleetOptions};
pub use generation::{Generation, PoolHandle};
pub use models::ServedModels;
pub use monitor::MonitorSettings;
pub use record::{
    Divergence, FORMAT, Line, LogLines, RecordError, RecordedArrival, RecordedEffect, RecordedEnding,
    ReplayError, ReplayReport, SchedulerReplay, arrivals, read_log, replay,
};
pub use ticket::{Placed, PlacementResult, Ticket};
