//! The engine model in real time: who holds it, who moves it, and how its tokens reach the requests.

mod clock;
mod delivery;
mod driver;
mod observations;

pub(crate) use driver::{Live, Submission, Ticket, unix_now};
pub(crate) use observations::{Histogram, Observations, Served};
