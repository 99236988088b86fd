//! A report on disk: one page, or a folder with the page, its plots and its figures.

use std::path::Path;

use anyhow::{Context as _, Result};
use pointsman_report::{Sweep, html, report_files};

/// Whether the report is one page rather than a folder.
pub(super) fn is_page(report: &Path) -> bool {
    report.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Writes the report and says where.
///
/// # Errors
/// The system refuses, with the file's name.
pub(super) fn write(report: &Path, sweep: &Sweep) -> Result<()> {
    if is_page(report) {
        put(report, html(sweep).as_bytes())?;
        eprintln!("report: {}", report.display());
        return Ok(());
    }
    for file in report_files(sweep)? {
        put(&report.join(&file.path), &file.bytes)?;
    }
    eprintln!("report: {}, with plots and figures beside it", report.join("index.html").display());
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
