//! Running one step of a task, and saying so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
    })
}

/// A cargo command in the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// What cargo knows of the workspace.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let output =
        cargo(&["metadata", "--format-version", "1", "--locked"]).output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}

/// One named step.
pub(crate) struct Step(&'static str);

impl Step {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Runs a command with its output shown, and fails where it fails.
    pub(crate) fn run(&self, mut command: Command) -> Result<()> {
        println!("== {}", self.0);
        let start = Instant::now();
        let status = command.status().with_context(|| format!("{}: {command:?}", self.0))?;
        ensure!(status.success(), "{} failed ({status}): {command:?}", self.0);
        println!("== {}: ok, {:.0?}", self.0, start.elapsed());
        Ok(())
    }
}
