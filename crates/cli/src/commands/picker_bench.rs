//! `pointsman bench epp`: what the endpoint picker costs behind Envoy, each server in a process of its own.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_bench::picker::{PickerCommands, PickerOptions, PickerPhase, PickerStep, run_picker};

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
    let mut options = if args.quick { PickerOptions::quick() } else { PickerOptions::full() };
    options.slices = args.slices.map_or(options.slices, usize::from);
    let chosen: Vec<PickerPhase> = args.phase.iter().map(|phase| phase.measured()).collect();
    let phases = if chosen.is_empty() { &PickerPhase::ALL[..] } else { &chosen };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    let report = run_picker(&commands, options, phases, |PickerStep { phase, done, total }| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(phase.map_or("idle", PickerPhase::label));
    });
    bar.finish_and_clear();
    // Bootstraps that stay behind do no harm.
    let _ = std::fs::remove_dir_all(&folder);
    let report = report?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table().render(crate::width()));
    }
    Ok(if report.meets_all_targets() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
