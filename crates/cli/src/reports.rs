//! Writes reports: a single page, or a folder with all formats.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use pointsman_report::{SeedResult, Sweep, html, report_files};

/// The file with a report's runs, from which the report can be rebuilt.
const RUNS: &str = "runs.json";

/// Whether the path names a single page.
pub(crate) fn is_page(report: &Path) -> bool {
    report.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Writes a report, as a single page or a folder.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(report: &Path, sweep: &Sweep) -> Result<()> {
    if is_page(report) {
        put(report, html(sweep).as_bytes())?;
        eprintln!("report: {}", report.display());
        return Ok(());
    }
    for file in report_files(sweep) {
        put(&report.join(relative(&file.path)), &file.bytes)?;
    }
    eprintln!("report: {}, with plots and figures in the same folder", report.join("index.html").display());
    Ok(())
}

/// The runs in a report's folder; none if it does not exist.
///
/// # Errors
/// The file with the runs cannot be read.
pub(crate) fn earlier_runs(report: &Path) -> Result<Vec<SeedResult>> {
    let path = report.join(RUNS);
    if is_page(report) || !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a file of runs", path.display()))
}

/// Writes the runs into a report's folder.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn keep_runs(report: &Path, runs: &[SeedResult]) -> Result<()> {
    if is_page(report) {
        return Ok(());
    }
    put(&report.join(RUNS), &serde_json::to_vec(runs)?)
}

/// The path without components that lead out of the folder that it is joined to.
fn relative(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Writes a file, and its folder if it does not exist.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
