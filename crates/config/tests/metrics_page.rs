//! Where metrics pages are: annotations and labels of an EndpointSlice, and `engine.metrics` of a PoolPolicy.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use pointsman_config::{AppProtocol, MetricsPage};
use support::{GATEWAY, check_problems, pool, world};

/// The pool `p` with further metadata of its EndpointSlice, and with `engine` of its PoolPolicy.
fn manifests(labels: &str, annotations: &str, engine: &str) -> String {
    let pool = pool("p", 8000)
        .replace("{app: p}, annotations: {", &format!("{{app: p{labels}}}, annotations: {{{annotations}"));
    format!(
        "{GATEWAY}{pool}apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\nspec:\n  \
         poolRef: {{name: p}}\n  engine: {engine}\n"
    )
}

#[track_caller]
fn check(
    labels: &str,
    annotations: &str,
    engine: &str,
    expected: (Option<u16>, Option<&str>, Option<AppProtocol>),
) {
    let world = world(&manifests(labels, annotations, engine));
    let MetricsPage { port, path, protocol } = &world.pools[0].endpoints[0].metrics;
    assert_eq!((*port, path.as_deref(), *protocol), expected);
}

#[test]
fn metrics_pages_are_at_the_endpoints_port_unless_something_else_is_written() {
    check("", "", "{}", (None, None, None));
    let both = "pointsman.dev/metrics-port: \"8001\", pointsman.dev/metrics-path: /stats, ";
    check("", both, "{}", (Some(8001), Some("/stats"), None));
    check(", pointsman.dev/metrics-port: \"8001\"", "", "{}", (Some(8001), None, None));
    let policy = "{metrics: {port: 9400, path: /m, scheme: https}}";
    check("", "", policy, (Some(9400), Some("/m"), Some(AppProtocol::Https)));
    check(
        "",
        "pointsman.dev/metrics-port: \"8001\", ",
        policy,
        (Some(8001), Some("/m"), Some(AppProtocol::Https)),
    );
}

#[test]
fn mistakes_are_reported_with_their_place() {
    check_problems(
        "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {name: p}\nspec:\n  poolRef: {name: p}\n  \
         engine: {metrics: {port: 0, path: metrics, host: x}}\n---\n",
        &[
            "f.yaml:6:28: error: PoolPolicy default/p: spec.engine.metrics.port: is 0, outside 1 to 65535 (fix: write a number from 1 to 65535)",
            "f.yaml:6:37: error: PoolPolicy default/p: spec.engine.metrics.path: \"metrics\" is not a path such as /metrics (fix: write a path such as /metrics)",
            "f.yaml:6:46: error: PoolPolicy default/p: spec.engine.metrics.host: is not a known field (fix: remove it; known fields are port, path, scheme)",
        ],
    );
    check_problems(
        "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {name: p, annotations: {pointsman.dev/metrics-port: \"70000\"}}\n\
         spec:\n  poolRef: {name: p}\n---\n",
        &[
            "f.yaml:3:63: error: PoolPolicy default/p: metadata.annotations[\"pointsman.dev/metrics-port\"]: \"70000\" is not a port (fix: write a number from 1 to 65535 in quotes)",
        ],
    );
    check_problems(
        "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {name: p, annotations: {pointsman.dev/metrics-port: \"8001\"}}\n\
         spec:\n  poolRef: {name: p}\n---\n",
        &[
            "f.yaml:1:1: error: PoolPolicy default/p: metadata: the place of metrics pages has no effect on a PoolPolicy (fix: write it on the EndpointSlice, or as engine.metrics in a PoolPolicy)",
        ],
    );
}
