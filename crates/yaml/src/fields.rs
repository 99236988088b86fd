//! Mappings and lists.

use crate::field::Field;
use crate::nearest::nearest;
use crate::node::{Key, Node, Value, quoted};
use crate::problem::{Location, Position, Severity};

/// A mapping that is being read. Each known name is asked for once; the others are reported as unknown.
#[derive(Debug)]
pub struct Fields<'a> {
    mapping: Field<'a>,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
    unsupported: Vec<&'static str>,
    ignores_rest: bool,
}

impl<'a> Field<'a> {
    fn mapping(&self) -> Option<&'a [(Key, Node)]> {
        let Value::Mapping(entries) = &self.node.value else {
            self.wrong_type("a mapping", "write `name: value` lines below it");
            return None;
        };
        Some(entries)
    }

    /// Reads a mapping. Names that `read` does not ask for are errors.
    pub fn fields<T>(&self, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let entries = self.mapping()?;
        let (known, unsupported) = (Vec::new(), Vec::new());
        let mut fields = Fields { mapping: self.clone(), entries, known, unsupported, ignores_rest: false };
        let value = read(&mut fields);
        fields.report_unknown();
        Some(value)
    }

    /// Reads a list of up to `max` items and omits those for which `read` returns `None`.
    pub fn list<T>(&self, max: usize, mut read: impl FnMut(&Field<'a>) -> Option<T>) -> Vec<T> {
        let Value::List(items) = &self.node.value else {
            self.wrong_type("a list", "write `- ` before each item");
            return Vec::new();
        };
        if items.len() > max {
            let message = format!("has {} items, at most {max} are allowed", items.len());
            self.error(message, "split it into several objects");
        }
        let items = items.iter().enumerate().take(max);
        items.filter_map(|(i, node)| read(&self.child(node, &format!("[{i}]")))).collect()
    }

    /// Reads a list as [`Field::list`] does. An empty list is an error.
    pub fn non_empty_list<T>(
        &self,
        max: usize,
        fix: &str,
        read: impl FnMut(&Field<'a>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.list(max, read);
        if items.is_empty() && self.is_sound() {
            self.error("is empty", fix);
        }
        items
    }

    /// Reads a mapping with arbitrary names.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        let entry = |(key, node): &'a (Key, Node)| (&*key.name, self.child(node, &format!(".{}", key.name)));
        self.mapping().unwrap_or_default().iter().map(entry).collect()
    }

    /// Reads a mapping of strings with arbitrary names, such as labels, and omits values of another type.
    pub fn string_entries(&self) -> Vec<(&'a str, Self)> {
        let entry = |(key, node): &'a (Key, Node)| {
            let field = self.child(node, &format!("[{}]", quoted(&key.name)));
            field.text().map(|_| (&*key.name, field))
        };
        self.mapping().unwrap_or_default().iter().filter_map(entry).collect()
    }
}

impl<'a> Fields<'a> {
    fn entry(&self, name: &str) -> Option<&'a (Key, Node)> {
        self.entries.iter().find(|(key, node)| &*key.name == name && !node.is_null())
    }

    /// The field `name`, unless it is absent or null.
    pub fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let (_, node) = self.entry(name)?;
        Some(Field { node, path: self.mapping.path_of(name), report: self.mapping.report })
    }

    /// The optional field `name`: `Some(None)` where it is absent, `None` where `read` cannot use it.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.get(name).map_or(Some(None), |field| read(&field).map(Some))
    }

    /// The field `name`, or `default` where it is absent or `read` cannot use it.
    pub fn value_or<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> T {
        self.get(name).and_then(|field| read(&field)).unwrap_or(default)
    }

    /// Whether the field `name` is present and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The field `name`; its absence is an error.
    pub fn required(&mut self, name: &'static str, fix: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            self.error_in(name, "is missing", fix);
        }
        field
    }

    /// The required field `name` as read by `read`.
    pub fn required_value<T>(
        &mut self,
        name: &'static str,
        fix: &str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        self.required(name, fix).and_then(|field| read(&field))
    }

    /// The items of the optional list `name`: see [`Field::list`].
    pub fn list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl FnMut(&Field<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.get(name).map(|field| field.list(max, read)).unwrap_or_default()
    }

    /// Reports an error where the field `name`, which the API has and Pointsman does not support, is present.
    pub fn refuse(&mut self, name: &'static str, message: &str, fix: &str) {
        self.unsupported.push(name);
        if let Some((key, _)) = self.entry(name) {
            self.error_at_key(key.position, name, message, fix);
        }
    }

    /// Accepts the field `name`, which the API has and which has no effect here, with a warning where it is present.
    pub fn pass_over(&mut self, name: &'static str, message: &str, fix: &str) {
        self.unsupported.push(name);
        if let Some((key, _)) = self.entry(name) {
            let path = self.mapping.path_of(name);
            let (message, fix) = (message.to_owned(), fix.to_owned());
            self.mapping.report.push(Severity::Warning, key.position, &path, message, fix);
        }
    }

    /// Accepts a field without effect.
    pub fn ignore(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Accepts all other fields, where an earlier mistake leaves open which fields are valid.
    pub fn ignore_rest(&mut self) {
        self.ignores_rest = true;
    }

    /// The location of the mapping.
    #[must_use]
    pub fn location(&self) -> Location {
        self.mapping.location()
    }

    /// Whether no error is reported so far in the field `name`.
    #[must_use]
    pub fn is_sound(&self, name: &str) -> bool {
        self.mapping.is_sound_at(name)
    }

    /// Whether any error is reported so far in the whole object.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.mapping.report.has_errors()
    }

    /// Reports a mistake of the mapping as a whole.
    pub fn error(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.mapping.error(message, fix);
    }

    /// Reports a warning on the mapping as a whole.
    pub fn warn(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.mapping.warn(message, fix);
    }

    /// Reports a mistake of the field `name` at the start of the mapping.
    pub fn error_in(&self, name: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.error_at_key(self.mapping.node.position, name, message, fix);
    }

    /// Reports a mistake at another location of the same object.
    pub fn error_at(&self, location: &Location, message: impl Into<String>, fix: impl Into<String>) {
        self.mapping.error_at(location, message, fix);
    }

    fn error_at_key(
        &self,
        position: Position,
        name: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let path = self.mapping.path_of(name);
        self.mapping.report.push(Severity::Error, position, &path, message.into(), fix.into());
    }

    /// The names that were asked for, each once.
    fn known_names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in &self.known {
            if !names.contains(name) {
                names.push(*name);
            }
        }
        names
    }

    fn report_unknown(&self) {
        if self.ignores_rest {
            return;
        }
        for (key, _) in self.entries {
            let name = &*key.name;
            if self.known.contains(&name) || self.unsupported.contains(&name) {
                continue;
            }
            let fix = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if self.known.is_empty() => "remove it: no field has an effect here".to_owned(),
                None => format!("remove it; known fields are {}", self.known_names().join(", ")),
            };
            self.error_at_key(key.position, name, "is not a known field", fix);
        }
    }
}
