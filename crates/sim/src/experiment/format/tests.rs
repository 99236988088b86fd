//! The reference and the readers agree.

use std::sync::Arc;

use pointsman_yaml::{SourceText, parse_duration};

use crate::scenario::{Information, PrefixKnowledge};

use super::super::load;
use super::explain_format;

/// The mapping's path (empty for the top level) and its rows: name, accepted values, default, meaning.
type Section = (&'static str, Vec<[&'static str; 4]>);

fn sections() -> Vec<Section> {
    let code = |text: &'static str| text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    let section = |text: &'static str| {
        let (title, rest) = text.split_once('\n').unwrap();
        let rows = rest.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = |row: &'static str| {
            let mut cells = row.strip_suffix(" |").unwrap().split(" | ");
            let row = [(); 4].map(|()| cells.next().unwrap());
            assert_eq!(cells.next(), None, "{row:?}");
            [row[0].strip_suffix('`').unwrap(), row[1], row[2], row[3]]
        };
        (code(title).unwrap_or_default(), rows.map(cells).collect())
    };
    explain_format().split("### ").skip(1).map(section).collect()
}

fn section(path: &str) -> Vec<[&'static str; 4]> {
    sections().into_iter().find(|(known, _)| *known == path).unwrap().1
}

/// Field names that a reader accepts in the mapping of `text` that contains the unknown field `zzzzzzzzzzzz`.
fn known(text: &str) -> Vec<String> {
    let files = |_: &str| Err::<Arc<str>, String>("no files".to_owned());
    let problems = load(&SourceText::new("test.yaml", text), &files).unwrap_err();
    let unknown = problems.iter().find(|problem| problem.path.ends_with("zzzzzzzzzzzz"));
    let unknown = unknown.unwrap_or_else(|| panic!("{text}: {problems:?}"));
    let names =
        unknown.fix.strip_prefix("remove it; known fields are ").unwrap_or_else(|| panic!("{}", unknown.fix));
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_reference_names_the_fields_that_the_readers_accept() {
    #[track_caller]
    fn check(path: &str, texts: &[&str]) {
        let mut documented: Vec<&str> = section(path).iter().map(|[name, ..]| *name).collect();
        let mut read: Vec<String> = texts.iter().flat_map(|text| known(text)).collect();
        documented.sort_unstable();
        read.sort_unstable();
        read.dedup();
        assert_eq!(read, documented, "{path}");
    }
    check("", &["placements: [random]\nzzzzzzzzzzzz: 1"]);
    check("fleet[]", &["fleet: [{zzzzzzzzzzzz: 1}]"]);
    check("fleet[].changes[]", &["fleet: [{changes: [{zzzzzzzzzzzz: 1}]}]"]);
    check("profiles.NAME", &["profiles: {mine: {zzzzzzzzzzzz: 1}}"]);
    check("workload", &["workload: {zzzzzzzzzzzz: 1}"]);
    let kinds =
        ["gamma", "bursts"].map(|kind| format!("workload: {{arrivals: {{kind: {kind}, zzzzzzzzzzzz: 1}}}}"));
    check("workload.arrivals", &kinds.each_ref().map(String::as_str));
    check("workload.trace", &["workload: {trace: {zzzzzzzzzzzz: 1}}"]);
    check("workload.classes[]", &["workload: {classes: [{zzzzzzzzzzzz: 1}]}"]);
    let lengths =
        ["workload: {lengths: {zzzzzzzzzzzz: 1}}", "workload: {lengths: {sharegpt: x, zzzzzzzzzzzz: 1}}"];
    check("lengths", &lengths);
    let kinds = ["fixed", "uniform", "exponential", "lognormal", "quantiles"];
    let texts =
        kinds.map(|kind| format!("workload: {{lengths: {{prompt: {{kind: {kind}, zzzzzzzzzzzz: 1}}}}}}"));
    check("distribution", &texts.each_ref().map(String::as_str));
    check("prefixes", &["workload: {prefixes: {zzzzzzzzzzzz: 1}}"]);
    check("sessions", &["workload: {sessions: {zzzzzzzzzzzz: 1}}"]);
    check("adapters", &["workload: {adapters: {zzzzzzzzzzzz: 1}}"]);
    check("criticality", &["workload: {criticality: {zzzzzzzzzzzz: 1}}"]);
    check("maxTokens", &["workload: {maxTokens: {zzzzzzzzzzzz: 1}}"]);
    check("information", &["information: {zzzzzzzzzzzz: 1}"]);
    check("information.blackouts[]", &["information: {blackouts: [{zzzzzzzzzzzz: 1}]}"]);
    check("placements[]", &["placements: [{name: pointsman, zzzzzzzzzzzz: 1}]"]);
    assert_eq!(sections().len(), 18);
}

#[test]
fn every_field_has_values_and_a_default_and_fits_a_table_cell() {
    for (path, rows) in sections() {
        assert!(!rows.is_empty(), "{path}");
        for [name, takes, default, about] in rows {
            assert!(!takes.is_empty() && !default.is_empty(), "{path}.{name}");
            assert!([takes, default, about].iter().all(|text| !text.contains('|')), "{path}.{name}");
        }
    }
}

#[test]
fn the_documented_defaults_of_information_are_those_of_the_code() {
    let section = section("information");
    let default = Information::default();
    let routers = default.routers.to_string();
    let tokens = default.block_tokens.to_string();
    let times = [
        ("scrapeEvery", default.scrape_every.unwrap()),
        ("scrapeIdleEvery", default.scrape_idle_every),
        ("scrapeDelay", default.scrape_delay),
        ("networkDelay", default.network_delay),
        ("progressEvery", default.progress_every),
    ];
    let documented = |name| section.iter().find(|row| row[0] == name).unwrap()[2];
    for (name, time) in times {
        assert_eq!(parse_duration(documented(name)), Some(time), "{name}");
    }
    assert_eq!((documented("routers"), documented("blockTokens")), (&*routers, &*tokens));
    let flags = [
        ("tokensSeen", default.tokens_seen),
        ("usageSeen", default.usage_seen),
        ("sharedState", default.shared_state),
    ];
    for (name, flag) in flags {
        assert_eq!(documented(name), flag.to_string(), "{name}");
    }
    assert_eq!((default.prefixes, documented("prefixes")), (PrefixKnowledge::Approximate, "approximate"));
    assert!(default.blackouts.is_empty() && default.scrape_loss == 0.0);
}
