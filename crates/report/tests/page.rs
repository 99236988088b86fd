//! Plots and the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sample;

use pointsman_report::plot::{Plot, plots};
use pointsman_report::sweep::{Origin, Role};
use pointsman_report::{
    Experiment, Level, Measure, Rng, SeedResult, Statistic, Sweep, html, millis, per_second, percent,
    report_files,
};
use roxmltree::{Document, ParsingOptions};
use sample::{experiment, failing, results, run, sweep};

fn of(results: &[SeedResult]) -> Sweep {
    Sweep::new(experiment(), results, &mut Rng::seeded(1))
}

/// Sweeps that broke, or could break, a report.
fn hard_cases() -> Vec<(&'static str, Sweep)> {
    let many: Vec<SeedResult> = (0..30)
        .flat_map(|index| {
            let name = format!("policy-number-{index}-with-a-rather-long-name");
            [10.0, 20.0].map(|rate| run(&name, rate, 1, 1_000 + 10 * index))
        })
        .collect();
    let all_failed = vec![failing(run("a", 10.0, 1, 1_000), 1_000, 1_000)];
    let mut some_failed = results();
    some_failed[0] = failing(some_failed[0].clone(), 200, 1_000);
    let mut broken = vec![run("a", 10.0, 1, 1_000), run("a", f64::MAX, 1, 1_000)];
    broken[0].completed_rps = f64::NAN;
    broken[0].arrival_seconds = 0.0;
    let mut nothing_done = run("a", 10.0, 1, 1_000);
    (nothing_done.offered, nothing_done.completed, nothing_done.completed_rps) = (0, 0, 0.0);
    let mut bounds_only = run("a", 10.0, 1, 1_000);
    bounds_only.role = Role::Bound;
    let mut markup = run("</svg><script>alert(1)</script>&\u{1}", 10.0, 1, 1_000);
    markup.endpoints = sample::endpoints(40, 1_000);
    vec![
        ("empty", Sweep::new(Experiment::default(), &[], &mut Rng::seeded(1))),
        ("the sample", sweep()),
        ("one row", of(&[run("a", 10.0, 1, 1_000)])),
        ("thirty policies", of(&many)),
        ("only failures", of(&all_failed)),
        ("some failures", of(&some_failed)),
        ("figures that are no numbers", of(&broken)),
        ("nothing arrived", of(&[nothing_done])),
        ("only a bound", of(&[bounds_only])),
        ("markup in a name", of(&[markup])),
    ]
}

#[test]
fn every_plot_is_well_formed_and_finite() {
    for (case, sweep) in hard_cases() {
        for plot in plots(&sweep) {
            let svg = plot.svg();
            let document =
                Document::parse(&svg).unwrap_or_else(|error| panic!("{case}, {}: {error}", plot.name));
            assert!(
                document.descendants().any(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")))
            );
            assert!(!svg.contains("NaN") && !svg.contains("\"inf"), "{case}, {}", plot.name);
        }
    }
}

#[test]
fn names_of_plots_are_unique_file_names() {
    let found = plots(&sweep());
    let mut names: Vec<&str> = found.iter().map(|plot| plot.name.as_str()).collect();
    assert!(
        names.contains(&"e2e-p90") && names.contains(&"throughput") && names.contains(&"load"),
        "{names:?}"
    );
    assert!(
        names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-'))
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), found.len());
}

/// The page works offline and does not report that it is read.
#[test]
fn the_page_is_well_formed_and_self_contained() {
    for (case, sweep) in hard_cases() {
        let page = html(&sweep);
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document =
            Document::parse_with_options(&page, options).unwrap_or_else(|error| panic!("{case}: {error}"));
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            assert!(
                !["script", "link", "img", "iframe", "object", "use", "image"].contains(&name),
                "{case}: {name}"
            );
            for attribute in node.attributes() {
                let fetches = ["src", "href", "srcset", "action", "data"].contains(&attribute.name());
                assert!(!fetches, "{case}: {} of {name}", attribute.name());
            }
        }
        assert!(!page.contains("url(") && !page.contains("@import"), "{case}");
        let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{case}: ids are unique");
    }
}

#[test]
fn the_page_has_the_values_of_the_rows() {
    let sweep = sweep();
    let page = html(&sweep);
    for row in sweep.rows.iter().chain(&sweep.bounds) {
        for (measure, level) in
            [(Measure::E2e, Level::P50), (Measure::E2e, Level::P90), (Measure::Ttft, Level::P99)]
        {
            let text = format!("<td>{}", millis(row.value(Statistic { measure, level })));
            assert!(page.contains(&text), "{text} of {}", row.policy);
        }
        assert!(page.contains(&format!("<td>{}</td>", per_second(Some(row.completed_rps)))));
        assert!(page.contains(&format!("<td>{}</td>", percent(row.hit_rate))));
    }
    assert!(page.contains("−20.0 %"), "pointsman takes four fifths of the baseline's time");
    assert!(page.contains("<span class=\"state\">overloaded</span>"));
}

#[test]
fn the_page_has_the_command_and_the_seeds() {
    let page = html(&sweep());
    for expect in [
        "Ten &lt;replicas&gt; &amp; one question",
        "Second paragraph.",
        "pointsman simulate experiments/ten.yaml --seeds 6",
        "seeds 1, 2, 3, 4, 5, 6",
        "fleet: {replicas: 10}",
        "prefers-color-scheme:dark",
        "@media print",
    ] {
        assert!(page.contains(expect), "{expect}");
    }
}

#[test]
fn the_page_and_its_plots_say_whether_they_are_simulated() {
    let page = html(&sweep());
    assert!(page.contains("<strong>Simulated.</strong>") && !page.contains("<strong>Measured.</strong>"));
    let plots = plots(&sweep());
    assert!(plots.iter().all(|plot| plot.svg().contains(">simulated · ")));
    let origin = Origin::Measured;
    let measured = Sweep::new(Experiment { origin, ..experiment() }, &results(), &mut Rng::seeded(1));
    let page = html(&measured);
    assert!(page.contains("<strong>Measured.</strong>") && !page.to_lowercase().contains("simulated"));
}

#[test]
fn cards_name_their_measures() {
    let page = html(&sweep());
    for name in ["End-to-end latency (E2E), p90", "Normalised time per output token (NTPOT), p90"] {
        assert!(page.contains(&format!("<div class=\"name\">{name}</div>")), "{name}");
    }
}

/// Latencies beyond saturation hide the others.
#[test]
fn ratios_lead_and_the_rates_below_saturation_have_room() {
    let mut results = results();
    for rate in [150.0, 200.0, 250.0, 300.0] {
        for policy in ["round-robin", "pointsman"] {
            let mut run = run(policy, rate, 1, 9_000);
            run.completed_rps = 90.0;
            results.push(run);
        }
    }
    for run in &mut results {
        if run.policy == "pointsman" && run.rate == 100.0 {
            run.completed_rps = 90.0;
        }
    }
    let found = plots(&of(&results));
    assert_eq!(found[0].name, "e2e-p90-ratio");
    let page = html(&of(&results));
    let first = page.find("<figure>").unwrap();
    assert!(page[first..].starts_with("<figure>\n<svg") && page[first..first + 900].contains("over that of"));
    // The knee at 75 requests per second is at a tenth of the rates and beyond half of the width.
    let svg = found.iter().find(|plot| plot.name == "e2e-p90").unwrap().svg();
    let document = Document::parse(&svg).unwrap();
    let is_100 = |node: &roxmltree::Node| {
        node.has_tag_name(("http://www.w3.org/2000/svg", "text")) && node.text() == Some("100")
    };
    let x: f64 = document.descendants().rfind(is_100).unwrap().attribute("x").unwrap().parse().unwrap();
    assert!(x > 66.0 + 0.6 * 556.0, "the label of 100/s is at {x}");
    assert!(svg.contains("triangle on the axis: knee"));
    assert!(page.contains("<dt>Knee</dt>"));
}

/// The label of the reference stays right of the axis, whose title runs along it.
#[test]
fn the_offered_reference_does_not_reach_the_axis() {
    for rates in [vec![100.0, 200.0], vec![100.0, 101.0, 900.0], vec![10.0, 20.0, 1_000.0]] {
        let runs: Vec<SeedResult> = rates
            .iter()
            .map(|&rate| {
                let mut result = run("a", rate, 1, 1_000);
                result.completed_rps = rate.min(105.0);
                result
            })
            .collect();
        let svg = plots(&of(&runs)).into_iter().find(|plot| plot.name == "throughput").unwrap().svg();
        let document = Document::parse(&svg).unwrap();
        let label = document.descendants().find(|node| node.text() == Some("as offered")).unwrap();
        let x: f64 = label.attribute("x").unwrap().parse().unwrap();
        let left = if label.attribute("text-anchor") == Some("end") { x - 66.0 } else { x };
        assert!(left > 66.0, "{rates:?}: {x}");
    }
}

/// A phone scrolls wide tables and plots instead of shrinking them until they cannot be read.
#[test]
fn wide_parts_scroll_on_a_phone() {
    let page = html(&sweep());
    assert!(page.contains("name=\"viewport\" content=\"width=device-width, initial-scale=1\""));
    assert_eq!(page.matches("<table>").count(), page.matches("<div class=\"scroll\"><table>").count());
    for rule in [
        ".scroll{overflow-x:auto;",
        "figure{margin:0;overflow-x:auto;",
        "@media (max-width:640px){",
        "figure svg{min-width:560px}",
        "{position:sticky;left:0;",
    ] {
        assert!(page.contains(rule), "{rule}");
    }
}

#[test]
fn points_have_tooltips() {
    let found = plots(&sweep());
    let plot = found.iter().find(|plot: &&Plot| plot.name == "e2e-p90").unwrap();
    let svg = plot.svg();
    assert!(svg.contains("pointsman at 50.0/s: 745 ms, 95 % interval"), "tooltips hold the figures");
    assert!(svg.contains("round-robin: knee near 75 requests per second"));
    assert!(svg.contains("E2E p90 (ms)") && svg.contains("offered requests per second"));
}

#[test]
fn a_report_has_all_files() {
    let files = report_files(&sweep());
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for expect in [
        "index.html",
        "rows.json",
        "plots/e2e-p90.svg",
        "lpg/pointsman/results/json/llama-2-7b-50qps.json",
        "inference-perf/pointsman/stage_0_lifecycle_metrics.json",
    ] {
        assert!(paths.contains(&expect), "{expect} is not in {paths:?}");
    }
    assert!(files.iter().all(|file| !file.bytes.is_empty()));
}
