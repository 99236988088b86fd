//! Runs of the built binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::step;

/// First of the seeds, which no constant of a rule was chosen by.
const FIRST_SEED: u64 = 9_001;

/// Runs an experiment and returns its rows.
pub(super) fn simulate(file: &Path, seeds: u64, arguments: &[&str]) -> Result<Value> {
    println!("== {} {}", file.display(), arguments.join(" "));
    let output = simulation(file, seeds, arguments).output().context("pointsman simulate")?;
    ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| file.display().to_string())
}

/// Searches for the workloads on which a rule compares worst, and runs the `confirmed` worst again with fresh seeds.
pub(super) fn search(rule: &str, budget: usize, confirmed: usize) -> Result<Value> {
    println!("== search for workloads that are bad for {rule}");
    let output = pointsman()
        .args(["simulate", "fuzz", "--json", "--placement", rule, "--budget", &budget.to_string()])
        .args(["--confirm", &confirmed.to_string()])
        .output()
        .context("pointsman simulate fuzz")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("pointsman simulate fuzz")
}

/// Wall-clock seconds of a run, and its peak resident memory in MiB (0 where `/proc` is absent).
pub(super) fn timed(file: &Path, seeds: u64, arguments: &[&str]) -> Result<(f64, f64)> {
    println!("== {} {}, timed", file.display(), arguments.join(" "));
    let start = Instant::now();
    let mut child = simulation(file, seeds, arguments).stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_mib = 0.0_f64;
    loop {
        if let Some(done) = child.try_wait()? {
            ensure!(done.success(), "{}: {done}", file.display());
            return Ok((start.elapsed().as_secs_f64(), peak_mib));
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak_mib = peak_mib.max(kibibytes.unwrap_or(0.0) / 1_024.0);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn simulation(file: &Path, seeds: u64, arguments: &[&str]) -> Command {
    let mut command = pointsman();
    command.arg("simulate").arg(file).arg("--json").args(arguments);
    for seed in FIRST_SEED..FIRST_SEED + seeds {
        command.args(["--seed", &seed.to_string()]);
    }
    command
}

fn pointsman() -> Command {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| step::root().join("target"), PathBuf::from);
    step::command(target.join("release/pointsman"))
}
