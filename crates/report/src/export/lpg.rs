//! The format of LPG, the latency profile generator.

use serde_json::{Map, Value, json};

use super::file::{ExportFile, path_part};
use super::pooled::{PooledSummary, Totals};
use crate::Measure;
use crate::sweep::{Sweep, SweepRow};

/// One file per policy and rate as LPG (`benchmark_serving.py` of AI-Hypercomputer/inference-benchmark,
/// commit `01f9911`) writes it, laid out as the notebook of the Gateway API Inference Extension
/// (`tools/benchmark/benchmark.ipynb`, commit `ca0e00d`) reads it:
/// `POLICY/results/json/MODEL-RATEqps.json`, with the policy as the notebook's label.
///
/// Names and units are those of LPG: `latency` and `per_output_token_latency` (end to end over output tokens,
/// which its `summary_stats` call `tpot`) are milliseconds, `TTFT` and `ITL` seconds, `throughput` is
/// output tokens per second. As in LPG, latencies are of completed requests only, and `throughput_rps` is
/// attempted requests over the time including the drain. Runs of several seeds are pooled. All files of a
/// sweep have the same columns, because the notebook drops files that lack one. Lengths have means only,
/// because a sweep does not keep the length of each request.
#[must_use]
pub fn lpg_files(sweep: &Sweep) -> Vec<ExportFile> {
    let streamed = [Measure::Ttft, Measure::Itl].map(|measure| sweep.measures(measure));
    let rows = sweep.rows.iter().chain(&sweep.bounds);
    rows.map(|row| ExportFile {
        path: format!(
            "{}/results/json/{}-{}qps.json",
            path_part(&row.policy),
            path_part(model(sweep)),
            row.rate
        ),
        json: file(sweep, row, streamed),
    })
    .collect()
}

fn model(sweep: &Sweep) -> &str {
    if sweep.experiment.model.is_empty() { "model" } else { &sweep.experiment.model }
}

fn file(sweep: &Sweep, row: &SweepRow, [ttft, itl]: [bool; 2]) -> Value {
    let totals = Totals::new(row);
    let latency = PooledSummary::new(row, Measure::E2e);
    let per_token = PooledSummary::new(row, Measure::Ntpot);
    let mut metrics = traffic(row, totals);
    add(&mut metrics, "latency", latency);
    add(&mut metrics, "per_output_token_latency", per_token);
    if ttft {
        add(&mut metrics, "TTFT", PooledSummary::new(row, Measure::Ttft).scaled(1e-3));
    }
    if itl {
        add(&mut metrics, "ITL", PooledSummary::new(row, Measure::Itl).scaled(1e-3));
    }
    json!({
        "metrics": metrics,
        "dimensions": {"backend": "vllm", "model_id": model(sweep), "tokenizer_id": model(sweep)},
        "config": {"model": model(sweep), "num_models": 1, "model_server": "vllm"},
        "summary_stats": {"stats": [{
            "request_rate": row.rate,
            "request_latency": stats(latency),
            "throughput": {"mean": totals.per_second(totals.output_tokens)},
            "input_length": {"mean": totals.per_request(totals.prompt_tokens)},
            "output_length": {"mean": totals.per_request(totals.output_tokens)},
            "tpot": stats(per_token),
            "model_server_metrics": [],
        }]},
    })
}

fn traffic(row: &SweepRow, totals: Totals) -> Map<String, Value> {
    let tokens = totals.prompt_tokens + totals.output_tokens;
    let offered = Value::from(row.offered);
    let number = |value: f64| Value::from(value);
    [
        ("num_prompts_attempted", offered),
        ("num_prompts_succeeded", Value::from(row.completed)),
        ("request_rate", number(row.rate)),
        ("server_metrics", json!({})),
        ("benchmark_time", number(totals.seconds)),
        ("throughput_rps", number(totals.per_second(row.runs.iter().map(|run| count(run.offered)).sum()))),
        ("throughput", number(totals.per_second(totals.output_tokens))),
        ("output_tokens_per_min", number(60.0 * totals.per_second(totals.output_tokens))),
        ("total_output_token", number(totals.output_tokens)),
        ("input_tokens_per_sec", number(totals.per_second(totals.prompt_tokens))),
        ("input_tokens_per_min", number(60.0 * totals.per_second(totals.prompt_tokens))),
        ("total_input_tokens", number(totals.prompt_tokens)),
        ("tokens_per_sec", number(totals.per_second(tokens))),
        ("tokens_per_min", number(60.0 * totals.per_second(tokens))),
        ("total_tokens", number(tokens)),
        ("avg_input_len", number(totals.per_request(totals.prompt_tokens))),
        ("avg_output_len", number(totals.per_request(totals.output_tokens))),
        ("failed", Value::from(row.failed + row.unfinished)),
        ("rejected", Value::from(row.rejected)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn count(of: u64) -> f64 {
    of as f64
}

fn parts(measure: PooledSummary) -> [(&'static str, f64); 7] {
    [
        ("avg", measure.mean),
        ("median", measure.percentile(50.0)),
        ("sd", measure.deviation),
        ("min", measure.min),
        ("max", measure.max),
        ("p90", measure.percentile(90.0)),
        ("p99", measure.percentile(99.0)),
    ]
}

fn add(metrics: &mut Map<String, Value>, name: &str, measure: PooledSummary) {
    for (part, value) in parts(measure) {
        metrics.insert(format!("{part}_{name}"), Value::from(value));
    }
}

fn stats(measure: PooledSummary) -> Value {
    let name = |part: &str| if part == "avg" { "mean".to_owned() } else { part.to_owned() };
    parts(measure)
        .into_iter()
        .map(|(part, value)| (name(part), Value::from(value)))
        .collect::<Map<_, _>>()
        .into()
}
