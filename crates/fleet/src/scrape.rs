//! Reading the gauges of engines: which series, out of a page.

mod extract;
mod labels;
mod profile;
mod reading;

pub use extract::Extractor;

pub(crate) use profile::{FIRST_PATH, SECOND_PATH, path};
