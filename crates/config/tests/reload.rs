//! Reload: invalid objects keep their last valid version, and all other changes apply.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use pointsman_config::{Loaded, Options, SourceText, load, load_with_previous};
use support::{GATEWAY, outcome, pool, route, to};

fn load_files(files: &[(&str, String)], previous: Option<&Loaded>) -> Loaded {
    let sources: Vec<SourceText> =
        files.iter().map(|(name, text)| SourceText::new(*name, text.as_str())).collect();
    match previous {
        None => load(&sources, &Options::default()),
        Some(previous) => load_with_previous(&sources, &Options::default(), &previous.objects),
    }
}

fn route_to(name: &str, path: &str, pool: &str) -> String {
    route(
        name,
        &format!("  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{}]}}]", to(pool)),
    )
}

/// A valid set in three files: infrastructure, route `x` at `/x` and route `w` at `/w`, both to pool `a`.
fn valid_set() -> Vec<(&'static str, String)> {
    vec![
        ("base.yaml", format!("{GATEWAY}{}{}", pool("a", 8001), pool("b", 8002))),
        ("x.yaml", route_to("x", "/x", "a")),
        ("w.yaml", route_to("w", "/w", "a")),
    ]
}

/// Replaces a file of the valid set, and checks the outcomes and the number of errors.
#[track_caller]
fn check(file: &str, text: &str, expected: &[(&str, &str)], errors: usize) -> Loaded {
    let first = load_files(&valid_set(), None);
    assert!(first.problems.is_empty(), "{:?}", first.problems);
    let mut files = valid_set();
    files.iter_mut().find(|(name, _)| *name == file).unwrap().1 = text.to_owned();
    let second = load_files(&files, Some(&first));
    let lines: Vec<String> = second.problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines.iter().filter(|line| line.contains(": error: ")).count(), errors, "{lines:#?}");
    for (request, outcome_) in expected {
        assert_eq!(outcome(&second.world, 0, request), *outcome_, "{request}\n{lines:#?}");
    }
    second
}

#[test]
fn a_valid_change_applies() {
    check("x.yaml", &route_to("x", "/x", "b"), &[("GET h/x", "b"), ("GET h/w", "a")], 0);
}

#[test]
fn a_deleted_object_is_removed() {
    let loaded = check("x.yaml", "", &[("GET h/x", "404"), ("GET h/w", "a")], 0);
    assert_eq!(loaded.objects.ids().filter(|id| id.kind.as_str() == "HTTPRoute").count(), 1);
}

#[test]
fn an_invalid_object_keeps_its_last_valid_version_and_the_rest_of_its_file_applies() {
    let text = format!("{}{}", route_to("x", "no-slash", "b"), route_to("z", "/z", "b"));
    check("x.yaml", &text, &[("GET h/x", "a"), ("GET h/z", "b"), ("GET h/w", "a")], 1);
}

#[test]
fn an_invalid_new_object_is_omitted() {
    let text = format!("{}{}", route_to("x", "/x", "b"), route_to("z", "no-slash", "b"));
    check("x.yaml", &text, &[("GET h/x", "b"), ("GET h/z", "404")], 1);
}

#[test]
fn a_file_that_becomes_invalid_yaml_keeps_its_objects() {
    check("x.yaml", "kind: [", &[("GET h/x", "a"), ("GET h/w", "a")], 1);
}

#[test]
fn a_document_without_name_keeps_the_missing_objects_of_its_file() {
    check(
        "x.yaml",
        "kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nspecs: {}\n",
        &[("GET h/x", "a")],
        3,
    );
}

#[test]
fn an_object_that_moved_out_of_an_invalid_file_is_read_from_its_new_file() {
    let first = load_files(&valid_set(), None);
    let mut files = valid_set();
    files[1].1 = "kind: [".to_owned();
    files[2].1 = format!("{}{}", route_to("x", "/x", "b"), route_to("w", "/w", "b"));
    let second = load_files(&files, Some(&first));
    assert_eq!(outcome(&second.world, 0, "GET h/x"), "b");
    assert_eq!(outcome(&second.world, 0, "GET h/w"), "b");
}

#[test]
fn a_reference_to_a_missing_object_keeps_the_previous_version() {
    check("x.yaml", &route_to("x", "/x", "missing"), &[("GET h/x", "a")], 1);
}

#[test]
fn a_reference_to_an_invalid_new_object_keeps_the_previous_version() {
    let bad_pool = pool("c", 8003).replace("{number: 8003}", "{number: 0}");
    check(
        "x.yaml",
        &format!("{}{bad_pool}", route_to("x", "/x", "c")),
        &[("GET h/x", "a"), ("GET h/w", "a")],
        2,
    );
}

#[test]
fn a_route_to_a_deleted_pool_responds_with_500() {
    let text = format!("{GATEWAY}{}", pool("b", 8002));
    check("base.yaml", &text, &[("GET h/x", "500"), ("GET h/w", "500")], 2);
}

#[test]
fn an_object_defined_twice_keeps_its_last_valid_version() {
    let text = format!("{}{}", route_to("x", "/x", "b"), route_to("x", "/x2", "b"));
    check("x.yaml", &text, &[("GET h/x", "a"), ("GET h/x2", "404")], 1);
}

#[test]
fn the_last_valid_version_outlives_any_number_of_invalid_ones() {
    let first = load_files(&valid_set(), None);
    let mut bad = valid_set();
    bad[1].1 = route_to("x", "no-slash", "b");
    let second = load_files(&bad, Some(&first));
    let third = load_files(&bad, Some(&second));
    assert_eq!(outcome(&third.world, 0, "GET h/x"), "a");
    let fourth = load_files(&valid_set(), Some(&third));
    assert!(fourth.problems.is_empty());
    assert_eq!(format!("{:?}", fourth.world), format!("{:?}", first.world));
}
