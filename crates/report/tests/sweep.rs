//! Sweeps: values, intervals, knees, JSON and tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sample;

use pointsman_report::sweep::{Knee, State, sweep_json, sweep_table};
use pointsman_report::{Experiment, Level, Measure, Rng, SeedResult, Statistic, Sweep};
use sample::{experiment, failing, results, run, sweep};
use serde_json::{Value, json};

const E2E_P90: Statistic = Statistic { measure: Measure::E2e, level: Level::P90 };

fn of(results: &[SeedResult]) -> Sweep {
    Sweep::new(experiment(), results, &mut Rng::seeded(1))
}

fn near(found: f64, expect: f64) -> bool {
    (found - expect).abs() < 1e-9 * expect.abs().max(1.0)
}

#[test]
fn a_value_is_the_mean_of_the_quantiles_of_runs() {
    let sweep = sweep();
    let row = sweep.of("round-robin").next().unwrap();
    // p90 of run s is 900 × 1000 µs × (1 + s/100); the mean of s over six seeds is 3.5.
    assert!(near(row.value(E2E_P90).unwrap(), 900.0 * 1.035));
    assert_eq!((row.seeds, row.offered, row.completed), (6, 6_000, 6_000));
    assert!(near(row.offered_rps, 50.0) && near(row.hit_rate.unwrap(), 0.25));
}

#[test]
fn the_interval_is_of_the_value_and_the_comparison_is_paired() {
    let sweep = sweep();
    let row = sweep.of("pointsman").next().unwrap();
    let own = row.interval95.latency.get(E2E_P90).unwrap();
    let value = row.value(E2E_P90).unwrap();
    assert!(own.low < value && value < own.high && own.high - own.low > 5.0, "{own:?} of {value}");
    let against = row.against_baseline[&E2E_P90];
    let interval = against.interval95.unwrap();
    assert!(near(against.ratio, 0.8), "{against:?}");
    assert!(interval.high - interval.low < 1e-6, "pairing removes what the seeds share: {interval:?}");
    assert!(sweep.of("round-robin").all(|row| row.against_baseline.is_empty()));
}

#[test]
fn intervals_need_five_runs() {
    for (seeds, expect) in [(1, false), (4, false), (5, true), (6, true), (20, true)] {
        let runs: Vec<SeedResult> = (1..=seeds).map(|seed| run("a", 10.0, seed, 1_000 + seed)).collect();
        let sweep = of(&runs);
        assert_eq!(sweep.rows[0].interval95.latency.get(E2E_P90).is_some(), expect, "{seeds} seeds");
        assert_eq!(sweep.rows[0].interval95.completed_rps.is_some(), expect, "{seeds} seeds");
    }
}

#[test]
fn failures_in_one_run_make_the_value_infinite() {
    let mut runs: Vec<SeedResult> = (1..=6).map(|seed| run("a", 10.0, seed, 1_000)).collect();
    runs[2] = failing(run("a", 10.0, 3, 1_000), 150, 1_000);
    let sweep = of(&runs);
    let row = &sweep.rows[0];
    assert_eq!(row.value(E2E_P90), Some(f64::INFINITY));
    assert!(row.value(Statistic { level: Level::P50, ..E2E_P90 }).unwrap().is_finite());
    assert_eq!(row.interval95.latency.get(E2E_P90), None);
    let json = sweep_json(&sweep);
    assert_eq!(json["rows"][0]["e2e_ms"]["p90"], Value::Null);
    assert_eq!(json["rows"][0]["failed"], 150);
    assert_eq!(json["rows"][0]["interval95"].get("e2e_ms.p90"), None);
    assert!(json["rows"][0]["interval95"].get("e2e_ms.p50").is_some());
    assert!(sweep_table(&sweep, 200).contains('∞'));
    assert_eq!(sweep.worst_ratios(E2E_P90), [("a", None)]);
}

#[test]
fn the_order_of_runs_does_not_matter() {
    let mut shuffled = results();
    shuffled.sort_by_key(|result| std::cmp::Reverse(result.seed));
    assert_eq!(of(&shuffled), sweep());
    let twice: Vec<SeedResult> = results().into_iter().chain(results()).collect();
    assert_eq!(of(&twice), sweep(), "a run that was recorded twice counts once");
}

#[test]
fn knees_lie_between_a_stable_and_an_unstable_rate() {
    let sweep = sweep();
    let knee = |policy: &str, unstable| Knee { policy: policy.to_owned(), stable: Some(50.0), unstable };
    let all_stable = Knee { stable: Some(100.0), ..knee("pointsman", None) };
    assert_eq!(sweep.knees, [knee("round-robin", Some(100.0)), all_stable]);
    assert_eq!(
        sweep.of("round-robin").map(|row| row.state).collect::<Vec<_>>(),
        [State::Stable, State::Overloaded]
    );
    let searched = Knee { stable: Some(81.0), ..knee("round-robin", Some(84.0)) };
    assert_eq!(sweep.with_knees(vec![searched.clone()]).knees[0], searched);
}

#[test]
fn bounds_are_not_policies() {
    let sweep = sweep();
    assert_eq!(sweep.policies(), ["round-robin", "pointsman"]);
    let worst = sweep.worst_ratios(E2E_P90);
    assert!(near(worst[0].1.unwrap(), 1.25) && near(worst[1].1.unwrap(), 1.0), "{worst:?}");
    assert!(near(sweep.bounds[0].ratio_to_best(E2E_P90).unwrap(), 0.625));
    let json = sweep_json(&sweep);
    assert_eq!(json["rows"].as_array().unwrap().len(), 4);
    assert_eq!(json["bounds"].as_array().unwrap().len(), 2);
}

#[test]
fn json_has_stable_keys() {
    let json = sweep_json(&sweep());
    let row = &json["rows"][1];
    let quantiles = |step: f64| json!({"p50": 500.0 * step, "p90": 900.0 * step, "p99": 990.0 * step});
    let close = |found: &Value, expect: &Value| {
        for key in ["p50", "p90", "p99"] {
            assert!(
                near(found[key].as_f64().unwrap(), expect[key].as_f64().unwrap()),
                "{found} not {expect}"
            );
        }
    };
    assert_eq!(row["policy"], "pointsman");
    assert_eq!(row["rate"], 50.0);
    assert_eq!(row["seeds"], 6);
    assert_eq!(row["rejected"], 0);
    assert_eq!(row["hit_rate"], 0.5);
    assert_eq!(row["state"], "stable");
    assert!(near(row["offered_rps"].as_f64().unwrap(), 50.0));
    assert!(near(row["completed_rps"].as_f64().unwrap(), 50.0));
    close(&row["e2e_ms"], &quantiles(0.828));
    close(&row["ttft_ms"], &quantiles(0.0828));
    close(&row["ntpot_ms"], &quantiles(0.828 / 11.0));
    close(&row["tpot_ms"], &quantiles(0.0745_2));
    let interval = row["interval95"]["e2e_ms.p90"].as_array().unwrap();
    assert!(interval.len() == 2 && interval[0].as_f64() < interval[1].as_f64());
    let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "against_baseline",
            "completed",
            "completed_rps",
            "e2e_ms",
            "failed",
            "hit_rate",
            "interval95",
            "ntpot_ms",
            "offered",
            "offered_rps",
            "output_tokens_per_second",
            "policy",
            "rate",
            "ratio_to_best",
            "rejected",
            "seeds",
            "state",
            "tpot_ms",
            "ttft_ms",
            "unfinished",
        ]
    );
}

#[test]
fn there_is_a_table_per_rate() {
    let expect = "\
50.0/s offered

policy            completed  E2E p50  × best  E2E p90    95 % interval  × best  NTPOT p90  × best  TTFT p90  × best  hit rate
----------------  ---------  -------  ------  -------  ---------------  ------  ---------  ------  --------  ------  --------
round-robin          50.0/s   518 ms    1.25   932 ms  915 ms – 950 ms    1.25    84.7 ms    1.25   93.1 ms    1.25    25.0 %
pointsman            50.0/s   414 ms    1.00   745 ms  732 ms – 758 ms    1.00    67.7 ms    1.00   74.5 ms    1.00    50.0 %
(infinite-cache)     50.0/s   259 ms    0.62   466 ms  458 ms – 474 ms    0.63    42.3 ms    0.62   46.6 ms    0.62    90.0 %
";
    let text = sweep_table(&sweep(), 200);
    assert!(text.starts_with(expect), "{text}");
}

#[test]
fn a_narrow_terminal_gets_fewer_columns() {
    for width in [200, 140, 120, 100, 80] {
        let text = sweep_table(&sweep(), width);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        assert!(
            text.contains("E2E p90") && text.contains("TTFT p90") && text.contains("overloaded"),
            "{text}"
        );
        assert!(!text.contains("policy: "), "{width}: still a table:\n{text}");
    }
    assert!(sweep_table(&sweep(), 30).contains("policy: round-robin"));
}

#[test]
fn the_overview_has_knees_and_worst_ratios() {
    let text = sweep_table(&sweep(), 100);
    let line = |name: &str| text.lines().rfind(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(
        line("round-robin").split_whitespace().collect::<Vec<_>>(),
        ["round-robin", "50.0/s", "100/s", "1.25", "1.25"]
    );
    assert_eq!(
        line("pointsman").split_whitespace().collect::<Vec<_>>(),
        ["pointsman", "100/s", "–", "1.00", "1.00"]
    );
}

#[test]
fn missing_runs_are_noted() {
    let mut some = results();
    some.retain(|run| run.policy != "pointsman" || run.seed < 3);
    let sweep = of(&some);
    let text = sweep_table(&sweep, 200);
    assert_eq!(text.matches("2 of 6 runs").count(), 2, "{text}");
    assert!(pointsman_report::html(&sweep).contains("2 of 6 runs"));
    assert!(!sweep_table(&self::sweep(), 200).contains("of 6 runs"));
}

#[test]
fn a_sweep_without_results_is_empty() {
    let sweep = Sweep::new(Experiment::default(), &[], &mut Rng::seeded(1));
    assert!(sweep.rows.is_empty() && sweep.policies().is_empty() && sweep.rates().is_empty());
    assert_eq!(sweep_json(&sweep)["rows"], json!([]));
    assert_eq!(sweep_table(&sweep, 80), "");
}

#[test]
fn results_round_trip_through_json() {
    let text = serde_json::to_string(&results()).unwrap();
    let back: Vec<SeedResult> = serde_json::from_str(&text).unwrap();
    assert_eq!(of(&back), sweep());
}
