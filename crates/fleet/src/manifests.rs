//! Manifests in files: reading them as a whole, and noticing when they change.

mod reading;
mod watch;

pub use reading::{ManifestError, read};
pub use watch::{Reload, Watch};
