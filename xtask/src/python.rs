//! Tests written in Python, each suite in a virtual environment of its own with pinned packages.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

use crate::step::{Step, cargo, command, root};

/// Tests the built binary with the `openai` client and plain HTTP.
pub(crate) fn client_tests() -> Result<()> {
    // The replay test replays an event log of the release build with a debug build.
    Step::new("development binary").run(cargo(&["build", "--quiet", "--bin", "pointsman"]))?;
    pytest("the openai client against the built binary", "python")
}

/// Tests the picker behind a real Envoy.
pub(crate) fn envoy_tests() -> Result<()> {
    pytest("the picker behind a real Envoy", "envoy")
}

/// Runs the tests under `tests/NAME` in a virtual environment with the packages of their `requirements.txt`.
fn pytest(step: &'static str, name: &str) -> Result<()> {
    let folder = root().join("tests").join(name);
    let mut pytest = command(environment(name, &folder.join("requirements.txt"))?);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(folder);
    pytest.env("POINTSMAN", binary("release")).env("POINTSMAN_OTHER_BUILD", binary("debug"));
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    Step::new(step).run(pytest)
}

/// Tests the gateway in front of real vLLM servers on the CPU.
pub(crate) fn vllm_tests() -> Result<()> {
    let mut script = command("bash");
    script.arg("tests/vllm/run.sh").env("POINTSMAN", binary("release"));
    Step::new("two real vLLM servers on the CPU").run(script)
}

fn binary(profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join("pointsman")
}

/// The interpreter of the virtual environment `.cache/NAME`, which is created again when `requirements` changed.
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
        command("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder)
            .status()
            .context("python3")?
            .success(),
        "python3 -m venv failed; on Debian it comes with the package python3-venv"
    );
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    ensure!(
        command(&python).args(install).arg(requirements).status()?.success(),
        "pip could not install {}",
        requirements.display()
    );
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}
