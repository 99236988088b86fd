//! The table of what placement achieves, measured by the built binary: `docs/placement.md` holds its result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::step::root;

/// Between these lines the table stands.
const BEGIN: &str = "<!-- measured: cargo xtask placement -->";
const END: &str = "<!-- end of measured -->";

/// Seeds that no constant was chosen by.
const FRESH: u64 = 9_001;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every experiment that ships, with so many fresh seeds: a minute for each seed on two cores.
    Full(u64),
    /// A few, one or two seeds, printed and not written: whether the command works.
    Short,
}

impl Extent {
    const fn seeds(self) -> u64 {
        match self {
            Self::Full(seeds) => seeds,
            Self::Short => 2,
        }
    }

    const fn shapes(self) -> usize {
        match self {
            Self::Full(_) => 96,
            Self::Short => 2,
        }
    }

    /// Shapes that are run again.
    const fn confirmed(self) -> usize {
        match self {
            Self::Full(_) => 5,
            Self::Short => 1,
        }
    }
}

/// The worst ratios of one policy: over which experiment and rate.
#[derive(Clone, Debug, Default)]
struct Worst {
    e2e: (f64, String),
    ttft: (f64, String),
}

pub(crate) fn measure(extent: Extent) -> Result<()> {
    let mut frontier = Vec::new();
    let lines = vec![
        ratios(extent, &mut frontier)?,
        found(extent, &mut frontier)?,
        bounds(extent)?,
        prefixes(extent)?,
        slow_replica(extent)?,
        fuzz(extent)?,
        speed(extent)?,
    ];
    let mut table = String::from("| What | Target | Measured |\n|---|---|---|\n");
    for line in lines.into_iter().flatten() {
        let Line { what, target, measured } = line;
        writeln!(table, "| {what} | {target} | {measured} |")?;
    }
    table.push_str(&columns_off_target(&frontier)?);
    println!("{table}");
    if extent != Extent::Short {
        write(&root().join("docs/placement.md"), &table)?;
    }
    Ok(())
}

struct Line {
    what: String,
    target: &'static str,
    measured: String,
}

/// A ratio as the page has it.
fn shown(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { "∞".to_owned() }
}

fn line(what: impl Into<String>, target: &'static str, measured: impl Into<String>) -> Line {
    Line { what: what.into(), target, measured: measured.into() }
}

/// A column in which our default is above a target.
struct Column {
    place: String,
    /// Whether the fleet keeps up with what is offered.
    keeps_up: bool,
    /// E2E and TTFT p90 over the best of each.
    ours: (f64, f64),
    /// Who has the best TTFT, and that one's E2E p90 over the best.
    quickest: (String, f64),
}

const E2E_TARGET: f64 = 1.03;
const TTFT_TARGET: f64 = 1.15;

/// The column of one rate, where our default is above a target in it.
fn off_target(place: String, rows: &[&Value]) -> Option<Column> {
    let ratio = |row: &Value, key: &str| row["ratio_to_best"][key].as_f64().unwrap_or(f64::INFINITY);
    let ours = rows.iter().find(|row| row["policy"] == "pointsman")?;
    let ratios = (ratio(ours, "e2e_ms.p90"), ratio(ours, "ttft_ms.p90"));
    if ratios.0 <= E2E_TARGET && ratios.1 <= TTFT_TARGET {
        return None;
    }
    let quickest = rows.iter().min_by(|a, b| ratio(a, "ttft_ms.p90").total_cmp(&ratio(b, "ttft_ms.p90")))?;
    let name = quickest["policy"].as_str().unwrap_or_default().to_owned();
    let rate = |key: &str| ours[key].as_f64().unwrap_or(0.0);
    let done = rate("completed_rps") / rate("offered_rps").max(f64::MIN_POSITIVE);
    Some(Column {
        place,
        keeps_up: done >= 0.97,
        ours: ratios,
        quickest: (name, ratio(quickest, "e2e_ms.p90")),
    })
}

/// The frontier between the two targets, for the page.
fn columns_off_target(columns: &[Column]) -> Result<String> {
    if columns.is_empty() {
        return Ok(String::new());
    }
    let mut table = format!(
        "\nColumns above {E2E_TARGET} in E2E p90 or {TTFT_TARGET} in TTFT p90, with what the rule that is best in TTFT pays in E2E:\n\n\
         | Column | Keeps up | E2E p90 | TTFT p90 | Best in TTFT | its E2E p90 |\n|---|---|---|---|---|---|\n"
    );
    for Column { place, keeps_up, ours, quickest } in columns {
        let keeps_up = if *keeps_up { "yes" } else { "no" };
        writeln!(
            table,
            "| {place} | {keeps_up} | {:.3} | {:.2} | {} | {:.3} |",
            ours.0, ours.1, quickest.0, quickest.1
        )?;
    }
    Ok(table)
}

/// Experiments under all their policies.
#[derive(Default)]
struct Swept {
    files: usize,
    columns: usize,
    worst: BTreeMap<String, Worst>,
}

fn sweep(files: &[PathBuf], seeds: u64, frontier: &mut Vec<Column>) -> Result<Swept> {
    let mut swept = Swept { files: files.len(), ..Swept::default() };
    for file in files {
        let name = file.strip_prefix(root().join("experiments")).unwrap_or(file).with_extension("");
        let sweep = simulate(file, seeds, &[])?;
        let rows = sweep["rows"].as_array().context("no rows")?;
        let mut by_rate: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for row in rows {
            by_rate.entry(row["rate"].to_string()).or_default().push(row);
        }
        swept.columns += by_rate.len();
        for (rate, rows) in by_rate {
            let place = format!("{} at {rate}/s", name.display());
            frontier.extend(off_target(place.clone(), &rows));
            for row in rows {
                let policy = row["policy"].as_str().unwrap_or_default().to_owned();
                let entry = swept.worst.entry(policy).or_default();
                for (key, held) in [("e2e_ms.p90", &mut entry.e2e), ("ttft_ms.p90", &mut entry.ttft)] {
                    // A ratio that is no number is infinite: requests failed, or never ended.
                    let ratio = row["ratio_to_best"][key].as_f64().unwrap_or(f64::INFINITY);
                    if ratio > held.0 {
                        *held = (ratio, place.clone());
                    }
                }
            }
        }
    }
    Ok(swept)
}

/// What earlier searches found, again.
fn found(extent: Extent, frontier: &mut Vec<Column>) -> Result<Vec<Line>> {
    let mut files = experiments_in("experiments/found")?;
    if extent == Extent::Short {
        files.truncate(1);
    }
    let Swept { files, worst, .. } = sweep(&files, extent.seeds(), frontier)?;
    let ours = worst.get("pointsman").cloned().context("no row of pointsman")?;
    Ok(vec![line(
        format!("The same over {files} shapes that searches found, none of them shipped before"),
        "≤ 1.10",
        format!("{} ({})", shown(ours.e2e.0), ours.e2e.1),
    )])
}

fn ratios(extent: Extent, frontier: &mut Vec<Column>) -> Result<Vec<Line>> {
    let Swept { files, columns, worst } = sweep(&experiments(extent)?, extent.seeds(), frontier)?;
    let ours = worst.get("pointsman").cloned().context("no row of pointsman")?;
    let peers =
        ["llm-d-blend", "sticky-until-saturated", "sglang-cache-aware", "dynamo-cost", "lpwl", "lmetric"];
    let peers = peers.iter().filter_map(|peer| Some(format!("{peer} {}", shown(worst.get(*peer)?.e2e.0))));
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
    let arguments = ["--policy", "pointsman", "--policy", "central-late-binding", "--rate", "200"];
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
    let mut arguments: Vec<&str> = arms.iter().flat_map(|arm| ["--policy", arm]).collect();
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
    let arguments = ["--policy", "kubernetes-service", "--policy", "pointsman", "--rate", "250"];
    let sweep = simulate(&file, extent.seeds(), &arguments)?;
    let (service, ours) = (p90(&sweep["rows"], "kubernetes-service")?, p90(&sweep["rows"], "pointsman")?);
    Ok(vec![line(
        "One replica 1.6x slower, E2E p90 below a Service's",
        "≥ 25 %",
        format!("{:.0} %", (1.0 - ours / service) * 100.0),
    )])
}

fn fuzz(extent: Extent) -> Result<Vec<Line>> {
    let shapes = extent.shapes();
    let mut lines = Vec::new();
    let mut attacked = vec![("pointsman", "≤ 1.10"), ("lpwl", "≥ 3"), ("sticky-until-saturated", "≥ 2")];
    if extent == Extent::Short {
        attacked.truncate(1);
    }
    for (policy, target) in attacked {
        println!("== search for shapes of load that are bad for {policy}");
        let output = binary()
            .args(["simulate", "fuzz", "--json", "--policy", policy, "--budget", &shapes.to_string()])
            .args(["--confirm", &extent.confirmed().to_string()])
            .output()
            .context("pointsman simulate fuzz")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout)?;
        // A ratio that is no number is infinite: requests failed, or never ended.
        let worst = match found["found"][0].get("e2e_p90").map(Value::as_f64) {
            Some(ratio) => shown(ratio.unwrap_or(f64::INFINITY)),
            None => shown(1.0),
        };
        lines.push(line(
            format!("Worst of {shapes} shapes that a search tried on {policy}, again with 5 fresh seeds"),
            target,
            worst,
        ));
    }
    Ok(lines)
}

fn speed(extent: Extent) -> Result<Vec<Line>> {
    let file = root().join("experiments/gie-blog.yaml");
    let one = ["--policy", "pointsman", "--rate", "250", "--threads", "1"];
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
        let (_, memory) = timed(&file, 10, &["--policy", "pointsman", "--rate", "1000", "--threads", "1"])?;
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

fn binary() -> Command {
    let mut command = Command::new(root().join("target/release/pointsman"));
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        command = Command::new(Path::new(&folder).join("release/pointsman"));
    }
    command.current_dir(root());
    command
}

fn command(file: &Path, seeds: u64, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.arg("simulate").arg(file).arg("--json").args(arguments);
    for seed in FRESH..FRESH + seeds {
        command.args(["--seed", &seed.to_string()]);
    }
    command
}

fn simulate(file: &Path, seeds: u64, arguments: &[&str]) -> Result<Value> {
    println!("== {} {}", file.display(), arguments.join(" "));
    let output = command(file, seeds, arguments).output().context("pointsman simulate")?;
    ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| file.display().to_string())
}

/// Seconds, and the most memory that was resident, in MiB (0 where the system does not tell).
fn timed(file: &Path, seeds: u64, arguments: &[&str]) -> Result<(f64, f64)> {
    println!("== {} {}, timed", file.display(), arguments.join(" "));
    let start = Instant::now();
    let mut child = command(file, seeds, arguments).stdout(std::process::Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    loop {
        if let Some(done) = child.try_wait()? {
            ensure!(done.success(), "{}: {done}", file.display());
            return Ok((start.elapsed().as_secs_f64(), most));
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = most.max(kilobytes.unwrap_or(0.0) / 1_024.0);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn write(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let (head, rest) = text.split_once(BEGIN).context("the page lacks its first mark")?;
    let (_, tail) = rest.split_once(END).context("the page lacks its last mark")?;
    std::fs::write(page, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}"))?;
    Ok(())
}
