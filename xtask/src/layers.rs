//! Which crate may depend on which, and which packages a pure crate must not depend on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The workspace crates that each crate may depend on (ARCHITECTURE.md, "Crates"). Every crate needs a line.
const ALLOWED: &[(&str, &[&str])] = &[
    ("random", &[]),
    ("core", &["random"]),
    ("protocol", &[]),
    ("report", &["random"]),
    ("yaml", &[]),
    ("config", &["core", "yaml"]),
    ("exchange", &["core", "protocol", "config"]),
    ("workload", &["core", "random", "yaml"]),
    ("sim", &["core", "config", "workload", "yaml"]),
    ("telemetry", &["core"]),
    ("fleet", &["core", "protocol", "config", "telemetry"]),
    ("door", &["core", "protocol", "config", "exchange", "fleet", "telemetry"]),
    ("gateway", &["core", "protocol", "config", "exchange", "fleet", "telemetry", "door"]),
    ("extproc", &["core", "protocol", "config", "exchange", "fleet", "telemetry", "door"]),
    ("engine", &["core", "sim", "protocol"]),
    ("admin", &["telemetry"]),
    ("bench", &["core", "protocol", "report", "workload", "extproc"]),
];

/// Crates without I/O, clocks, threads and randomness; [`purity`](crate::purity) checks their use of the standard library.
pub(crate) const PURE: &[&str] =
    &["random", "core", "protocol", "exchange", "yaml", "config", "workload", "sim", "report"];

/// Packages with I/O, clocks, threads or randomness, forbidden in the dependency tree of a pure crate.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "hyper-util",
    "rustls",
    "ring",
    "rand",
    "getrandom",
    "notify",
    "tracing",
    "tracing-subscriber",
    "rayon",
    "crossbeam-channel",
    "async-std",
    "polling",
    "chrono",
    "time",
];

const PREFIX: &str = "pointsman-";

/// Problems, one sentence each.
pub(crate) fn check(metadata: &Value) -> Vec<String> {
    let names = names(metadata);
    let edges = edges(metadata);
    let mut problems = Vec::new();
    for (id, name) in names.iter().filter(|(_, name)| name.starts_with(PREFIX)) {
        let short = &name[PREFIX.len()..];
        let direct = edges.get(id).cloned().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == short) else {
            problems.push(format!("{name} has no line in the table of xtask/src/layers.rs"));
            continue;
        };
        for used in direct.iter().filter_map(|id| names.get(id)?.strip_prefix(PREFIX)) {
            if !allowed.contains(&used) {
                problems.push(format!("{name} must not depend on {PREFIX}{used} (xtask/src/layers.rs)"));
            }
        }
        if PURE.contains(&short) {
            let tree = reachable(id, &edges);
            let impure =
                tree.iter().filter_map(|id| names.get(id)).filter(|name| IMPURE.contains(&name.as_str()));
            problems.extend(impure.map(|found| {
                format!("{name} is pure and must not depend on {found}, directly or through others")
            }));
        }
    }
    problems
}

fn names(metadata: &Value) -> BTreeMap<String, String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|p| Some((p["id"].as_str()?.to_owned(), p["name"].as_str()?.to_owned()))).collect()
}

/// Normal dependencies by package id. Tests and build scripts may depend on any package.
fn edges(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    nodes
        .filter_map(|node| {
            let dependencies = node["deps"].as_array()?.iter().filter(|dependency| {
                dependency["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            });
            let ids =
                dependencies.filter_map(|dependency| dependency["pkg"].as_str().map(str::to_owned)).collect();
            Some((node["id"].as_str()?.to_owned(), ids))
        })
        .collect()
}

/// All packages in the dependency tree of `from`.
fn reachable(from: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(id) = next.pop() {
        for dependency in edges.get(&id).into_iter().flatten() {
            if seen.insert(dependency.clone()) {
                next.push(dependency.clone());
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_tree(dependencies: &[(&str, &[&str])]) -> Vec<String> {
        let packages: Vec<Value> =
            dependencies.iter().map(|(name, _)| json!({"id": name, "name": name})).collect();
        let nodes: Vec<Value> = dependencies
            .iter()
            .map(|(name, used)| {
                let deps: Vec<Value> =
                    used.iter().map(|used| json!({"pkg": used, "dep_kinds": [{"kind": null}]})).collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        check(&json!({"packages": packages, "resolve": {"nodes": nodes}}))
    }

    #[test]
    fn a_pure_crate_must_not_depend_on_a_runtime_through_others() {
        let found = check_tree(&[("pointsman-core", &["a"]), ("a", &["tokio"]), ("tokio", &[])]);
        assert_eq!(
            found,
            ["pointsman-core is pure and must not depend on tokio, directly or through others"]
        );
    }

    #[test]
    fn a_dependency_outside_the_table_is_a_problem() {
        let found = check_tree(&[("pointsman-core", &["pointsman-config"]), ("pointsman-config", &[])]);
        assert_eq!(found, ["pointsman-core must not depend on pointsman-config (xtask/src/layers.rs)"]);
    }

    #[test]
    fn every_crate_needs_a_line() {
        assert_eq!(check_tree(&[("pointsman-new", &[])]).len(), 1);
    }
}
