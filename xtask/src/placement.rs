//! The table of measured results in `docs/placement.md`, from runs of the built binary.

mod binary;
mod sweep;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use self::binary::{search, simulate, timed};
use self::sweep::{MissedTarget, Sweep};
use crate::step::root;

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
    let mut table = String::from("| Figure | Target | Measured |\n|---|---|---|\n");
    for Line { figure, target, measured } in lines.into_iter().flatten() {
        writeln!(table, "| {figure} | {target} | {measured} |")?;
    }
    table.push_str(&MissedTarget::table(&missed)?);
    println!("{table}");
    if extent != Extent::Short {
        write(&root().join("docs/placement.md"), &table)?;
    }
    Ok(())
}

/// A line of the table.
struct Line {
    figure: String,
    target: &'static str,
    measured: String,
}

fn format_ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { "∞".to_owned() }
}

fn line(figure: impl Into<String>, target: &'static str, measured: impl Into<String>) -> Line {
    Line { figure: figure.into(), target, measured: measured.into() }
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
        "≤ 1.10",
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
            "≤ 1.03",
            format!("{:.3} ({})", ours.e2e.0, ours.e2e.1),
        ),
        line("The same, peers", "1.33", peers.collect::<Vec<_>>().join(", ")),
        line("The same for TTFT p90", "≤ 1.15", format!("{:.3} ({})", ours.ttft.0, ours.ttft.1)),
    ])
}

fn bounds(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/gie-blog.yaml");
    let arguments = ["--placement", "pointsman", "--placement", "central-late-binding", "--rate", "200"];
    let sweep = simulate(&file, extent.seeds(), &arguments)?;
    let (ours, bound) = (p90(&sweep["rows"], "pointsman")?, p90(&sweep["bounds"], "central-late-binding")?);
    Ok(vec![line(
        "Below the knee (published benchmark at 200/s), E2E p90 over central late binding",
        "within 3 %",
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
            "≥ 6x",
            format!("{:.1}x", baseline / ours),
        ),
        line(
            "The same, over an exact index",
            "within 2 %",
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
        "One replica 1.6x slower, E2E p90 below a Service's",
        "≥ 25 %",
        format!("{:.0} %", (1.0 - ours / service) * 100.0),
    )])
}

fn searches(extent: Extent) -> Result<Vec<Line>> {
    let mut rules = vec![("pointsman", "≤ 1.10"), ("lpwl", "≥ 3"), ("sticky-until-saturated", "≥ 2")];
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
    let mut lines = vec![line(
        "Simulated requests per second on one core, default policy, 10 replicas",
        "≥ 100,000",
        format!("{:.0}", requests / seconds),
    )];
    if extent != Extent::Short {
        let (seconds, _) = timed(&file, 5, &[])?;
        lines.push(line(
            "The published benchmark's sweep, 10 rates, 3 policies, 5 seeds, two cores",
            "≤ 60 s",
            format!("{seconds:.0} s"),
        ));
        let (_, memory) =
            timed(&file, 10, &["--placement", "pointsman", "--rate", "1000", "--threads", "1"])?;
        lines.push(line(
            "Memory of 1.2 million requests in one process",
            "≤ 500 MiB",
            format!("{memory:.0} MiB"),
        ));
    } else {
        lines.push(line("Memory of 30,000 requests", "≤ 500 MiB", format!("{memory:.0} MiB")));
    }
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
    std::fs::write(page, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}"))?;
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
