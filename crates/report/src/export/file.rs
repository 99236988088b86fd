//! Files of an export.

/// One file of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportFile {
    /// Path below the folder of the export, separated by `/`.
    pub path: String,
    /// Contents.
    pub json: serde_json::Value,
}

/// Replaces characters that are special in paths or in the patterns of notebooks by hyphens.
pub(super) fn path_part(name: &str) -> String {
    let allowed = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let part: String = name.chars().map(|letter| if allowed(letter) { letter } else { '-' }).collect();
    if part.chars().all(|letter| letter == '.') { format!("-{part}") } else { part }
}
