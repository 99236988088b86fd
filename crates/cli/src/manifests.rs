//! The configuration to start with, from manifests or endpoints on the command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use pointsman_config::{Inventory, Options, QuickOptions, World, load, quick_form};
use pointsman_fleet::manifests::Watch;

/// Manifests in files, as they were read at the start.
pub(crate) struct Manifests {
    pub(crate) watch: Watch,
    pub(crate) objects: Inventory,
    pub(crate) options: Options,
}

/// Reads the manifests with `options`, or builds a configuration for the endpoints with `quick` if there are none.
///
/// # Errors
/// The manifests or endpoints have an error.
pub(crate) fn read_world(
    manifests: &[PathBuf],
    endpoints: &[String],
    quick: &QuickOptions,
    options: Options,
) -> Result<(World, Option<Manifests>)> {
    if manifests.is_empty() {
        return Ok((quick_form(endpoints, quick)?, None));
    }
    let (sources, watch) = Watch::start(manifests.to_vec())?;
    let loaded = load(&sources, &options);
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    if loaded.has_errors() {
        bail!("the manifests have errors; `pointsman check` lists them without starting anything");
    }
    Ok((loaded.world, Some(Manifests { watch, objects: loaded.objects, options })))
}
