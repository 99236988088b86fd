//! Manifests in files: reading them as a consistent whole, and watching them for changes.

mod reading;
mod watch;

pub use reading::{ManifestError, read, read_all};
pub use watch::{Reload, Reloader, Watch};
