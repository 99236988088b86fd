//! Model names to target models and priorities.

mod support;

use pointsman_config::models::{ModelRules, UndeclaredModel};
use support::{GATEWAY, load_text, pool, route, to};

/// An object of a model-level kind.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: {kind}\nmetadata: {{{name}}}\nspec: {{poolRef: {{name: p}}, {spec}}}\n---\n"
    )
}

fn rules(objects: &[String]) -> ModelRules {
    let route = route("r", &format!("  rules: [{{backendRefs: [{}]}}]", to("p")));
    let loaded = load_text(&format!("{GATEWAY}{route}{}{}", pool("p", 8000), objects.concat()));
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    (*loaded.world.pools[0].models).clone()
}

/// Checks the target and the priority of a request.
#[track_caller]
fn check(rules: &ModelRules, model: &str, objective: Option<&str>, expected: (Option<&str>, i32)) {
    let resolved = rules.resolve(Some(model), objective, 7);
    let found = resolved.as_ref().map(|resolved| (resolved.target.as_deref(), resolved.priority));
    assert_eq!(found, Ok(expected), "{model} {objective:?}");
}

const EARLY: &str = "creationTimestamp: \"2025-01-01T00:00:00Z\"";
const LATE: &str = "creationTimestamp: \"2026-01-01T00:00:00Z\"";

#[test]
fn an_objective_overrides_the_priority_of_a_criticality() {
    let rules = rules(&[
        object("InferenceModel", "name: a", "modelName: a, criticality: Critical, targetModels: [{name: t}]"),
        object("InferenceModel", "name: b", "modelName: b, criticality: Sheddable"),
        object("InferenceModel", "name: c", "modelName: c, criticality: Standard"),
        object("InferenceModel", "name: d", "modelName: d"),
        object("InferenceObjective", "name: batch", "priority: -5"),
        object("InferenceObjective", "name: unset", ""),
    ]);
    check(&rules, "a", None, (Some("t"), 1));
    check(&rules, "b", None, (None, -1));
    check(&rules, "c", None, (None, 0));
    check(&rules, "d", None, (None, 0));
    check(&rules, "unknown", None, (None, 0));
    check(&rules, "a", Some("batch"), (Some("t"), -5));
    check(&rules, "unknown", Some("batch"), (None, -5));
    check(&rules, "a", Some("unset"), (Some("t"), 0));
    check(&rules, "a", Some("nobody"), (Some("t"), 1));
    assert_eq!(rules.resolve(None, Some("batch"), 0).unwrap().priority, -5);
}

#[test]
fn the_oldest_model_of_a_name_applies() {
    let two = |first: &str, second: &str| {
        rules(&[
            object(
                "InferenceModel",
                &format!("name: x, {first}"),
                "modelName: m, targetModels: [{name: of-x}]",
            ),
            object(
                "InferenceModel",
                &format!("name: z, {second}"),
                "modelName: m, targetModels: [{name: of-z}]",
            ),
        ])
    };
    check(&two(EARLY, LATE), "m", None, (Some("of-x"), 0));
    check(&two(LATE, EARLY), "m", None, (Some("of-z"), 0));
    check(&two("", ""), "m", None, (Some("of-x"), 0));
    check(&two("", LATE), "m", None, (Some("of-z"), 0));
}

#[test]
fn exact_rewrites_override_general_ones_and_both_override_models() {
    let rules = rules(&[
        object(
            "InferenceModel",
            "name: m",
            "modelName: m, criticality: Critical, targetModels: [{name: of-model}]",
        ),
        object("InferenceModel", "name: o", "modelName: o, targetModels: [{name: of-model}]"),
        object(
            "InferenceModelRewrite",
            "name: w",
            "rules: [{targets: [{modelRewrite: general}]}, {matches: [{model: {value: m}}, {model: {type: Exact, value: k}}], split: [{modelRewrite: exact}]}]",
        ),
    ]);
    check(&rules, "m", None, (Some("exact"), 1));
    check(&rules, "k", None, (Some("exact"), 0));
    check(&rules, "o", None, (Some("general"), 0));
    check(&rules, "other", None, (Some("general"), 0));
    check(&rules, "general", None, (None, 0));
}

#[test]
fn among_rewrites_the_oldest_object_and_its_first_rule_apply() {
    let rewrite = |name: &str, target: &str| {
        let rule = |suffix: &str| {
            format!("{{matches: [{{model: {{value: m}}}}], targets: [{{modelRewrite: {target}{suffix}}}]}}")
        };
        object("InferenceModelRewrite", name, &format!("rules: [{}, {}]", rule("-1"), rule("-2")))
    };
    let rules = rules(&[
        rewrite(&format!("name: a, {LATE}"), "late"),
        rewrite(&format!("name: b, {EARLY}"), "early"),
    ]);
    check(&rules, "m", None, (Some("early-1"), 0));
}

#[test]
fn targets_are_selected_by_weight() {
    #[track_caller]
    fn check(targets: &str, expected: &[(&str, f64)]) {
        let rules =
            rules(&[object("InferenceModel", "name: m", &format!("modelName: m, targetModels: {targets}"))]);
        let draws = 100_000_u32;
        for (name, share) in expected {
            let is_selected = |i: &u32| {
                let draw = u64::from(*i) * (u64::MAX / u64::from(draws));
                rules.resolve(Some("m"), None, draw).unwrap().target.as_deref() == Some(*name)
            };
            let count = (0..draws).filter(is_selected).count();
            let sigma = (f64::from(draws) * share * (1.0 - share)).sqrt();
            let count = f64::from(u32::try_from(count).unwrap());
            assert!((count - f64::from(draws) * share).abs() <= 3.0 * sigma, "{name}: {count}");
        }
    }
    check("[{name: a, weight: 90}, {name: b, weight: 10}]", &[("a", 0.9), ("b", 0.1)]);
    check("[{name: a}, {name: b}, {name: c}]", &[("a", 1.0 / 3.0), ("b", 1.0 / 3.0), ("c", 1.0 / 3.0)]);
    check("[{name: a, weight: 1000000}]", &[("a", 1.0)]);
}

#[test]
fn a_pool_may_reject_undeclared_models() {
    let policy = "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {name: p}\nspec: {poolRef: {name: p}, undeclaredModels: reject}\n---\n";
    let exact = object(
        "InferenceModelRewrite",
        "name: w",
        "rules: [{matches: [{model: {value: k}}], targets: [{modelRewrite: t}]}]",
    );
    let rules = rules(&[object("InferenceModel", "name: m", "modelName: m"), exact, policy.to_owned()]);
    assert_eq!(rules.resolve(Some("other"), None, 0), Err(UndeclaredModel));
    assert_eq!(rules.resolve(Some("t"), None, 0), Err(UndeclaredModel));
    check(&rules, "m", None, (None, 0));
    check(&rules, "k", None, (Some("t"), 0));
    assert!(rules.resolve(None, None, 0).is_ok(), "a request without model is not checked");
}

/// A model with two targets, one without targets, an exact rewrite, and the rewrite rules of `rest`.
fn several(rest: &str) -> ModelRules {
    let rewrites =
        format!("rules: [{{matches: [{{model: {{value: old}}}}], targets: [{{modelRewrite: t1}}]}}{rest}]");
    rules(&[
        object("InferenceModel", "name: m", "modelName: m, targetModels: [{name: t2}, {name: t1}]"),
        object("InferenceModel", "name: base", "modelName: base"),
        object("InferenceModelRewrite", "name: w", &rewrites),
    ])
}

#[test]
fn declared_names_are_sorted_and_unique() {
    let rules = several("");
    let names: Vec<_> = rules.declared_models().map(|name| &**name).collect();
    assert_eq!(names, ["base", "m", "old"]);
}

#[test]
fn pairs_list_all_possible_targets_of_declared_models() {
    #[track_caller]
    fn check(rules: &ModelRules, expected: &[(&str, &str)]) {
        let pairs: Vec<_> = rules.pairs().map(|(public, target)| (&**public, &**target)).collect();
        assert_eq!(pairs, expected);
    }
    check(&several(""), &[("base", "base"), ("m", "t2"), ("m", "t1"), ("old", "t1")]);
    let rest = several(", {targets: [{modelRewrite: rest}]}");
    check(&rest, &[("base", "rest"), ("m", "rest"), ("old", "t1")]);
    assert_eq!(rest.targets_of("unknown").map(|target| &**target).collect::<Vec<_>>(), ["rest"]);
    assert_eq!(several("").targets_of("unknown").count(), 0);
    check(&ModelRules::default(), &[]);
}
