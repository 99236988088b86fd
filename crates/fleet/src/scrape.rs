//! Reading the gauges of engines: which series, out of a page, at which pace.

mod extract;
mod labels;
mod pace;
mod profile;
mod reading;

pub use extract::Extractor;

pub(crate) use pace::{Bounds, Pace};
pub(crate) use profile::{FIRST_PATH, SECOND_PATH, path};
