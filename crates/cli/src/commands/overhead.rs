//! `pointsman bench overhead`: overhead of the gateway, with each server in a separate process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_bench::overhead::{OverheadCommands, OverheadOptions, Step, run as measure};

pub(crate) fn run(quick: bool, json: bool) -> Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find this program's own file")?.into_os_string();
    let command = |words: &[&str]| -> Vec<OsString> {
        std::iter::once(program.clone()).chain(words.iter().map(OsString::from)).collect()
    };
    let commands = OverheadCommands {
        stub: command(&["bench", "stub"]),
        bare_proxy: command(&["bench", "bare-proxy"]),
        gateway: command(&["gateway", "--log", "error"]),
    };
    let options = if quick { OverheadOptions::quick() } else { OverheadOptions::full() };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    let report = measure(&commands, options, |Step { phase, done, total }| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(phase.label());
    });
    bar.finish_and_clear();
    let report = report?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table().render(crate::width()));
    }
    Ok(if report.within_budget() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
