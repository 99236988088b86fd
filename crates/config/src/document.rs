//! A document that is no manifest, read like one: each value with its place, every mistake in one run.
//!
//! [`read`] parses the text and hands its root to a reader. A [`Field`] is a value with its path, a [`Fields`] a
//! mapping that remembers which names were asked for and reports the rest; readers go on after each mistake.

use crate::decode::Report;
pub use crate::decode::{Field, Fields, Shape};
pub use crate::manifest::read_parameters;
use crate::problem::{Problem, Severity};
use crate::source::{Options, SourceText, parse};

/// Reads a text that holds one document.
///
/// # Errors
/// Every mistake, in order of its place.
pub fn read<T>(
    source: &SourceText,
    options: &Options,
    reader: impl FnOnce(&Field<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let problem = |line, column, message: &str, fix: &str| Problem {
        severity: Severity::Error,
        file: source.name.clone(),
        line,
        column,
        path: String::new(),
        message: message.to_owned(),
        fix: fix.to_owned(),
        object: None,
    };
    let (mut roots, mut problems) = (Vec::new(), Vec::new());
    for document in parse(&source.text, options) {
        match document {
            Ok(root) => roots.push(root),
            Err(defect) => {
                problems.push(problem(defect.mark.line, defect.mark.column, &defect.message, defect.fix));
            }
        }
    }
    if let [_, second, ..] = roots.as_slice() {
        let (line, column) = (second.mark.line, second.mark.column);
        problems.push(problem(line, column, "a second document stands here", "give it a file of its own"));
    }
    let mut value = None;
    match roots.first() {
        Some(root) => {
            let report = Report::new(source.name.clone(), String::new(), None);
            value = reader(&Field::new(root, String::new(), &report));
            problems.extend(report.into_problems());
        }
        None if problems.is_empty() => {
            problems.push(problem(1, 1, "there is nothing in it", "write its fields"));
        }
        None => {}
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ if problems.is_empty() => {
            Err(vec![problem(1, 1, "cannot be used", "compare it with its reference")])
        }
        _ => Err(problems),
    }
}
