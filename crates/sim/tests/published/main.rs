//! The engine model against published measurements. The tables of `docs/engine-model.md` are computed here and compared with
//! the page, which must be updated after a change to the model or a profile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod figures;
mod fleet;
mod lengths;

use figures::Table;

const PAGE: &str = include_str!("../../../../docs/engine-model.md");

fn check(name: &str, table: &Table) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let on_page = PAGE.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(table, _)| table);
    let computed = table.render();
    assert_eq!(
        on_page,
        Some(computed.as_str()),
        "docs/engine-model.md should hold:\n{begin}{computed}{end}\n"
    );
}

#[test]
fn step_times_are_within_fifteen_percent_of_measurements() {
    let table = figures::step_times();
    check("step times", &table);
    for row in &table.rows {
        assert!(row.miss().abs() < 0.15, "{}: {:.3}", row.what, row.miss());
    }
}

#[test]
fn a_saturated_engine_agrees_with_the_closed_form() {
    let table = figures::closed_form();
    check("closed form", &table);
    for row in &table.rows {
        assert!(row.miss().abs() < 0.08, "{}: {:.3}", row.what, row.miss());
    }
}

#[test]
fn upstreams_benchmark_agrees_in_throughput_and_is_bracketed_in_latency() {
    let table = figures::sample();
    check("sample", &table);
    let row = |what: &str| table.rows.iter().find(|row| row.what.contains(what)).unwrap();
    for what in ["requests/s", "duration", "output tokens/s"] {
        assert!(row(what).miss().abs() < 0.05, "{what}: {:.3}", row(what).miss());
    }
    // The load generator lagged its rate: its latencies lie between the model's at two offered rates.
    for what in ["E2E mean", "E2E p50", "E2E p90", "E2E p99"] {
        let row = row(what);
        assert!(row.others[0] < row.published && row.published < row.ours, "{what}");
    }
}

#[test]
fn ten_engines_agree_with_a_second_implementation_below_the_knee() {
    let table = figures::second_implementation();
    check("second implementation", &table);
    for row in table.rows.iter().filter(|row| row.what.starts_with("150") || row.what.starts_with("250")) {
        assert!(row.miss().abs() < 0.10, "{}: {:.3}", row.what, row.miss());
    }
}
