//! Reads an engine's load from its Prometheus metrics page.

mod extract;
mod labels;
mod profile;
mod reading;

pub use extract::Extractor;

pub(crate) use profile::{FIRST_PATH, SECOND_PATH, path};
