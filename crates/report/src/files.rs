use crate::export::{ExportFile, inference_perf_files, lpg_files};
use crate::plot::plots;
use crate::sweep::{Sweep, sweep_json};

/// One file of a report's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Where it lies below the folder, with `/` between parts.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Everything that a report's folder holds: `index.html`, `rows.json`, each plot as SVG below
/// `plots/`, and the same results in LPG's and inference-perf's words below `lpg/` and
/// `inference-perf/`.
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
