//! Checks on source files: length and unfinished code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Limit on the lines of a file before its tests.
const MAX_LINES: usize = 500;

/// Marks of unfinished code, and tests that are skipped.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore"];

/// Problems, one sentence each.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for folder in ["crates", "xtask"] {
        for file in rust_files(&root.join(folder))? {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            problems.extend(check_file(&name, &text));
        }
    }
    Ok(problems)
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let tests = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let lines = text[..tests].lines().count();
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs") || name.contains("/benches/");
    if lines > MAX_LINES && !is_test {
        problems.push(format!("{name} has {lines} lines before its tests; split it"));
    }
    // This file lists the marks.
    if name != "xtask/src/sources.rs" {
        for word in UNFINISHED.iter().filter(|word| text.contains(**word)) {
            problems.push(format!("{name} contains `{word}`"));
        }
    }
    problems
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_unfinished_code_are_problems() {
        assert_eq!(check_file("crates/a/src/b.rs", &"\n".repeat(501)).len(), 1);
        assert_eq!(check_file("crates/a/tests/b.rs", &"\n".repeat(501)).len(), 0);
        assert_eq!(check_file("crates/a/src/b.rs", "// FIXME").len(), 1);
    }
}
