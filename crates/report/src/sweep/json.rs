//! A sweep as JSON.

use serde_json::{Value, json};

use super::result::Sweep;

/// A sweep as JSON for scripts: `{"origin": "simulated", "rows": […], "bounds": […], …}`.
///
/// A row has `policy`, `rate`, `seeds`, `offered_rps`, `completed_rps`, `rejected`, `hit_rate`,
/// `ttft_ms`, `tpot_ms`, `ntpot_ms` and `e2e_ms` (each with `p50`, `p90` and `p99`), `interval95`
/// (`{"e2e_ms.p90": [low, high]}`), `itl_ms` where it was measured, the counts `offered`, `completed`,
/// `failed` and `unfinished`, `state`, `output_tokens_per_second`, `ratio_to_best` and
/// `against_baseline`. A latency is `null` where no request was measured or where failures reach the
/// quantile. Rows of bounds have the same keys.
#[must_use]
pub fn sweep_json(sweep: &Sweep) -> Value {
    let experiment = &sweep.experiment;
    // Cannot fail: all keys are strings, and non-finite floats become null.
    json!({
        "origin": experiment.origin,
        "title": experiment.title,
        "baseline": experiment.baseline,
        "command": experiment.command,
        "version": experiment.version,
        "seeds": sweep.seeds,
        "rows": sweep.rows,
        "bounds": sweep.bounds,
        "knees": sweep.knees,
    })
}
