//! `pointsman bench overhead`: overhead of the gateway, with each server in a separate process.

use std::process::ExitCode;

use anyhow::Result;
use pointsman_bench::overhead::{OverheadCommands, OverheadOptions, Step, run as measure};

use crate::commands::own_command::own_command;
use crate::progress;

pub(crate) fn run(quick: bool, json: bool) -> Result<ExitCode> {
    let commands = OverheadCommands {
        stub: own_command(&["bench", "stub"])?,
        bare_proxy: own_command(&["bench", "bare-proxy"])?,
        gateway: own_command(&["gateway", "--log", "error"])?,
    };
    let options = if quick { OverheadOptions::quick() } else { OverheadOptions::full() };
    let bar = progress::steps();
    let report = measure(&commands, options, |Step { phase, done, total }| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(phase.label());
    });
    bar.finish_and_clear();
    let report = report?;
    crate::print(json, &report, &report.table())?;
    Ok(if report.within_budget() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
