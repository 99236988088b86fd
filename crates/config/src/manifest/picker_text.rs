//! Configurations of the endpoint picker beside manifests: as a document, or as a text in a ConfigMap.

use std::sync::Arc;

use pointsman_yaml::{Limits, Node, Problem, SourceText};

use crate::picker_config::{self, read_picker_config};

/// Whether a ConfigMap's `data` has a configuration of the picker.
pub(super) fn is_in(data: &Node) -> bool {
    texts(data).next().is_some()
}

/// The keys and values of a ConfigMap's `data` that are configurations of the picker.
pub(crate) fn texts(data: &Node) -> impl Iterator<Item = (&str, &Node)> {
    data.entries().filter(|(_, value)| value.text().is_some_and(is_picker_config))
}

/// Whether a text says that it is an EndpointPickerConfig.
fn is_picker_config(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == format!("kind: {}", picker_config::KIND))
}

/// Adds the problems of the configurations in a document that is passed over.
pub(super) fn check(file: &Arc<str>, root: &Node, kind: &str, limits: &Limits, problems: &mut Vec<Problem>) {
    if kind == picker_config::KIND {
        problems.extend(picker_config::check(file, root));
        return;
    }
    let Some(data) = root.entry("data") else { return };
    for (key, value) in texts(data) {
        let text = value.text().unwrap_or_default();
        let source = SourceText::new(Arc::clone(file), text);
        let found = match read_picker_config(&source, limits) {
            Ok((_, warnings)) => warnings,
            Err(found) => found,
        };
        let start = value.position;
        problems.extend(found.into_iter().map(|problem| Problem {
            line: problem.line.saturating_add(start.line - 1),
            column: problem.column.saturating_add(start.column - 1),
            path: format!("data[{key:?}]: {}", problem.path),
            ..problem
        }));
    }
}
