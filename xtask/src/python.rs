//! Tests written in Python, each in a private environment with pinned packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::step::{Step, cargo, root};

/// The `openai` client and plain HTTP against the built binary.
pub(crate) fn client_tests() -> Result<()> {
    // A log is replayed by another build than the one that wrote it.
    Step::new("development binary").run(cargo(&["build", "--quiet", "--bin", "pointsman"]))?;
    pytest("the openai client against the built binary", "python")
}

/// The picker behind a real Envoy.
pub(crate) fn envoy_tests() -> Result<()> {
    pytest("the picker behind a real Envoy", "envoy")
}

/// The tests under `tests/NAME`, in the environment that their `requirements.txt` describes.
fn pytest(step: &'static str, name: &str) -> Result<()> {
    let folder = root().join("tests").join(name);
    let mut command = Command::new(environment(name, &folder.join("requirements.txt"))?);
    command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(folder).current_dir(root());
    command.env("POINTSMAN", binary("release")).env("POINTSMAN_OTHER_BUILD", binary("debug"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Step::new(step).run(command)
}

/// The gateway in front of real vLLM servers on the CPU.
pub(crate) fn vllm_tests() -> Result<()> {
    let mut command = Command::new("bash");
    command.arg("tests/vllm/run.sh").current_dir(root()).env("POINTSMAN", binary("release"));
    Step::new("two real vLLM servers on the CPU").run(command)
}

fn binary(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join("pointsman")
}

/// The Python of an environment under `.cache` that holds `requirements`, made where it is missing or out of date.
fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(requirements).with_context(|| requirements.display().to_string())?;
    let folder = root().join(".cache").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("== installing {} into {}", requirements.display(), folder.display());
    ensure!(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder)
            .status()
            .context("python3")?
            .success(),
        "python3 -m venv failed; on Debian it comes with the package python3-venv"
    );
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    ensure!(
        Command::new(&python).args(install).arg(requirements).status()?.success(),
        "pip could not install {}",
        requirements.display()
    );
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}
