//! `pointsman bench epp`: overhead of the endpoint picker behind Envoy, with each server in a separate process.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pointsman_bench::picker::{
    PickerCommands, PickerOptions, PickerPhase, PickerStep, run_memory, run_picker,
};

use crate::args::picker_bench::PickerBenchArgs;
use crate::commands::envoy::find_or_fetch;
use crate::commands::own_command::own_command;
use crate::progress;

pub(crate) fn run(args: &PickerBenchArgs) -> Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("pointsman-bench-epp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let commands = PickerCommands {
        stub: own_command(&["bench", "stub"])?,
        bare_picker: own_command(&["bench", "bare-picker"])?,
        picker: own_command(&["epp", "--log", "error"])?,
        envoy: find_or_fetch(&args.envoy)?,
        folder: folder.clone(),
    };
    let status = if args.memory.is_empty() { costs(args, &commands) } else { memory(args, &commands) };
    // Leftover bootstrap files are harmless.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(if status? { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Runs the overhead measurement; returns whether all targets are met.
fn costs(args: &PickerBenchArgs, commands: &PickerCommands) -> Result<bool> {
    let mut options = if args.quick { PickerOptions::quick() } else { PickerOptions::full() };
    options.slices = args.slices.map_or(options.slices, usize::from);
    let phases = if args.phase.is_empty() { &PickerPhase::ALL[..] } else { &args.phase };
    let bar = progress::steps();
    let report = run_picker(commands, options, phases, |PickerStep { phase, done, total }| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(phase.map_or("idle", PickerPhase::label));
    });
    bar.finish_and_clear();
    let report = report?;
    crate::print(args.json, &report, &report.table())?;
    Ok(report.meets_all_targets())
}

/// Runs the memory measurement; returns whether memory stays flat.
fn memory(args: &PickerBenchArgs, commands: &PickerCommands) -> Result<bool> {
    let bar = progress::steps();
    let report = run_memory(commands, &args.memory, |load, done| {
        bar.set_length(load.requests());
        bar.set_position(done);
        bar.set_message(load.label());
    });
    bar.finish_and_clear();
    let report = report?;
    crate::print(args.json, &report, &report.table())?;
    Ok(report.is_flat())
}
