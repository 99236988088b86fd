//! `workload`: the requests of clients.

mod arrivals;
mod classes;
mod trace;

use std::cell::RefCell;

use pointsman_workload::{Arrivals, Choice, Class, Lengths, Workload};
use pointsman_yaml::{Field, Fields, Problem, SourceText, ValueKind};

use super::Files;
use super::profiles::file_text;
use super::values::mistake;

/// The files that an experiment names, and their problems.
pub(super) struct Sources<'f> {
    pub(super) files: &'f dyn Files,
    /// The experiment's folder with a trailing separator; empty where its name has none.
    pub(super) folder: &'f str,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl Sources<'_> {
    /// Applies a reader to the file that a field names.
    fn read<T>(
        &self,
        field: &Field<'_>,
        read: impl FnOnce(&SourceText) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let text = file_text(field, self.files)?;
        let path = field.text()?;
        let folder = if path.starts_with('/') { "" } else { self.folder };
        match read(&SourceText::new(format!("{folder}{path}"), text)) {
            Ok(value) => Some(value),
            Err(problems) => {
                field.error("cannot be used, see its problems", "correct the file, or name another");
                self.problems.borrow_mut().extend(problems);
                None
            }
        }
    }
}

/// The context in which parts of a workload are read.
struct Reading<'s, 'f> {
    sources: &'s Sources<'f>,
    /// The longest request that every engine accepts, and the profile that sets this limit.
    limit: Option<(u32, String)>,
    cut_at: Option<u32>,
}

pub(super) fn read(
    field: &Field<'_>,
    sources: &Sources<'_>,
    limit: Option<(u32, String)>,
) -> Option<Workload> {
    field.fields(|fields| read_workload(fields, sources, limit)).flatten()
}

fn read_workload(
    fields: &mut Fields<'_>,
    sources: &Sources<'_>,
    limit: Option<(u32, String)>,
) -> Option<Workload> {
    let cut_field = fields.get("cutAt");
    let cut_at = cut_field.as_ref().and_then(|field| {
        let cut_at = field.u32_from(2)?;
        if let Some((most, profile)) = limit.as_ref().filter(|(most, _)| cut_at > *most) {
            let message = format!("is {cut_at}, but {profile} accepts {most} tokens");
            return mistake(field, message, format!("write {most} or less"));
        }
        Some(cut_at)
    });
    let reading = Reading { sources, limit, cut_at };
    let connections = fields.get("connections").and_then(|field| read_connections(&field));
    let (trace, classes) = (fields.get("trace"), fields.get("classes"));
    let has_trace = trace.is_some();
    let arrivals = match fields.get("arrivals") {
        Some(field) => arrivals::read(&field, has_trace),
        None => Some(if has_trace { Arrivals::Recorded } else { Arrivals::Poisson }),
    };
    if let (Some(_), Some(classes)) = (&trace, &classes) {
        classes.error("has no effect beside trace", "write one of the two");
    }
    let (classes, mix) = match (trace, classes) {
        (Some(trace), _) => {
            let (trace, is_log) = trace.fields(|fields| trace::read(fields, &reading)).unwrap_or_default();
            let lengths = trace.map(Lengths::Rows);
            (vec![classes::read(fields, &reading, Some(lengths), is_log)], Choice::weighted(&[1.0]))
        }
        (None, Some(list)) => classes::read_all(fields, &list, &reading),
        (None, None) => (vec![classes::read(fields, &reading, None, false)], Choice::weighted(&[1.0])),
    };
    let classes: Option<Vec<Class>> = classes.into_iter().collect();
    let mut classes = classes.filter(|classes| !classes.is_empty())?;
    if let Some(most) = cut_at.filter(|_| classes.iter().all(|class| class.sessions.is_none()))
        && let Some(longest) =
            classes.iter().map(Class::longest).max().filter(|longest| *longest <= u64::from(most))
        && let Some(field) = cut_field
    {
        field.error(format!("has no effect: the longest request has {longest} tokens"), "remove it");
    }
    classes::number_adapters(&mut classes);
    Some(Workload { arrivals: arrivals?, classes, mix, connections: connections.flatten(), cut_at })
}

fn read_connections(field: &Field<'_>) -> Option<Option<u32>> {
    if field.kind() == ValueKind::String {
        return field.choice(&[("per-request", None)]);
    }
    field.integer(1..=1_000_000).map(|count| u32::try_from(count).ok())
}
