//! Checks the locked packages against the licences and bans of deny.toml, without cargo-deny.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Problems, one sentence each.
///
/// # Errors
/// deny.toml cannot be read or parsed.
pub(crate) fn check(metadata: &Value, deny: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(deny).with_context(|| deny.display().to_string())?;
    let rules: toml::Table = text.parse().with_context(|| deny.display().to_string())?;
    let allowed = strings(&rules["licenses"]["allow"]);
    let banned: Vec<&str> = rules["bans"]["deny"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ban| ban["name"].as_str())
        .collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or("none");
        if !permitted(licence, &allowed) {
            problems.push(format!("{name} has the licence `{licence}`, which deny.toml does not allow"));
        }
        if banned.contains(&name) {
            problems.push(format!("{name} is banned in deny.toml"));
        }
    }
    Ok(problems)
}

fn strings(value: &toml::Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(toml::Value::as_str).collect()
}

/// Whether the allowed licences satisfy an SPDX expression of `OR`, `AND` and parentheses around `OR`s; a slash, the
/// form before SPDX, means `OR`.
fn permitted(expression: &str, allowed: &[&str]) -> bool {
    let flat = expression.replace('/', " OR ").replace(['(', ')'], "");
    flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.contains(&licence.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_needs_one_alternative_of_each_part() {
        let allowed = ["MIT", "Apache-2.0"];
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
        ] {
            assert_eq!(permitted(expression, &allowed), met, "{expression}");
        }
    }
}
