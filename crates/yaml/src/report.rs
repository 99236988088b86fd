//! Collected problems of one object.

use std::cell::RefCell;
use std::sync::Arc;

use crate::problem::{Location, Position, Problem, Severity};

/// Maximum number of problems reported for one object.
const MAX_PROBLEMS: usize = 100;

/// Collects the problems of one object.
#[derive(Debug)]
pub struct Report {
    file: Arc<str>,
    /// Prefix of every path, such as `HTTPRoute default/chat`; empty for none.
    object: String,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// An empty report on an object of a file. `object` precedes every path, unless it is empty.
    #[must_use]
    pub fn new(file: Arc<str>, object: String) -> Self {
        Self { file, object, problems: RefCell::default() }
    }

    /// Reports an error at a location.
    pub fn error_at(&self, location: &Location, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, location.position, &location.path, message.into(), fix.into());
    }

    pub(crate) fn push(
        &self,
        severity: Severity,
        position: Position,
        path: &str,
        message: String,
        fix: String,
    ) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MAX_PROBLEMS {
            let Position { line, column } = position;
            let (file, path) = (Arc::clone(&self.file), self.full_path(path));
            problems.push(Problem { severity, file, line, column, path, message, fix });
        }
    }

    fn full_path(&self, path: &str) -> String {
        match (self.object.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => self.object.clone(),
            (false, false) => format!("{}: {path}", self.object),
        }
    }

    /// Whether no error is reported at `path` or below it.
    pub(crate) fn is_sound(&self, path: &str) -> bool {
        let path = self.full_path(path);
        let is_below = |problem: &Problem| {
            problem
                .path
                .strip_prefix(&path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let problems = self.problems.borrow();
        problems.iter().all(|problem| problem.severity == Severity::Warning || !is_below(problem))
    }

    /// Whether any error is reported.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems in the order of reporting.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}
