//! `pointsman replay`: replays an event log and compares the effects.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use pointsman_fleet::{Divergence, ReplayReport, SchedulerReplay, replay};
use serde_json::{Value, json};

use crate::args::ReplayArgs;

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| name.to_string())?;
    let report = replay(BufReader::with_capacity(1 << 20, file)).with_context(|| name.to_string())?;
    ensure!(!report.schedulers.is_empty(), "{name}: not an event log: it has no complete line");
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&report))?);
    } else {
        print!("{}", as_text(&args.file, &report));
    }
    Ok(if report.is_identical() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(report: &ReplayReport) -> Value {
    json!({
        "identical": report.is_identical(),
        "lines": report.lines,
        "cut_off": report.cut_off,
        "schedulers": report.schedulers,
    })
}

fn as_text(log: &Path, report: &ReplayReport) -> String {
    let name = log.display();
    let mut text = String::new();
    for replayed in &report.schedulers {
        let SchedulerReplay { scheduler, events, decisions, effects, gap, divergence, .. } = replayed;
        let result = match (divergence, gap) {
            (Some(_), _) => "identical up to a difference",
            (None, true) => "identical up to a gap, where the log's writer fell behind and the rest is lost",
            (None, false) => "all identical",
        };
        text += &format!(
            "scheduler {scheduler}: {events} events, {decisions} decisions, {effects} effects: {result}\n"
        );
    }
    if report.cut_off {
        text += &format!("{name}:{}: the log ends within this line, which is skipped\n", report.lines + 1);
    }
    if let Some((scheduler, Divergence { line, seq, now, recorded, replayed })) = report.first_divergence() {
        let seconds = now.as_nanos() as f64 / 1e9;
        text += &format!(
            "{name}:{line}: event {seq} of scheduler {scheduler}, at {seconds:.6} s, has other effects in this build ({})\n  \
             recorded: {}\n  replayed: {}\n",
            crate::VERSION,
            effects_text(recorded),
            effects_text(replayed),
        );
    }
    text
}

fn effects_text(effects: &[Value]) -> String {
    if effects.is_empty() { "none".to_owned() } else { Value::from(effects).to_string() }
}
