//! Reports on disk: one page, or a folder with every form of it.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use pointsman_report::{SeedResult, Sweep, html, report_files};

/// The runs of a folder's report, from which it can be drawn again.
const RUNS: &str = "runs.json";

/// Whether a report is one page rather than a folder.
pub(crate) fn is_page(report: &Path) -> bool {
    report.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Writes a report: the page alone where the path names one, else a folder.
///
/// # Errors
/// The system refuses, with the file's name.
pub(crate) fn write(report: &Path, sweep: &Sweep) -> Result<()> {
    if is_page(report) {
        put(report, html(sweep).as_bytes())?;
        eprintln!("report: {}", report.display());
        return Ok(());
    }
    for file in report_files(sweep) {
        put(&report.join(relative(&file.path)), &file.bytes)?;
    }
    eprintln!("report: {}, with its plots and figures beside it", report.join("index.html").display());
    Ok(())
}

/// The runs that a report's folder holds already; none where there is no such folder.
///
/// # Errors
/// There is a file of runs, and it cannot be read as one.
pub(crate) fn earlier_runs(report: &Path) -> Result<Vec<SeedResult>> {
    let path = report.join(RUNS);
    if is_page(report) || !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no runs of a report", path.display()))
}

/// Keeps the runs of a report's folder.
///
/// # Errors
/// The system refuses, with the file's name.
pub(crate) fn keep_runs(report: &Path, runs: &[SeedResult]) -> Result<()> {
    if is_page(report) {
        return Ok(());
    }
    put(&report.join(RUNS), &serde_json::to_vec(runs)?)
}

/// A path that stays below the folder that it is joined to.
fn relative(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
