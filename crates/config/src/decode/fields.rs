//! Mappings and lists.

use super::text::nearest;
use super::{Field, Report};
use crate::problem::{Mark, Spot};
use crate::source::{Key, Node, Value, quoted};

/// A mapping being read. Every name is asked for once; [`Field::fields`] reports the rest.
#[derive(Debug)]
pub struct Fields<'a> {
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    open: bool,
    mark: Mark,
    path: String,
    pub(crate) report: &'a Report,
}

impl<'a> Field<'a> {
    /// Reads a mapping; names that `read` did not ask for are errors.
    pub fn fields<T>(&self, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a mapping");
            return None;
        };
        let mut fields = Fields {
            entries,
            known: Vec::new(),
            refused: Vec::new(),
            open: false,
            mark: self.node.mark,
            path: self.path.clone(),
            report: self.report,
        };
        let value = read(&mut fields);
        fields.report_unknown();
        Some(value)
    }

    /// Reads a list; items for which `read` gives nothing are left out, and have reported why.
    pub fn list<T>(&self, most: usize, mut read: impl FnMut(&Field<'a>) -> Option<T>) -> Vec<T> {
        let Value::List(items) = &self.node.value else {
            self.wrong_type("a list");
            return Vec::new();
        };
        if items.len() > most {
            self.error(
                format!("has {} items, the most is {most}", items.len()),
                "split it over several objects",
            );
        }
        let fields = items.iter().enumerate().take(most);
        fields
            .filter_map(|(i, node)| read(&Field::new(node, format!("{}[{i}]", self.path), self.report)))
            .collect()
    }

    /// Reads a mapping whose names the writer chooses.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a mapping");
            return Vec::new();
        };
        let field = |(key, node): &'a (Key, Node)| {
            (&*key.name, Self::new(node, format!("{}.{}", self.path, key.name), self.report))
        };
        entries.iter().map(field).collect()
    }

    /// Reads a mapping of texts.
    pub(crate) fn text_map(&self) -> Vec<(&'a str, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a mapping");
            return Vec::new();
        };
        let field = |(key, node): &'a (Key, Node)| {
            let field = Field::new(node, format!("{}[{}]", self.path, quoted(&key.name)), self.report);
            field.text().map(|_| (&*key.name, field))
        };
        entries.iter().filter_map(field).collect()
    }
}

impl<'a> Fields<'a> {
    /// The field of that name, unless it is absent or null.
    pub fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let (_, node) = self.entries.iter().find(|(key, node)| &*key.name == name && !node.is_null())?;
        Some(Field::new(node, self.path_of(name), self.report))
    }

    /// Whether there is a field of that name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, node)| &*key.name == name && !node.is_null())
    }

    /// The field of that name; its absence is an error.
    pub fn required(&mut self, name: &'static str, fix: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            self.report.error(self.mark, &self.path_of(name), "is missing", fix);
        }
        field
    }

    /// A field of the API that we do not support: its presence is an error that says so.
    pub fn refuse(&mut self, name: &'static str, why: &str, fix: &str) {
        self.refused.push(name);
        let entry = self.entries.iter().find(|(key, node)| &*key.name == name && !node.is_null());
        if let Some((key, _)) = entry {
            self.report.error(key.mark, &self.path_of(name), why, fix);
        }
    }

    /// Passes over a field on purpose; the manifest reference says which and why.
    pub(crate) fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Passes over all names not asked for: a mistake that was reported leaves open what they should be.
    pub fn ignore_rest(&mut self) {
        self.open = true;
    }

    /// Where the mapping starts.
    pub(crate) fn spot(&self) -> Spot {
        Spot { mark: self.mark, path: self.path.as_str().into() }
    }

    /// Reports a mistake of the mapping as a whole.
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.report.error(self.mark, &self.path, message, fix);
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn report_unknown(&self) {
        if self.open {
            return;
        }
        for (key, _) in self.entries {
            let name = &*key.name;
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            let fix = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            self.report.error(key.mark, &self.path_of(name), "is not a field here", fix);
        }
    }
}
