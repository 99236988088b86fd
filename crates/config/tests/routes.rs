//! Route matching: host names, paths, methods, headers, query parameters and their precedence.

mod support;

use pointsman_config::route::{Filter, PathRewrite, RouteAction};
use pointsman_config::{Options, SourceText, load};
use support::{GATEWAY, Request, outcome, pool, route, to, world};

/// Pools `a` to `d`.
fn pools() -> String {
    ["a", "b", "c", "d"].iter().zip(8001..).map(|(name, port)| pool(name, port)).collect()
}

/// A rule with one match and one backend.
fn rule(rule_match: &str, name: &str) -> String {
    format!("  - matches: [{rule_match}]\n    backendRefs: [{}]\n", to(name))
}

#[track_caller]
fn check(rules: &[(&str, &str)], requests: &[(&str, &str)]) {
    let rules: String = rules.iter().map(|(rule_match, name)| rule(rule_match, name)).collect();
    let world = world(&format!("{GATEWAY}{}{}", pools(), route("r", &format!("  rules:\n{rules}"))));
    for (request, expected) in requests {
        assert_eq!(outcome(&world, 0, request), *expected, "{request}");
    }
}

#[test]
fn an_exact_path_matches_only_itself() {
    check(
        &[("{path: {type: Exact, value: /v1/chat}}", "a")],
        &[
            ("GET h/v1/chat", "a"),
            ("GET h/v1/chat/", "404"),
            ("GET h/v1/chat/x", "404"),
            ("GET h/V1/chat", "404"),
            ("GET h/v1/chat?q=1", "a"),
        ],
    );
}

#[test]
fn a_prefix_matches_whole_segments() {
    check(
        &[("{path: {type: PathPrefix, value: /foo/}}", "a"), ("{path: {value: /foo/bar}}", "b")],
        &[
            ("GET h/foo", "a"),
            ("GET h/foo/", "a"),
            ("GET h/foo/x/y", "a"),
            ("GET h/foobar", "404"),
            ("GET h/foo/bar", "b"),
            ("GET h/foo/bar/x", "b"),
            ("GET h/foo/barx", "a"),
            ("GET h/foo//bar", "a"),
            ("GET h/", "404"),
            ("GET h/x/foo", "404"),
        ],
    );
}

#[test]
fn path_precedence_is_exact_then_longest_prefix_then_pattern_then_root() {
    check(
        &[
            ("{path: {type: PathPrefix, value: /}}", "a"),
            ("{path: {type: RegularExpression, value: \"/v1/.*|/x[0-9]+\"}}", "b"),
            ("{path: {type: PathPrefix, value: /v1/chat}}", "c"),
            ("{path: {type: Exact, value: /v1/chat/completions}}", "d"),
        ],
        &[
            ("GET h/v1/chat/completions", "d"),
            ("GET h/v1/chat", "c"),
            ("GET h/v1/embeddings", "b"),
            ("GET h/x12", "b"),
            ("GET h/x12/y", "a"),
            ("GET h/other", "a"),
        ],
    );
}

#[test]
fn a_pattern_must_match_the_whole_path() {
    check(
        &[("{path: {type: RegularExpression, value: /a|/b}}", "a")],
        &[("GET h/a", "a"), ("GET h/b", "a"), ("GET h/ab", "404"), ("GET h/x/b", "404")],
    );
}

#[test]
fn methods_have_precedence_over_headers_and_headers_over_query_parameters() {
    check(
        &[
            ("{queryParams: [{name: q, value: \"1\"}, {name: r, value: \"1\"}]}", "a"),
            ("{headers: [{name: X-Team, value: red}]}", "b"),
            (
                "{headers: [{name: x-team, value: red}, {name: x-tier, type: RegularExpression, value: g.*}]}",
                "c",
            ),
            ("{method: POST}", "d"),
        ],
        &[
            ("POST h/ x-team: red x-tier: gold", "d"),
            ("GET h/?q=1&r=1 x-team: red x-tier: gold", "c"),
            ("GET h/?q=1&r=1 x-team: red x-tier: tin", "b"),
            ("GET h/?q=1&r=1 x-team: blue", "a"),
            ("GET h/?q=1", "404"),
        ],
    );
}

#[test]
fn a_longer_path_has_precedence_over_more_headers() {
    check(
        &[
            ("{path: {value: /v1}, headers: [{name: x, value: \"1\"}]}", "a"),
            ("{path: {value: /v1/chat}}", "b"),
        ],
        &[("GET h/v1/chat x: 1", "b"), ("GET h/v1/x x: 1", "a"), ("GET h/v1/x", "404")],
    );
}

#[test]
fn the_first_of_equal_rules_applies() {
    check(&[("{method: GET}", "a"), ("{method: GET}", "b")], &[("GET h/", "a")]);
}

#[test]
fn headers_match_by_any_value_and_query_parameters_by_the_first() {
    check(
        &[("{headers: [{name: x, value: b}]}", "a"), ("{queryParams: [{name: q, value: b c}]}", "b")],
        &[
            ("GET h/ x: a x: b", "a"),
            ("GET h/ x: B", "404"),
            ("GET h/?q=b+c", "b"),
            ("GET h/?q=b%20c&q=z", "b"),
            ("GET h/?q=z&q=b%20c", "404"),
            ("GET h/?%71=b%20c", "b"),
            ("GET h/?q=b%2", "404"),
            ("GET h/?q", "404"),
        ],
    );
}

#[test]
fn query_patterns_match_percent_decoded_values() {
    check(
        &[("{queryParams: [{name: q, type: RegularExpression, value: \"a b|c+\"}]}", "a")],
        &[("GET h/?q=a%20b", "a"), ("GET h/?q=ccc", "a"), ("GET h/?q=xccc", "404"), ("GET h/?q=%ff", "404")],
    );
}

#[test]
fn the_most_specific_host_name_has_precedence() {
    let hosts = [
        ("any", "", "a"),
        ("wide", "  hostnames: [\"*.example.com\"]\n", "b"),
        ("narrow", "  hostnames: [\"*.chat.example.com\"]\n", "c"),
        ("exact", "  hostnames: [x.chat.example.com, example.org]\n", "d"),
    ];
    let routes: String = hosts
        .iter()
        .map(|(name, hosts, pool)| route(name, &format!("{hosts}  rules: [{{backendRefs: [{}]}}]", to(pool))))
        .collect();
    let world = world(&format!("{GATEWAY}{}{routes}", pools()));
    for (request, expected) in [
        ("GET x.chat.example.com/", "d"),
        ("GET X.Chat.Example.COM/", "d"),
        ("GET x.chat.example.com./", "d"),
        ("GET y.chat.example.com/", "c"),
        ("GET z.y.chat.example.com/", "c"),
        ("GET chat.example.com/", "b"),
        ("GET example.com/", "a"),
        ("GET example.org/", "d"),
        ("GET .example.com/", "a"),
        ("GET /", "a"),
    ] {
        assert_eq!(outcome(&world, 0, request), expected, "{request}");
    }
}

#[test]
fn a_route_applies_to_the_host_names_that_it_shares_with_the_listener() {
    let gateway = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: pointsman
  listeners:
  - {name: wide, port: 80, protocol: HTTP, hostname: \"*.example.com\"}
  - {name: exact, port: 81, protocol: HTTP, hostname: one.example.com}
---
";
    let spec = format!(
        "  hostnames: [two.example.com, \"*.example.com\", other.org]\n  rules: [{{backendRefs: [{}]}}]",
        to("a")
    );
    let world = world(&format!("{gateway}{}{}", pools(), route("r", &spec)));
    for (listener, request, expected) in [
        (0, "GET two.example.com/", "a"),
        (0, "GET three.example.com/", "a"),
        (0, "GET other.org/", "404"),
        (1, "GET one.example.com/", "a"),
        (1, "GET two.example.com/", "404"),
    ] {
        assert_eq!(outcome(&world, listener, request), expected, "{listener} {request}");
    }
}

#[test]
fn the_older_route_has_precedence_and_names_decide_where_ages_are_unknown() {
    #[track_caller]
    fn check(first: &str, second: &str, expected: &str, warns: bool) {
        let one = |name: &str, created: &str, pool: &str| {
            route(name, &format!("  rules: [{{backendRefs: [{}]}}]", to(pool)))
                .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}{created}}}"))
        };
        let text = format!("{GATEWAY}{}{}{}", pools(), one("r1", first, "a"), one("r2", second, "b"));
        let loaded = load(&[SourceText::new("f.yaml", text)], &Options::default());
        assert_eq!(outcome(&loaded.world, 0, "GET h/"), expected);
        assert_eq!(!loaded.problems.is_empty(), warns, "{:?}", loaded.problems);
        assert!(!loaded.has_errors());
    }
    let early = ", creationTimestamp: \"2025-01-01T00:00:00Z\"";
    let late = ", creationTimestamp: \"2026-01-01T00:00:00Z\"";
    check(early, late, "a", false);
    check(late, early, "b", false);
    check("", "", "a", true);
    check(late, late, "a", true);
    check("", late, "b", true);
}

#[test]
fn backends_are_selected_by_weight() {
    let refs = format!(
        "[{}, {}, {}]",
        to("a").replace('}', ", weight: 3}"),
        to("b"),
        to("c").replace('}', ", weight: 0}")
    );
    let world =
        world(&format!("{GATEWAY}{}{}", pools(), route("r", &format!("  rules: [{{backendRefs: {refs}}}]"))));
    let mut counts = [0; 4];
    for i in 0..400_u64 {
        let draw = i * (u64::MAX / 400) + u64::MAX / 800;
        match Request::new("GET h/").find(&world.listeners[0].routes, draw) {
            Some(RouteAction::Forward(forward)) => counts[forward.pool.0] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [300, 100, 0, 0]);
}

#[test]
fn weight_zero_and_a_missing_pool_respond_with_500() {
    let zero = to("a").replace('}', ", weight: 0}");
    let text = format!(
        "{GATEWAY}{}{}",
        pools(),
        route(
            "r",
            &format!(
                "  rules:\n  - backendRefs: [{zero}]\n  - matches: [{{path: {{value: /m}}}}]\n    backendRefs: [{}]",
                to("none")
            )
        )
    );
    let loaded = load(&[SourceText::new("f.yaml", text)], &Options::default());
    assert_eq!(outcome(&loaded.world, 0, "GET h/"), "500");
    assert_eq!(outcome(&loaded.world, 0, "GET h/m"), "500");
    assert_eq!(loaded.problems.len(), 2, "{:?}", loaded.problems);
}

#[test]
fn redirects_keep_the_parts_that_they_do_not_replace() {
    #[track_caller]
    fn check(redirect: &str, request: &str, expected: &str) {
        let spec = format!(
            "  rules:\n  - matches: [{{path: {{value: /old}}}}]\n    filters: [{{type: RequestRedirect, requestRedirect: {redirect}}}]"
        );
        let world = world(&format!("{GATEWAY}{}{}", pools(), route("r", &spec)));
        assert_eq!(outcome(&world, 0, request), expected);
    }
    check("{scheme: https}", "GET h/old/x?a=1", "-> 302 https://h/old/x?a=1");
    check("{scheme: https, port: 8443, statusCode: 301}", "GET h/old", "-> 301 https://h:8443/old");
    check("{hostname: other.example.com}", "GET h/old", "-> 302 http://other.example.com:8080/old");
    check("{port: 80}", "GET h/old", "-> 302 http://h/old");
    check("{port: 443}", "GET h/old", "-> 302 http://h:443/old");
    check("{scheme: http}", "GET h/old", "-> 302 http://h/old");
    check(
        "{path: {type: ReplaceFullPath, replaceFullPath: /new}, statusCode: 308}",
        "GET h/old/x?b",
        "-> 308 http://h:8080/new?b",
    );
    check(
        "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}",
        "GET h/old/x",
        "-> 302 http://h:8080/new/x",
    );
    check(
        "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}",
        "GET h/old",
        "-> 302 http://h:8080/new",
    );
    check("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}", "GET h/old", "-> 302 http://h:8080/");
    check(
        "{path: {type: ReplacePrefixMatch, replacePrefixMatch: \"\"}}",
        "GET h/old/x",
        "-> 302 http://h:8080/x",
    );
    check("{statusCode: 307}", "GET /old", "-> 307 /old");
}

#[test]
fn a_forward_has_the_filters_timeouts_and_path_match_of_its_rule() {
    let spec = format!(
        "  rules:
  - matches: [{{path: {{value: /api/}}}}]
    filters:
    - {{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: X-A, value: \"1\"}}], add: [{{name: x-b, value: b}}], remove: [x-c]}}}}
    - {{type: URLRewrite, urlRewrite: {{hostname: engine.local, path: {{type: ReplacePrefixMatch, replacePrefixMatch: /v1}}}}}}
    timeouts: {{request: 1m30s, backendRequest: 500ms}}
    backendRefs:
    - group: inference.networking.k8s.io
      kind: InferencePool
      name: a
      filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{remove: [server]}}}}]
  - matches: [{{path: {{type: Exact, value: /v1/load_lora_adapter}}}}]
    timeouts: {{request: 0s}}
    backendRefs: [{}]",
        to("b")
    );
    let world = world(&format!("{GATEWAY}{}{}", pools(), route("r", &spec)));
    let table = &world.listeners[0].routes;
    let Some(RouteAction::Forward(forward)) = Request::new("GET h/api/x").find(table, 0) else { panic!() };
    assert_eq!(forward.matched_prefix, "/api");
    assert!(!forward.names_path_exactly);
    assert_eq!(forward.request_timeout.map(|d| d.as_millis()), Some(90_000));
    assert_eq!(forward.backend_timeout.map(|d| d.as_millis()), Some(500));
    let [
        Filter::RequestHeaders(change),
        Filter::UrlRewrite { hostname, path },
        Filter::ResponseHeaders(answer),
    ] = forward.filters
    else {
        panic!("{:?}", forward.filters)
    };
    assert_eq!(change.set[0].0, "x-a");
    assert_eq!(change.add[0].1, "b");
    assert_eq!(change.remove[0], "x-c");
    assert_eq!(hostname.as_deref(), Some("engine.local"));
    assert_eq!(*path, Some(PathRewrite::Prefix("/v1".into())));
    assert_eq!(answer.remove[0], "server");

    let Some(RouteAction::Forward(forward)) = Request::new("POST h/v1/load_lora_adapter").find(table, 0)
    else {
        panic!()
    };
    assert!(forward.names_path_exactly);
    assert_eq!((forward.matched_prefix, forward.request_timeout), ("", None));
}

#[test]
fn a_table_reports_whether_it_matches_on_the_model() {
    let plain = format!("  rules: [{{backendRefs: [{}]}}]", to("a"));
    let by_model = format!(
        "  rules: [{{matches: [{{headers: [{{name: X-Gateway-Model-Name, value: m}}]}}], backendRefs: [{}]}}]",
        to("a")
    );
    for (spec, expected) in [(plain, false), (by_model, true)] {
        let world = world(&format!("{GATEWAY}{}{}", pools(), route("r", &spec)));
        assert_eq!(world.listeners[0].routes.matches_on_model(), expected);
    }
}
