//! Reference of an experiment's fields, which `simulate --explain-format` prints and `docs/simulator.md` contains. A test
//! compares the names with those that the readers accept.

mod table;

use std::fmt::Write as _;

use table::SECTIONS;

/// A mapping of the format.
struct Section {
    /// Its path in an experiment; empty for the top level.
    path: &'static str,
    about: &'static str,
    fields: &'static [FieldText],
}

/// A field of a mapping.
struct FieldText {
    name: &'static str,
    /// Accepted values.
    takes: &'static str,
    /// The default, or `required`.
    default: &'static str,
    about: &'static str,
}

/// The fields of an experiment as Markdown: a table for each mapping.
#[must_use]
pub fn explain_format() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let title = if section.path.is_empty() { "The experiment" } else { section.path };
        let title = if section.path.is_empty() { title.to_owned() } else { format!("`{title}`") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "### {title}\n\n{}\n", section.about);
        let _ = writeln!(text, "| Field | Takes | Default | Meaning |\n|---|---|---|---|");
        for FieldText { name, takes, default, about } in section.fields {
            let _ = writeln!(text, "| `{name}` | {takes} | {default} | {about} |");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
