//! Experiment files: included ones load, broken ones report every mistake.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up fails")]

mod arbitrary;
mod broken;
mod documentation;
mod jobs;
mod mistakes;
mod selection;
mod shipped;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pointsman_sim::experiment::{Experiment, load};
use pointsman_yaml::{Problem, SourceText};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
}

fn load_text(name: &str, text: &str) -> Result<Experiment, Vec<Problem>> {
    let files = |path: &str| Err::<Arc<str>, String>(format!("there is no {path}"));
    load(&SourceText::new(name, text), &files)
}
