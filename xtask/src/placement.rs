//! The table of measured results in `docs/placement.md`, from runs of the built binary.

mod binary;
mod line;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::binary::{search, simulate, timed};
use self::line::{Line, Source, Target};
use self::sweep::{MissedTarget, Sweep};
use crate::step::{self, root};

/// Markers around the table in the page.
const BEGIN: &str = "<!-- measured: cargo xtask placement -->";
const END: &str = "<!-- end of measured -->";

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All shipped experiments under this number of seeds; about a minute per seed on two cores.
    Full(u64),
    /// One experiment under two seeds, printed and not written: a test of this command.
    Short,
}

impl Extent {
    const fn seeds(self) -> u64 {
        match self {
            Self::Full(seeds) => seeds,
            Self::Short => 2,
        }
    }

    /// Workloads that each search tries.
    const fn search_budget(self) -> usize {
        match self {
            Self::Full(_) => 96,
            Self::Short => 2,
        }
    }

    /// Workloads of each search that are run again with fresh seeds.
    const fn confirmed(self) -> usize {
        match self {
            Self::Full(_) => 5,
            Self::Short => 1,
        }
    }
}

/// Measures everything, prints the table and, unless `Short`, writes it into the page.
pub(crate) fn measure(extent: Extent) -> Result<()> {
    let mut missed = Vec::new();
    let lines = vec![
        ratios(extent, &mut missed)?,
        found(extent, &mut missed)?,
        bounds(extent)?,
        prefixes(extent)?,
        slow_replica(extent)?,
        searches(extent)?,
        speed(extent)?,
    ];
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    let table = line::table(&lines)? + &MissedTarget::table(&missed)?;
    println!("{table}");
    println!("Figures marked `depends on the machine` are informative where others use it too.");
    if extent != Extent::Short {
        return write(&root().join("docs/placement.md"), &table);
    }
    let missed = line::missed(&lines);
    if !missed.is_empty() {
        bail!(
            "{} missed: {}",
            if missed.len() == 1 { "a target is" } else { "targets are" },
            missed.join("; ")
        );
    }
    Ok(())
}

fn format_ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { "∞".to_owned() }
}

/// A figure in virtual time.
fn line(figure: impl Into<String>, target: Target, value: f64, measured: impl Into<String>) -> Line {
    Line { figure: figure.into(), target, source: Source::VirtualTime, value, measured: measured.into() }
}

/// A figure of this machine.
fn of_machine(figure: &str, target: Target, value: f64, measured: String) -> Line {
    Line { source: Source::Machine, ..line(figure, target, value, measured) }
}

/// The workloads that earlier searches found.
fn found(extent: Extent, missed: &mut Vec<MissedTarget>) -> Result<Vec<Line>> {
    let mut files = experiments_in("experiments/found")?;
    if extent == Extent::Short {
        files.truncate(1);
    }
    let sweep = Sweep::run(&files, extent.seeds(), missed)?;
    let ours = sweep.default_rule()?;
    Ok(vec![line(
        format!("The same over {} workloads that searches found", sweep.files),
        Target::at_most(1.10, "≤ 1.10").known_missed(),
        ours.e2e.0,
        format!("{} ({})", format_ratio(ours.e2e.0), ours.e2e.1),
    )])
}

fn ratios(extent: Extent, missed: &mut Vec<MissedTarget>) -> Result<Vec<Line>> {
    let sweep = Sweep::run(&experiments(extent)?, extent.seeds(), missed)?;
    let ours = sweep.default_rule()?;
    let Sweep { files, columns, worst } = &sweep;
    let peers =
        ["llm-d-blend", "sticky-until-saturated", "sglang-cache-aware", "dynamo-cost", "lpwl", "lmetric"];
    let peers =
        peers.iter().filter_map(|peer| Some(format!("{peer} {}", format_ratio(worst.get(*peer)?.e2e.0))));
    let seeds = extent.seeds();
    Ok(vec![
        line(
            format!(
                "Worst ratio to the best early-binding policy, E2E p90, {columns} columns of {files} shipped experiments, mean of {seeds} fresh seeds"
            ),
            Target::at_most(1.03, "≤ 1.03"),
            ours.e2e.0,
            format!("{:.3} ({})", ours.e2e.0, ours.e2e.1),
        ),
        line("The same, peers", Target::none("1.33"), 0.0, peers.collect::<Vec<_>>().join(", ")),
        line(
            "The same for TTFT p90",
            Target::at_most(1.15, "≤ 1.15").known_missed(),
            ours.ttft.0,
            format!("{:.3} ({})", ours.ttft.0, ours.ttft.1),
        ),
    ])
}

fn bounds(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/gie-blog.yaml");
    let arguments = ["--placement", "pointsman", "--placement", "central-late-binding", "--rate", "200"];
    let sweep = simulate(&file, extent.seeds(), &arguments)?;
    let (ours, bound) = (p90(&sweep["rows"], "pointsman")?, p90(&sweep["bounds"], "central-late-binding")?);
    Ok(vec![line(
        "Below the knee (published benchmark at 200/s), E2E p90 over central late binding",
        Target::within(0.03, "within 3 %"),
        ours / bound - 1.0,
        format!("{:+.1} %", (ours / bound - 1.0) * 100.0),
    )])
}

fn prefixes(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/shared-prefix-400.yaml");
    let arms = ["round-robin", "pointsman", "pointsman-exact"];
    let mut arguments: Vec<&str> = arms.iter().flat_map(|arm| ["--placement", arm]).collect();
    arguments.extend(["--rate", "60"]);
    let sweep = simulate(&file, extent.seeds(), &arguments)?;
    let [baseline, ours, exact] = arms.map(|arm| p90(&sweep["rows"], arm));
    let (baseline, ours, exact) = (baseline?, ours?, exact?);
    Ok(vec![
        line(
            "400 shared-prefix groups at 60/s, E2E p90 below round robin's",
            Target::at_least(6.0, "≥ 6x"),
            baseline / ours,
            format!("{:.1}x", baseline / ours),
        ),
        line(
            "The same, over an exact index",
            Target::within(0.02, "within 2 %"),
            ours / exact - 1.0,
            format!("{:+.1} %", (ours / exact - 1.0) * 100.0),
        ),
    ])
}

fn slow_replica(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/slow-replica.yaml");
    let arguments = ["--placement", "kubernetes-service", "--placement", "pointsman", "--rate", "250"];
    let sweep = simulate(&file, extent.seeds(), &arguments)?;
    let (service, ours) = (p90(&sweep["rows"], "kubernetes-service")?, p90(&sweep["rows"], "pointsman")?);
    Ok(vec![line(
        "One engine 1.6x slower, E2E p90 below a Service's",
        Target::at_least(0.25, "≥ 25 %"),
        1.0 - ours / service,
        format!("{:.0} %", (1.0 - ours / service) * 100.0),
    )])
}

fn searches(extent: Extent) -> Result<Vec<Line>> {
    let mut rules = vec![
        ("pointsman", Target::at_most(1.10, "≤ 1.10").known_missed()),
        ("lpwl", Target::at_least(3.0, "≥ 3")),
        ("sticky-until-saturated", Target::at_least(2.0, "≥ 2")),
    ];
    if extent == Extent::Short {
        rules.truncate(1);
    }
    let budget = extent.search_budget();
    let mut lines = Vec::new();
    for (rule, target) in rules {
        let result = search(rule, budget, extent.confirmed())?;
        // Infinite where requests failed or did not end, which JSON has as null; 1 where nothing was found.
        let worst = match result["found"][0].get("e2e_p90").map(Value::as_f64) {
            Some(ratio) => ratio.unwrap_or(f64::INFINITY),
            None => 1.0,
        };
        lines.push(line(
            format!(
                "Worst of {budget} workloads that a search tried on {rule}, run again with 5 fresh seeds"
            ),
            target,
            worst,
            format_ratio(worst),
        ));
    }
    Ok(lines)
}

fn speed(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/gie-blog.yaml");
    let one = ["--placement", "pointsman", "--rate", "250", "--threads", "1"];
    let (seconds, memory) = timed(&file, 1, &one)?;
    let requests = 250.0 * 120.0;
    let memory_limit = Target::at_most(500.0, "≤ 500 MiB");
    let rate = requests / seconds;
    let mut lines = vec![of_machine(
        "Simulated requests per second on one core, default policy, 10 engines",
        Target::at_least(100_000.0, "≥ 100,000"),
        rate,
        format!("{rate:.0}"),
    )];
    if extent == Extent::Short {
        let memory_text = format!("{memory:.0} MiB");
        lines.push(of_machine("Memory of 30,000 requests", memory_limit, memory, memory_text));
        return Ok(lines);
    }
    let (seconds, _) = timed(&file, 5, &[])?;
    lines.push(of_machine(
        "The published benchmark's sweep, 10 rates, 3 policies, 5 seeds, two cores",
        Target::at_most(60.0, "≤ 60 s"),
        seconds,
        format!("{seconds:.0} s"),
    ));
    let (_, memory) = timed(&file, 10, &["--placement", "pointsman", "--rate", "1000", "--threads", "1"])?;
    let memory_text = format!("{memory:.0} MiB");
    lines.push(of_machine(
        "Memory of 1.2 million requests in one process",
        memory_limit,
        memory,
        memory_text,
    ));
    Ok(lines)
}

fn p90(rows: &Value, policy: &str) -> Result<f64> {
    let rows = rows.as_array().context("no rows")?;
    let row =
        rows.iter().find(|row| row["policy"] == policy).with_context(|| format!("no row of {policy}"))?;
    row["e2e_ms"]["p90"].as_f64().with_context(|| format!("{policy} has no p90: requests failed"))
}

fn write(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let (head, rest) = text.split_once(BEGIN).context("the page lacks the marker before the table")?;
    let (_, tail) = rest.split_once(END).context("the page lacks the marker after the table")?;
    let commit = step::commit()?;
    std::fs::write(page, format!("{head}{BEGIN}\n\nMeasured at commit {commit}.\n\n{table}\n{END}{tail}"))?;
    Ok(())
}

/// Every experiment that compares our default with others, but the published benchmark, which has lines of its own.
fn experiments(extent: Extent) -> Result<Vec<PathBuf>> {
    let mut files = experiments_in("experiments")?;
    files.retain(|file| !file.ends_with("gie-blog.yaml"));
    if extent == Extent::Short {
        files.retain(|file| file.ends_with("prefill-bound.yaml"));
    }
    Ok(files)
}

fn experiments_in(folder: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).context(folder.to_owned())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
