//! `pointsman replay`: the decisions of a recorded run, made again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use pointsman_fleet::{Divergence, PoolReplay, ReplayReport, replay};
use serde_json::{Value, json};

use crate::args::ReplayArgs;

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| name.to_string())?;
    let report = replay(BufReader::with_capacity(1 << 20, file)).with_context(|| name.to_string())?;
    ensure!(!report.pools.is_empty(), "{name}: no event log: it has no whole line");
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&report))?);
    } else {
        print!("{}", as_text(&args.file, &report));
    }
    Ok(if report.is_identical() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(report: &ReplayReport) -> Value {
    let divergence = |divergence: &Divergence| {
        let Divergence { line, seq, now, recorded, replayed } = divergence;
        json!({
            "line": line, "event": seq, "time_ns": now.as_nanos(), "recorded": recorded, "replayed": replayed,
        })
    };
    let pool = |pool: &PoolReplay| {
        json!({
            "pool": pool.pool,
            "recorded_by": pool.build,
            "events": pool.events,
            "decisions": pool.decisions,
            "effects": pool.effects,
            "gap": pool.gap,
            "divergence": pool.divergence.as_ref().map(divergence),
        })
    };
    json!({
        "identical": report.is_identical(),
        "lines": report.lines,
        "cut_off": report.cut_off,
        "pools": report.pools.iter().map(pool).collect::<Vec<_>>(),
    })
}

fn as_text(log: &Path, report: &ReplayReport) -> String {
    let name = log.display();
    let mut text = String::new();
    for pool in &report.pools {
        let PoolReplay { pool: number, events, decisions, effects, gap, divergence, .. } = pool;
        let found = match (divergence, gap) {
            (Some(_), _) => "the same, then a difference",
            (None, true) => "the same, then a gap: the log's writer fell behind, and the rest is lost",
            (None, false) => "all the same",
        };
        text +=
            &format!("pool {number}: {events} events, {decisions} decisions, {effects} effects: {found}\n");
    }
    if report.cut_off {
        text += &format!("{name}:{}: the log ends within this line, which is left out\n", report.lines + 1);
    }
    if let Some((pool, Divergence { line, seq, now, recorded, replayed })) = report.first_divergence() {
        let seconds = now.as_nanos() as f64 / 1e9;
        text += &format!(
            "{name}:{line}: event {seq} of pool {pool}, at {seconds:.6} s, has another answer in this build ({})\n  \
             recorded: {}\n  replayed: {}\n",
            env!("CARGO_PKG_VERSION"),
            effects_text(recorded),
            effects_text(replayed),
        );
    }
    text
}

fn effects_text(effects: &[Value]) -> String {
    if effects.is_empty() { "nothing".to_owned() } else { Value::from(effects).to_string() }
}
