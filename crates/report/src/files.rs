//! The files of a report.

use crate::export::{ExportFile, inference_perf_files, lpg_files};
use crate::plot::plots;
use crate::sweep::{Sweep, sweep_json};

/// One file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Path below the folder, separated by `/`.
    pub path: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// The files of a report: `index.html`, `rows.json`, each plot as SVG below
/// `plots/`, and the results in the formats of LPG and inference-perf below
/// `lpg/` and `inference-perf/`.
#[must_use]
pub fn report_files(sweep: &Sweep) -> Vec<ReportFile> {
    let mut files = vec![
        ReportFile { path: "index.html".to_owned(), bytes: crate::html(sweep).into_bytes() },
        ReportFile { path: "rows.json".to_owned(), bytes: json(&sweep_json(sweep)) },
    ];
    for plot in plots(sweep) {
        files.push(ReportFile { path: format!("plots/{}.svg", plot.name), bytes: plot.svg().into_bytes() });
    }
    let below = |folder: &'static str| {
        move |file: ExportFile| ReportFile {
            path: format!("{folder}/{}", file.path),
            bytes: json(&file.json),
        }
    };
    files.extend(lpg_files(sweep).into_iter().map(below("lpg")));
    files.extend(inference_perf_files(sweep).into_iter().map(below("inference-perf")));
    files
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
