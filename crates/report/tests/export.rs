//! Files for other tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sample;

use std::collections::BTreeSet;

use pointsman_report::export::{ExportFile, inference_perf_files, lpg_files};
use pointsman_report::{Rng, Sweep};
use sample::{experiment, failing, run, sweep};
use serde_json::Value;

fn file<'a>(files: &'a [ExportFile], path: &str) -> &'a Value {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    &files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is not in {paths:?}")).json
}

fn near(found: &Value, expect: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expect).abs() < 1e-6 * expect.abs().max(1.0), "{found}, not {expect}");
}

/// The names are those that `CORE_METRICS` and `SANITY_CHECK_METRICS` of the notebook plot.
#[test]
fn lpg_files_have_the_columns_of_the_extensions_notebook() {
    let files = lpg_files(&sweep());
    let json = file(&files, "pointsman/results/json/llama-2-7b-100qps.json");
    let metrics = &json["metrics"];
    near(&metrics["request_rate"], 100.0);
    near(&metrics["output_tokens_per_min"], 60.0 * 66_000.0 / (6.0 * 10.1));
    // Seed s takes 0.8 × (2000 + 20 s) µs per rank; numpy's p90 of 1..1000 is 900.1.
    near(&metrics["p90_latency"], 900.1 * 1.6 * 1.035);
    near(&metrics["p90_per_output_token_latency"], 900.1 * 1.6 * 1.035 / 11.0);
    near(&metrics["num_prompts_attempted"], 6_000.0);
    near(&metrics["num_prompts_succeeded"], 6_000.0);
    near(&metrics["benchmark_time"], 60.6);
    near(&metrics["throughput_rps"], 6_000.0 / 60.6);
    near(&metrics["avg_output_len"], 11.0);
    near(&metrics["avg_input_len"], 100.0);
    near(&metrics["avg_TTFT"], 0.5005 * 0.16 * 1.035);
    near(&json["config"]["num_models"], 1.0);
    assert!(metrics["server_metrics"].as_object().unwrap().is_empty());
}

/// The notebook drops rows that have no value in any column.
#[test]
fn all_lpg_files_have_the_same_numeric_columns() {
    let without_tokens = failing(run("a", 10.0, 1, 1_000), 1_000, 1_000);
    let sweep = Sweep::new(experiment(), &[without_tokens, run("b", 10.0, 1, 1_000)], &mut Rng::seeded(1));
    let columns = |file: &ExportFile| -> BTreeSet<String> {
        let metrics = file.json["metrics"].as_object().unwrap();
        assert!(
            metrics.iter().all(|(key, value)| key == "server_metrics" || value.is_number()),
            "{metrics:?}"
        );
        metrics.keys().cloned().collect()
    };
    let files = lpg_files(&sweep);
    assert_eq!(columns(&files[0]), columns(&files[1]));
}

#[test]
fn inference_perf_files_are_stages() {
    let files = inference_perf_files(&sweep());
    assert_eq!(files.len(), 6);
    let json = file(&files, "round-robin/stage_1_lifecycle_metrics.json");
    near(&json["load_summary"]["requested_rate"], 100.0);
    near(&json["load_summary"]["count"], 6_000.0);
    let latency = &json["successes"]["latency"];
    near(&latency["request_latency"]["mean"], 0.5005 * 2.0 * 1.035);
    near(&latency["request_latency"]["p90"], 0.9001 * 2.0 * 1.035);
    near(&latency["normalized_time_per_output_token"]["median"], 0.5005 * 2.0 * 1.035 / 11.0);
    near(&latency["time_to_first_token"]["max"], 0.1 * 2.0 * 1.06);
    assert!(
        latency["request_latency"]["p99.9"].is_number() && latency["request_latency"]["p0.1"].is_number()
    );
    assert_eq!(latency["inter_token_latency"], Value::Null);
    assert_eq!(json["failures"]["count"], 0);
}

#[test]
fn the_deviation_is_of_the_pooled_requests() {
    let sweep =
        Sweep::new(experiment(), &[run("a", 10.0, 1, 1_000), run("a", 10.0, 2, 3_000)], &mut Rng::seeded(1));
    let files = lpg_files(&sweep);
    let mut values: Vec<f64> = (1..=1_000).map(f64::from).collect();
    values.extend((1..=1_000).map(|rank| 3.0 * f64::from(rank)));
    let mean = values.iter().sum::<f64>() / 2_000.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2_000.0;
    near(&files[0].json["metrics"]["avg_latency"], mean);
    near(&files[0].json["metrics"]["sd_latency"], variance.sqrt());
    near(&files[0].json["metrics"]["max_latency"], 3_000.0);
}

#[test]
fn names_cannot_escape_the_folder() {
    for name in ["../../etc/passwd", "..", "http://127.0.0.1:8080/", "a\\b"] {
        let sweep = Sweep::new(experiment(), &[run(name, 10.0, 1, 1_000)], &mut Rng::seeded(1));
        for file in lpg_files(&sweep).into_iter().chain(inference_perf_files(&sweep)) {
            let parts: Vec<&str> = file.path.split('/').collect();
            assert!(!parts.contains(&"..") && !parts.contains(&""), "{}", file.path);
            assert!(!file.path.contains('\\') && !file.path.contains(':'), "{}", file.path);
        }
    }
}
