//! Commands and the steps of a task that run them.

use std::ffi::OsStr;
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

/// A command in the repository's root, without the variables that cargo sets for the package it runs, xtask.
///
/// Build scripts such as ring's watch them, so a `cargo` that inherits them would build anew what `cargo build` built.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_of_package(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// A cargo command in the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// The output of `cargo metadata`: the workspace's packages and their resolved dependencies.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let output =
        cargo(&["metadata", "--format-version", "1", "--locked"]).output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}

/// The abbreviated hash of the checked-out commit.
pub(crate) fn commit() -> Result<String> {
    let output = command("git").args(["rev-parse", "--short", "HEAD"]).output().context("git rev-parse")?;
    ensure!(output.status.success(), "git rev-parse: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A named step of a task.
pub(crate) struct Step(&'static str);

impl Step {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Runs a command with its output shown.
    ///
    /// # Errors
    /// The command cannot be started or exits with another status than 0.
    pub(crate) fn run(&self, mut command: Command) -> Result<()> {
        println!("== {}", self.0);
        let start = Instant::now();
        let status = command.status().with_context(|| format!("{}: {command:?}", self.0))?;
        ensure!(status.success(), "{} failed ({status}): {command:?}", self.0);
        println!("== {}: ok, {:.0?}", self.0, start.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_do_not_inherit_the_package_variables_of_xtask() {
        let check =
            |name: &str, expected: bool| assert_eq!(is_of_package(OsStr::new(name)), expected, "{name}");
        check("CARGO_PKG_NAME", true);
        check("CARGO_MANIFEST_DIR", true);
        check("CARGO_TARGET_DIR", false);
        check("CARGO_HOME", false);
        check("CARGO", false);
        let command = cargo(&["build"]);
        let removed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(removed("CARGO_PKG_NAME") && removed("CARGO_MANIFEST_DIR"));
    }
}
