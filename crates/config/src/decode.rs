//! A typed reading of the node tree which goes on after each mistake, so that one run names them all.
//!
//! A [`Field`] is a value with its path; a [`Fields`] is a mapping that remembers which names were asked for, so
//! that whatever is left over is reported with the nearest known name.

mod fields;
mod scalars;
mod text;

use std::cell::RefCell;
use std::sync::Arc;

pub use fields::Fields;
pub(crate) use text::{is_dns_label, is_dns_name, is_label_key, is_label_value, nearest};

use crate::manifest::ObjectId;
use crate::problem::{Located, Mark, Problem, Severity, Spot};
use crate::source::Node;

/// More mistakes in one object than anybody reads at a time.
const MOST_PER_OBJECT: usize = 100;

/// Where the problems of one object go.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    /// `HTTPRoute default/chat`, as far as it is known.
    label: String,
    object: Option<ObjectId>,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(crate) fn new(file: Arc<str>, label: String, object: Option<ObjectId>) -> Self {
        Self { file, label, object, problems: RefCell::default() }
    }

    pub(crate) fn error(&self, mark: Mark, path: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, mark, path, message.into(), fix.into());
    }

    pub(crate) fn warn(&self, mark: Mark, path: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Warning, mark, path, message.into(), fix.into());
    }

    pub(crate) fn error_at(&self, spot: &Spot, message: impl Into<String>, fix: impl Into<String>) {
        self.error(spot.mark, &spot.path, message, fix);
    }

    fn push(&self, severity: Severity, mark: Mark, path: &str, message: String, fix: String) {
        if self.problems.borrow().len() >= MOST_PER_OBJECT {
            return;
        }
        let path = self.path_in_file(path);
        self.problems.borrow_mut().push(Problem {
            severity,
            file: Arc::clone(&self.file),
            line: mark.line,
            column: mark.column,
            path,
            message,
            fix,
            object: self.object.clone(),
        });
    }

    /// A path behind the object's name.
    fn path_in_file(&self, path: &str) -> String {
        match (self.label.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => self.label.clone(),
            (false, false) => format!("{}: {path}", self.label),
        }
    }

    /// The namespace of the object.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.object.as_ref().map(|object| &*object.name.namespace)
    }

    /// Whether no error was found at a path or below it.
    pub(crate) fn is_sound(&self, path: &str) -> bool {
        let at = self.path_in_file(path);
        let below = |problem: &Problem| {
            let rest = problem.path.strip_prefix(&at)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(())
        };
        let problems = self.problems.borrow();
        problems.iter().all(|problem| problem.severity == Severity::Warning || below(problem).is_none())
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// The kinds of values, as far as a format lets one stand for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number without quotes.
    Number,
    /// Any other scalar.
    Text,
    /// A list.
    List,
    /// A mapping.
    Map,
}

/// A value with its path.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) report: &'a Report,
}

impl<'a> Field<'a> {
    pub(crate) fn new(node: &'a Node, path: String, report: &'a Report) -> Self {
        Self { node, path, report }
    }

    pub(crate) fn spot(&self) -> Spot {
        Spot { mark: self.node.mark, path: self.path.as_str().into() }
    }

    /// Whether nothing was found wrong in it so far.
    pub fn is_sound(&self) -> bool {
        self.report.is_sound(&self.path)
    }

    /// Reports a mistake at the value: what is wrong, and what to do about it.
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report.error(self.node.mark, &self.path, message, fix);
    }

    pub(crate) fn locate<T>(&self, value: T) -> Located<T> {
        Located { value, spot: self.spot() }
    }

    fn wrong_type(&self, wanted: &str) {
        let fix = match wanted {
            "a text" => "put it in quotes",
            "a whole number" | "a number" => "write a number without quotes",
            "true or false" => "write true or false without quotes",
            "a list" => "write `- ` before each item",
            _ => "write `name: value` lines below it",
        };
        self.error(format!("wants {wanted}, found {}", self.node.describe()), fix);
    }
}
