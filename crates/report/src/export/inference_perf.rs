//! The format of inference-perf.

use serde_json::{Map, Value, json};

use super::file::{ExportFile, path_part};
use super::pooled::{PooledSummary, Totals};
use crate::Measure;
use crate::sweep::{PERCENTILES, Sweep, SweepRow};

/// One folder per policy as inference-perf writes it: `POLICY/stage_N_lifecycle_metrics.json`, a stage
/// per rate, which its `--analyze` and the converters of other projects read.
///
/// Names after the results in `demos/kubecon-na-2025` (commit `1f71f19`) and `analysis/analyze.py`
/// (commit `023a1a6`) of kubernetes-sigs/inference-perf: times are seconds, and `successes.latency` is of
/// completed requests only, with mean, minimum, eleven percentiles and maximum of each measure. Runs of several
/// seeds are pooled in one stage. Lengths have means only, and failures have no latencies, because a sweep does
/// not keep them per request.
#[must_use]
pub fn inference_perf_files(sweep: &Sweep) -> Vec<ExportFile> {
    let bounds = crate::sweep::names(&sweep.bounds);
    let policies = sweep.policies().into_iter().chain(bounds);
    policies
        .flat_map(|policy| {
            sweep.rows.iter().chain(&sweep.bounds).filter(move |row| row.policy == policy).enumerate()
        })
        .map(|(stage, row)| ExportFile {
            path: format!("{}/stage_{stage}_lifecycle_metrics.json", path_part(&row.policy)),
            json: file(row),
        })
        .collect()
}

fn file(row: &SweepRow) -> Value {
    let totals = Totals::new(row);
    let mut latency = Map::new();
    let measures = [
        ("request_latency", Measure::E2e),
        ("normalized_time_per_output_token", Measure::Ntpot),
        ("time_per_output_token", Measure::Tpot),
        ("time_to_first_token", Measure::Ttft),
        ("inter_token_latency", Measure::Itl),
    ];
    for (name, measure) in measures {
        latency.insert(name.to_owned(), summary(PooledSummary::new(row, measure).scaled(1e-3)));
    }
    let tokens = totals.prompt_tokens + totals.output_tokens;
    json!({
        "load_summary": {
            "count": row.offered,
            "send_duration": totals.arrival_seconds,
            "requested_rate": row.rate,
            "achieved_rate": row.offered_rps,
        },
        "successes": {
            "count": row.completed,
            "latency": latency,
            "throughput": {
                "input_tokens_per_sec": totals.per_second(totals.prompt_tokens),
                "output_tokens_per_sec": totals.per_second(totals.output_tokens),
                "total_tokens_per_sec": totals.per_second(tokens),
                "requests_per_sec": totals.per_second(totals.completed),
            },
            "prompt_len": {"mean": totals.per_request(totals.prompt_tokens)},
            "output_len": {"mean": totals.per_request(totals.output_tokens)},
        },
        "failures": {
            "count": row.offered - row.completed.min(row.offered),
            "request_latency": null,
            "prompt_len": null,
        },
    })
}

/// `null` for a measure that was not observed, as in inference-perf.
fn summary(measure: PooledSummary) -> Value {
    if measure.count == 0 {
        return Value::Null;
    }
    let mut map = Map::new();
    map.insert("mean".to_owned(), Value::from(measure.mean));
    map.insert("min".to_owned(), Value::from(measure.min));
    for percent in PERCENTILES {
        let name = if percent == 50.0 { "median".to_owned() } else { format!("p{percent}") };
        map.insert(name, Value::from(measure.percentile(percent)));
    }
    map.insert("max".to_owned(), Value::from(measure.max));
    map.into()
}
