//! Sweeps in the file formats of other benchmark tools, so that their notebooks read them.

mod file;
mod inference_perf;
mod lpg;
mod pooled;

pub use file::ExportFile;
pub use inference_perf::inference_perf_files;
pub use lpg::lpg_files;
