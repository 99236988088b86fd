//! Clippy settings that keep clocks, I/O, threads and random seeds out of the pure crates.
//!
//! [`layers`](crate::layers) checks the packages that a pure crate depends on; these settings check what it uses of the
//! standard library. Clippy looks for `clippy.toml` from the member's manifest upwards and reads the first one alone.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::layers::PURE;

/// The settings of every pure crate.
const SETTINGS: &str = include_str!("pure.clippy.toml");

/// Problems, one sentence each.
///
/// # Errors
/// The workspace's clippy.toml cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let workspace = root.join("clippy.toml");
    let workspace = std::fs::read_to_string(&workspace).with_context(|| workspace.display().to_string())?;
    let mut problems: Vec<String> = workspace
        .lines()
        .filter(|line| !SETTINGS.lines().any(|repeated| repeated == *line))
        .map(|line| format!("xtask/src/pure.clippy.toml lacks the workspace's setting `{line}`"))
        .collect();
    for name in PURE {
        let file = format!("crates/{name}/clippy.toml");
        if std::fs::read_to_string(root.join(&file)).ok().as_deref() != Some(SETTINGS) {
            problems.push(format!(
                "{file} of the pure crate {name} must be a copy of xtask/src/pure.clippy.toml"
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(key: &str) -> Vec<String> {
        let settings: toml::Table = SETTINGS.parse().unwrap();
        let entries = settings[key].as_array().unwrap().iter();
        entries
            .map(|entry| {
                assert!(!entry["reason"].as_str().unwrap().is_empty(), "{entry:?}");
                entry["path"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn clocks_files_sockets_threads_and_seeds_are_disallowed() {
        let (types, methods) = (entries("disallowed-types"), entries("disallowed-methods"));
        for path in ["std::time::SystemTime", "std::net::TcpStream", "std::hash::RandomState"] {
            assert!(types.iter().any(|entry| entry == path), "{path}");
        }
        for path in ["std::time::Instant::now", "std::fs::read", "std::thread::spawn", "std::env::var"] {
            assert!(methods.iter().any(|entry| entry == path), "{path}");
        }
    }

    #[test]
    fn every_pure_crate_has_the_settings() {
        assert_eq!(check(crate::step::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_file_is_a_problem() {
        let folder = std::env::temp_dir().join(format!("pointsman-purity-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("clippy.toml"), "unknown-setting = true\n").unwrap();
        let found = check(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.len(), 1 + PURE.len(), "{found:?}");
        assert!(found[0].contains("unknown-setting"), "{found:?}");
    }
}
