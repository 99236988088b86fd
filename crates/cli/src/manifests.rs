//! The configuration to start with, from manifests or endpoints on the command line.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use pointsman_config::{
    ApiKeyHeader, EngineAccess, Files, Inventory, Loaded, NamedFiles, Options, Problem, QuickOptions,
    SourceText, World, load, quick_form,
};
use pointsman_fleet::Connector;
use pointsman_fleet::manifests::Watch;
use pointsman_gateway::certified_key;

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
    let (world, manifests) = read_manifests(manifests, options)?;
    Ok((world, Some(manifests)))
}

/// Reads manifests, and prints their problems.
///
/// # Errors
/// One of them is an error.
pub(crate) fn read_manifests(folders: &[PathBuf], options: Options) -> Result<(World, Manifests)> {
    let (sources, watch) = Watch::start(folders.to_vec())?;
    let loaded = load_with_files(&sources, &options);
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    if loaded.has_errors() {
        bail!("the manifests have errors; `pointsman check` lists them without starting anything");
    }
    Ok((loaded.world, Manifests { watch, objects: loaded.objects, options }))
}

/// Loads manifests, and looks at the files that they name.
pub(crate) fn load_with_files(sources: &[SourceText], options: &Options) -> Loaded {
    let mut loaded = load(sources, options);
    let unusable = loaded.files.iter().filter_map(check_files).collect::<Vec<_>>();
    loaded.problems.extend(unusable);
    loaded.problems.sort_by_key(|problem| (Arc::clone(&problem.file), problem.line, problem.column));
    loaded
}

/// The problem of files that a manifest names and that cannot be used.
fn check_files(named: &NamedFiles) -> Option<Problem> {
    let error = match &named.files {
        Files::Certificate(files) => certified_key(files).map(drop).map_err(|error| error.to_string()),
        Files::EngineAccess(access) => Connector::new(access).map(drop).map_err(|error| error.to_string()),
    };
    error.err().map(|message| named.problem(message))
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
    let is_https =
        |url: &String| url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"));
    if let Some(flag) = tls
        && !endpoints.iter().any(is_https)
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
