//! Files that hold one document.

use std::sync::Arc;

use crate::field::Field;
use crate::parse::parse;
use crate::problem::{Location, Position, Problem, Severity};
use crate::report::Report;
use crate::source::{Limits, SourceText};

/// Reads a text that holds one document. `object` precedes the paths of problems, unless it is empty. Besides the value
/// come the warnings.
///
/// # Errors
/// Every problem, warnings included, in order of position, where at least one is an error.
pub fn read_document<T>(
    source: &SourceText,
    limits: &Limits,
    object: &str,
    read: impl FnOnce(&Field<'_>) -> Option<T>,
) -> Result<(T, Vec<Problem>), Vec<Problem>> {
    let report = Report::new(Arc::clone(&source.name), object.to_owned());
    let error_at = |position: Position, message: &str, fix: &str| {
        report.error_at(&Location { position, path: "".into() }, message, fix);
    };
    let mut roots = Vec::new();
    for document in parse(&source.text, limits) {
        match document {
            Ok(root) => roots.push(root),
            Err(error) => error_at(error.position, &error.message, error.fix),
        }
    }
    if let [_, second, ..] = roots.as_slice() {
        error_at(second.position, "a second document starts here", "keep one document per file");
    }
    let value = roots.first().and_then(|root| read(&Field::root(root, &report)));
    if roots.is_empty() && !report.has_errors() {
        error_at(Position::START, "the file is empty", "write its fields");
    }
    if value.is_none() && !report.has_errors() {
        error_at(Position::START, "cannot be used", "compare it with its reference");
    }
    let mut problems = report.into_problems();
    problems.sort_by_key(|problem| (problem.line, problem.column));
    match value.filter(|_| problems.iter().all(|problem| problem.severity == Severity::Warning)) {
        Some(value) => Ok((value, problems)),
        None => Err(problems),
    }
}
