//! Which crate may depend on which, and what a pure crate may never reach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What each crate may use of ours (ARCHITECTURE.md, "Crates"). A crate that is not here fails.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("protocol", &[]),
    ("report", &[]),
    ("config", &["core"]),
    ("exchange", &["core", "protocol", "config"]),
    ("sim", &["core", "config"]),
    ("telemetry", &["core"]),
    ("fleet", &["core", "protocol", "config", "telemetry"]),
    ("gateway", &["core", "protocol", "config", "exchange", "fleet", "telemetry"]),
    ("extproc", &["core", "protocol", "config", "exchange", "fleet", "telemetry"]),
    ("engine", &["core", "sim", "protocol"]),
    ("admin", &["telemetry"]),
    ("bench", &["protocol", "report"]),
];

/// Crates that know neither sockets nor clocks.
const PURE: &[&str] = &["core", "protocol", "exchange", "config", "sim", "report"];

/// Packages that bring I/O, clocks, threads or randomness. A pure crate's tree holds none of them.
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
            problems.push(format!("crate {name} has no line in xtask/src/layers.rs"));
            continue;
        };
        for used in direct.iter().filter_map(|id| names.get(id)?.strip_prefix(PREFIX)) {
            if !allowed.contains(&used) {
                problems.push(format!("{name} must not depend on {PREFIX}{used}"));
            }
        }
        if PURE.contains(&short) {
            let reached = reach(id, &edges);
            let impure =
                reached.iter().filter_map(|id| names.get(id)).filter(|name| IMPURE.contains(&name.as_str()));
            problems
                .extend(impure.map(|found| format!("{name} is pure, and its dependency tree holds {found}")));
        }
    }
    problems
}

fn names(metadata: &Value) -> BTreeMap<String, String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.filter_map(|p| Some((p["id"].as_str()?.to_owned(), p["name"].as_str()?.to_owned()))).collect()
}

/// Normal dependencies only: tests may use what they like.
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

fn reach(from: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
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
    fn a_pure_crate_may_not_reach_a_runtime_through_others() {
        let found = check_tree(&[("pointsman-core", &["a"]), ("a", &["tokio"]), ("tokio", &[])]);
        assert_eq!(found, ["pointsman-core is pure, and its dependency tree holds tokio"]);
    }

    #[test]
    fn dependencies_point_one_way() {
        let found = check_tree(&[("pointsman-core", &["pointsman-config"]), ("pointsman-config", &[])]);
        assert_eq!(found, ["pointsman-core must not depend on pointsman-config"]);
    }

    #[test]
    fn every_crate_has_its_line() {
        assert_eq!(check_tree(&[("pointsman-new", &[])]).len(), 1);
    }
}
