//! `pointsman bench epp`: overhead of the endpoint picker behind Envoy, with each server in a separate process.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_bench::picker::{
    PickerCommands, PickerOptions, PickerPhase, PickerStep, run_memory, run_picker,
};
use pointsman_report::Table;

use crate::args::picker_bench::PickerBenchArgs;
use crate::commands::envoy::find_or_fetch;

pub(crate) fn run(args: &PickerBenchArgs) -> Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find this program's own file")?.into_os_string();
    let command = |words: &[&str]| -> Vec<OsString> {
        std::iter::once(program.clone()).chain(words.iter().map(OsString::from)).collect()
    };
    let folder = std::env::temp_dir().join(format!("pointsman-bench-epp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let commands = PickerCommands {
        stub: command(&["bench", "stub"]),
        bare_picker: command(&["bench", "bare-picker"]),
        picker: command(&["epp", "--log", "error"]),
        envoy: find_or_fetch(&args.envoy)?,
        folder: folder.clone(),
    };
    let status = if args.memory.is_empty() { costs(args, &commands) } else { memory(args, &commands) };
    // Leftover bootstrap files are harmless.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(if status? { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Runs the overhead measurement; returns whether all targets are met.
fn costs(args: &PickerBenchArgs, commands: &PickerCommands) -> Result<bool> {
    let mut options = if args.quick { PickerOptions::quick() } else { PickerOptions::full() };
    options.slices = args.slices.map_or(options.slices, usize::from);
    let chosen: Vec<PickerPhase> = args.phase.iter().map(|phase| phase.measured()).collect();
    let phases = if chosen.is_empty() { &PickerPhase::ALL[..] } else { &chosen };
    let bar = progress_bar();
    let report = run_picker(commands, options, phases, |PickerStep { phase, done, total }| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(phase.map_or("idle", PickerPhase::label));
    });
    bar.finish_and_clear();
    let report = report?;
    show(args.json, &report, &report.table())?;
    Ok(report.meets_all_targets())
}

/// Runs the memory measurement; returns whether memory stays flat.
fn memory(args: &PickerBenchArgs, commands: &PickerCommands) -> Result<bool> {
    let bar = progress_bar();
    let report = run_memory(commands, &args.memory, |load, done| {
        bar.set_length(load.requests());
        bar.set_position(done);
        bar.set_message(load.label());
    });
    bar.finish_and_clear();
    let report = report?;
    show(args.json, &report, &report.table())?;
    Ok(report.is_flat())
}

fn show(json: bool, report: &impl serde::Serialize, table: &Table) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{}", table.render(crate::width()));
    }
    Ok(())
}
