//! The reference of an experiment's fields. `docs/simulator.md` contains the same list, and a test compares the names
//! with those that the readers accept.

/// The fields of an experiment as Markdown, which `simulate --explain-format` prints: a table for each mapping.
#[must_use]
pub const fn explain_format() -> &'static str {
    include_str!("format.md")
}

#[cfg(test)]
mod tests;
