//! Experiments under several rules, and the ratio of each rule's latency to the best rule's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::binary::simulate;
use crate::step::root;

/// Name of the default rule in results.
const DEFAULT: &str = "pointsman";
/// Targets for the p90 of the default rule over that of the best rule.
const E2E_TARGET: f64 = 1.03;
const TTFT_TARGET: f64 = 1.15;

/// Results of several experiments. A column is one rate of one experiment.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) files: usize,
    pub(super) columns: usize,
    pub(super) worst: BTreeMap<String, Worst>,
}

/// The largest ratios of one rule to the best rule's p90, and the columns where they occur.
#[derive(Clone, Debug, Default)]
pub(super) struct Worst {
    pub(super) e2e: (f64, String),
    pub(super) ttft: (f64, String),
}

impl Sweep {
    /// Runs the experiments. The columns where the default rule misses a target are appended to `missed`.
    pub(super) fn run(files: &[PathBuf], seeds: u64, missed: &mut Vec<MissedTarget>) -> Result<Self> {
        let mut sweep = Self { files: files.len(), ..Self::default() };
        for file in files {
            let name = file.strip_prefix(root().join("experiments")).unwrap_or(file).with_extension("");
            let result = simulate(file, seeds, &[])?;
            let mut by_rate: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
            for row in result["rows"].as_array().context("no rows")? {
                by_rate.entry(row["rate"].to_string()).or_default().push(row);
            }
            sweep.columns += by_rate.len();
            for (rate, rows) in by_rate {
                let column = format!("{} at {rate}/s", name.display());
                missed.extend(MissedTarget::of_column(&column, &rows));
                for row in rows {
                    sweep.add(&column, row);
                }
            }
        }
        Ok(sweep)
    }

    /// The worst ratios of the default rule.
    pub(super) fn default_rule(&self) -> Result<&Worst> {
        self.worst.get(DEFAULT).with_context(|| format!("no row of {DEFAULT}"))
    }

    fn add(&mut self, column: &str, row: &Value) {
        let rule = row["policy"].as_str().unwrap_or_default().to_owned();
        let worst = self.worst.entry(rule).or_default();
        for (key, largest) in [("e2e_ms.p90", &mut worst.e2e), ("ttft_ms.p90", &mut worst.ttft)] {
            let ratio = ratio(row, key);
            if ratio > largest.0 {
                *largest = (ratio, column.to_owned());
            }
        }
    }
}

/// The ratio of a row's statistic to the best rule's; infinite where requests failed or did not end, which JSON has as
/// null.
fn ratio(row: &Value, key: &str) -> f64 {
    row["ratio_to_best"][key].as_f64().unwrap_or(f64::INFINITY)
}

/// A column where the default rule is above a target.
pub(super) struct MissedTarget {
    column: String,
    keeps_up: bool,
    /// Ratios of the default rule.
    e2e: f64,
    ttft: f64,
    /// The rule with the best TTFT p90, and the ratio of its E2E p90.
    best_in_ttft: (String, f64),
}

impl MissedTarget {
    fn of_column(column: &str, rows: &[&Value]) -> Option<Self> {
        let default = rows.iter().find(|row| row["policy"] == DEFAULT)?;
        let (e2e, ttft) = (ratio(default, "e2e_ms.p90"), ratio(default, "ttft_ms.p90"));
        if e2e <= E2E_TARGET && ttft <= TTFT_TARGET {
            return None;
        }
        let best = rows.iter().min_by(|a, b| ratio(a, "ttft_ms.p90").total_cmp(&ratio(b, "ttft_ms.p90")))?;
        let rule = best["policy"].as_str().unwrap_or_default().to_owned();
        Some(Self {
            column: column.to_owned(),
            keeps_up: default["state"] == "stable",
            e2e,
            ttft,
            best_in_ttft: (rule, ratio(best, "e2e_ms.p90")),
        })
    }

    /// The missed targets as a table; empty where there are none.
    pub(super) fn table(missed: &[Self]) -> Result<String> {
        if missed.is_empty() {
            return Ok(String::new());
        }
        let mut table = format!(
            "\nColumns above {E2E_TARGET} in E2E p90 or {TTFT_TARGET} in TTFT p90, and the E2E p90 of the rule with the best TTFT:\n\n\
             | Column | Keeps up | E2E p90 | TTFT p90 | Best in TTFT | its E2E p90 |\n|---|---|---|---|---|---|\n"
        );
        for Self { column, keeps_up, e2e, ttft, best_in_ttft: (rule, best_e2e) } in missed {
            let keeps_up = if *keeps_up { "yes" } else { "no" };
            writeln!(table, "| {column} | {keeps_up} | {e2e:.3} | {ttft:.2} | {rule} | {best_e2e:.3} |")?;
        }
        Ok(table)
    }
}
