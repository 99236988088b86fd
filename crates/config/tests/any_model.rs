//! The pools that a request for any model may reach: what a model list covers.

mod support;

use http::{HeaderMap, Method};
use pointsman_config::route::{RouteAction, RouteRequest};
use support::{GATEWAY, pool, route, to, world};

/// The pools that `GET path` at host `h` lists, and the one that is asked.
#[track_caller]
fn check(rules: &[(&str, &str)], cases: &[(&str, &[&str], Option<&str>)]) {
    let pools: String = ["a", "b", "c"].iter().zip(8001..).map(|(name, port)| pool(name, port)).collect();
    let rules: String = rules
        .iter()
        .map(|(rule_match, name)| format!("  - matches: [{rule_match}]\n    backendRefs: [{}]\n", to(name)))
        .collect();
    let world = world(&format!("{GATEWAY}{pools}{}", route("r", &format!("  rules:\n{rules}"))));
    let routes = &world.listeners[0].routes;
    let (method, headers) = (Method::GET, HeaderMap::new());
    for (path, listed, asked) in cases {
        let request = RouteRequest { host: "h", path, query: "", method: &method, headers: &headers };
        let name = |index: pointsman_config::PoolIndex| world.pools[index.0].name.name.to_string();
        let found: Vec<String> = routes.pools_of_any_model(&request).into_iter().map(name).collect();
        assert_eq!(found, *listed, "{path}");
        let target = match routes.find_any_model(&request, 0) {
            Some(RouteAction::Forward(forward)) => Some(name(forward.pool)),
            _ => None,
        };
        assert_eq!(target.as_deref(), *asked, "{path}");
    }
}

const MODEL: &str = "headers: [{name: X-Gateway-Model-Name, value: m}]";
const BASE: &str = "headers: [{name: X-Gateway-Base-Model-Name, value: m}]";

#[test]
fn rules_that_differ_by_the_model_are_listed_together() {
    check(
        &[(&format!("{{{MODEL}}}"), "a"), (&format!("{{{BASE}}}"), "b")],
        &[("/v1/models", &["a", "b"], Some("a"))],
    );
}

#[test]
fn a_rule_without_a_condition_on_the_model_ends_the_list() {
    check(
        &[
            (&format!("{{path: {{value: /v1}}, {MODEL}}}"), "a"),
            ("{path: {value: /v1}}", "b"),
            ("{path: {value: /}}", "c"),
        ],
        &[
            ("/v1/models", &["a", "b"], Some("a")),
            ("/v2/x", &["c"], Some("c")),
            ("/v1", &["a", "b"], Some("a")),
        ],
    );
}

#[test]
fn less_specific_paths_count_while_every_rule_wants_a_model() {
    check(
        &[
            (&format!("{{path: {{type: Exact, value: /v1/models}}, {MODEL}}}"), "a"),
            (&format!("{{path: {{value: /v1}}, {BASE}}}"), "b"),
            ("{path: {type: RegularExpression, value: \"/v1/.*\"}}", "c"),
        ],
        &[("/v1/models", &["a", "b", "c"], Some("a")), ("/v1/x", &["b", "c"], Some("b")), ("/x", &[], None)],
    );
}

#[test]
fn other_conditions_still_hold() {
    check(
        &[
            ("{headers: [{name: x-team, value: red}]}", "a"),
            ("{method: POST}", "b"),
            (&format!("{{{MODEL}}}"), "c"),
        ],
        &[("/v1/models", &["c"], Some("c"))],
    );
}
