//! The configuration to start with, from manifests or endpoints on the command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use pointsman_config::{
    ApiKeyHeader, EngineAccess, Inventory, Options, QuickOptions, World, load, quick_form,
};
use pointsman_fleet::manifests::Watch;

use crate::args::{AccessArgs, KeyHeader};

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

/// The certificates and API key of endpoints on the command line. Paths are made absolute, so that printed manifests mean the
/// same wherever they are saved.
///
/// # Errors
/// There are settings of TLS, and no endpoint is reached over TLS.
pub(crate) fn engine_access(args: &AccessArgs, endpoints: &[String]) -> Result<EngineAccess> {
    let tls = match (&args.engine_ca, args.engine_insecure_skip_verify) {
        (Some(_), _) => Some("--engine-ca"),
        (None, true) => Some("--engine-insecure-skip-verify"),
        (None, false) => None,
    };
    if let Some(flag) = tls
        && !endpoints.iter().any(|url| url.starts_with("https://"))
    {
        bail!("{flag} has no effect: no --endpoint starts with https://");
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let api_key_header = match args.engine_api_key_header {
        None | Some(KeyHeader::Authorization) => ApiKeyHeader::Authorization,
        Some(KeyHeader::XApiKey) => ApiKeyHeader::XApiKey,
    };
    Ok(EngineAccess {
        ca: args.engine_ca.as_ref().map(absolute),
        insecure_skip_verify: args.engine_insecure_skip_verify,
        api_key: args.engine_api_key_file.as_ref().map(absolute),
        api_key_header,
    })
}
