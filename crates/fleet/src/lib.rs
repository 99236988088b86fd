//! Drives the core in real time: clock, tickets and guards, metrics scrapes, health probes, manifests from files, event
//! log.
//!
//! A [`Fleet`] holds the configuration in force as a [`Generation`]. A front door takes a [`PoolHandle`] from it, asks
//! for an endpoint with [`PoolHandle::place`], takes the result from the [`Ticket`] and holds the [`Placed`] guard for as
//! long as the request runs. The guard counts the request out, however it ends.
//!
//! A door needs no tokio runtime of its own: [`Fleet::start_on`] takes the runtime for the fleet's tasks, and
//! [`Ticket::try_placed`] returns without waiting.
//!
//! Must not know: the content of requests, how they are forwarded, listeners, admin pages.

mod activity;
mod client;
mod clock;
pub mod connect;
mod decisions;
mod endpoint;
mod fleet;
mod generation;
mod health;
pub mod manifests;
mod model_index;
mod models;
mod monitor;
mod record;
mod scheduler;
pub mod scrape;
mod tasks;
mod ticket;

pub use activity::{Activity, StreamActivity};
pub use clock::Clock;
pub use connect::{CREDENTIALS, ConnectError, Connection, Connector, HttpVersion};
pub use endpoint::{PoolEndpoint, authority};
pub use fleet::{Fleet, FleetError, FleetOptions};
pub use generation::{Generation, PoolHandle};
pub use models::ServedModels;
pub use monitor::MonitorSettings;
pub use record::{
    Divergence, FORMAT, Line, LogLines, RecordError, RecordedArrival, RecordedEnding, ReplayError,
    ReplayReport, SchedulerReplay, arrivals, read_log, replay,
};
pub use ticket::{Placed, PlacementResult, Ticket};
