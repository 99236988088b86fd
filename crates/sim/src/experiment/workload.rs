//! `workload`: what clients ask for, and when.

use std::cell::RefCell;
use std::sync::Arc;

use pointsman_config::document::{Field, Fields, Shape};
use pointsman_config::{Problem, SourceText};

use super::Files;
use super::distributions::{self, Unit, read_choice};
use super::profiles::file_text;
use super::values::{above_zero, time_span};
use crate::workload::traces::{TraceFormat, read_sharegpt};
use crate::workload::{
    Adapters, Arrivals, Choice, Class, LengthTable, Lengths, OutputBound, Prefixes, Sessions, Trace, Workload,
};

/// Files that an experiment names, and what is wrong in them.
pub(super) struct Sources<'f> {
    pub(super) files: &'f dyn Files,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl Sources<'_> {
    /// What a reader makes of the text of the file that a field names.
    fn read<T>(
        &self,
        field: &Field<'_>,
        read: impl FnOnce(&SourceText) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let text = file_text(field, self.files)?;
        let name = field.text()?;
        match read(&SourceText::new(name, text)) {
            Ok(value) => Some(value),
            Err(problems) => {
                field.error("cannot be used: its own lines say why", "mend the file, or name another");
                self.problems.borrow_mut().extend(problems);
                None
            }
        }
    }
}

/// A class as it was read, and where its mistakes belong.
struct Reading<'s, 'f> {
    sources: &'s Sources<'f>,
    /// The longest request that every engine takes, with the profile that says so.
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
            let message = format!("is {cut_at}, and {profile} takes {most} tokens at most");
            field.error(message, format!("write {most} or less"));
            return None;
        }
        Some(cut_at)
    });
    let reading = Reading { sources, limit, cut_at };
    let connections = fields.get("connections").and_then(|field| read_connections(&field));
    let (trace, classes) = (fields.get("trace"), fields.get("classes"));
    let has_trace = trace.is_some();
    let arrivals = match fields.get("arrivals") {
        Some(field) => read_arrivals(&field, has_trace),
        None => Some(if has_trace { Arrivals::Recorded } else { Arrivals::Poisson }),
    };
    if let (Some(_), Some(classes)) = (&trace, &classes) {
        classes.error("has no effect beside trace", "write one of the two");
    }
    let (classes, mix) = match (trace, classes) {
        (Some(trace), _) => {
            let (trace, is_log) = trace.fields(|fields| read_trace(fields, &reading)).unwrap_or_default();
            let lengths = trace.map(Lengths::Rows);
            (vec![read_class(fields, &reading, Some(lengths), is_log)], Choice::weighted(&[1.0]))
        }
        (None, Some(list)) => read_classes(fields, &list, &reading),
        (None, None) => (vec![read_class(fields, &reading, None, false)], Choice::weighted(&[1.0])),
    };
    let classes: Option<Vec<Class>> = classes.into_iter().collect();
    let mut classes = classes.filter(|classes| !classes.is_empty())?;
    if let Some(most) = cut_at.filter(|_| classes.iter().all(|class| class.sessions.is_none()))
        && let Some(longest) =
            classes.iter().map(Class::longest).max().filter(|longest| *longest <= u64::from(most))
        && let Some(field) = cut_field
    {
        field.error(format!("has no effect: requests come to {longest} tokens at most"), "remove it");
    }
    number_adapters(&mut classes);
    Some(Workload { arrivals: arrivals?, classes, mix, connections: connections.flatten(), cut_at })
}

fn read_connections(field: &Field<'_>) -> Option<Option<u32>> {
    if field.shape() == Shape::Text {
        return field.choice(&[("per-request", None)]);
    }
    field.integer(1..=1_000_000).map(|count| u32::try_from(count).ok())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Poisson,
    Constant,
    Gamma,
    Bursts,
    Recorded,
}

const ARRIVALS: [(&str, Kind); 5] = [
    ("poisson", Kind::Poisson),
    ("constant", Kind::Constant),
    ("gamma", Kind::Gamma),
    ("bursts", Kind::Bursts),
    ("recorded", Kind::Recorded),
];

fn read_arrivals(field: &Field<'_>, has_trace: bool) -> Option<Arrivals> {
    let arrivals = match field.shape() {
        Shape::Map => field.fields(read_arrivals_kind).flatten(),
        Shape::Number | Shape::Text | Shape::List => match field.choice(&ARRIVALS)? {
            Kind::Poisson => Some(Arrivals::Poisson),
            Kind::Constant => Some(Arrivals::Constant),
            Kind::Recorded => Some(Arrivals::Recorded),
            Kind::Gamma => {
                field.error("gamma wants cv", "write arrivals: {kind: gamma, cv: 3}");
                None
            }
            Kind::Bursts => {
                let fix = "write arrivals: {kind: bursts, on: 10s, off: 30s, factor: 5}";
                field.error("bursts want on, off and factor", fix);
                None
            }
        },
    }?;
    if arrivals == Arrivals::Recorded && !has_trace {
        field.error("there is no trace to take arrivals from", "write trace, or other arrivals");
        return None;
    }
    Some(arrivals)
}

fn read_arrivals_kind(fields: &mut Fields<'_>) -> Option<Arrivals> {
    let kind = fields.required("kind", "write kind: poisson, constant, gamma, bursts or recorded");
    let Some(kind) = kind.and_then(|field| field.choice(&ARRIVALS)) else {
        fields.ignore_rest();
        return None;
    };
    if kind != Kind::Gamma {
        fields.refuse("cv", "has no effect: only gamma arrivals have it", "remove it, or write kind: gamma");
    }
    if kind != Kind::Bursts {
        for name in ["on", "off", "factor"] {
            fields.refuse(name, "has no effect: only bursts have it", "remove it, or write kind: bursts");
        }
    }
    match kind {
        Kind::Poisson => Some(Arrivals::Poisson),
        Kind::Constant => Some(Arrivals::Constant),
        Kind::Recorded => Some(Arrivals::Recorded),
        Kind::Gamma => {
            let cv = fields.required("cv", "write cv: 3").and_then(|f| above_zero(&f, 100.0))?;
            Some(Arrivals::Gamma { cv })
        }
        Kind::Bursts => {
            let on = fields.required("on", "write on: 10s").and_then(|f| time_span(&f));
            let off = fields.required("off", "write off: 30s").and_then(|f| time_span(&f));
            let factor = fields.required("factor", "write factor: 5").and_then(|f| f.number(1.001..=1e4));
            Some(Arrivals::Bursts { on: on?, off: off?, factor: factor? })
        }
    }
}

/// Formats of traces: others' publications, or a gateway's own log.
const EVENT_LOG: &str = "event-log";

/// The trace, and whether it is a gateway's event log.
fn read_trace(fields: &mut Fields<'_>, reading: &Reading<'_, '_>) -> (Option<Arc<Trace>>, bool) {
    let formats = TraceFormat::ALL.map(|format| (format.name(), Some(format)));
    let formats: Vec<(&'static str, Option<TraceFormat>)> =
        formats.into_iter().chain([(EVENT_LOG, None)]).collect();
    let format = fields.required("format", "write format: azure, mooncake, burstgpt or event-log");
    let format = format.and_then(|field| field.choice(&formats));
    let file = fields.required("file", "write the trace's path");
    let holes = fields.get("holes");
    if let (Some(None), Some(field)) = (format, &holes) {
        field.error("has no effect: an event log says itself where something is missing", "remove it");
    }
    let keep_holes = holes.and_then(|f| f.choice(&[("keep", true), ("refuse", false)])).unwrap_or(false);
    let is_log = format == Some(None);
    let trace = format.zip(file).and_then(|(format, file)| read_rows(format, &file, keep_holes, reading));
    (trace, is_log)
}

fn read_rows(
    format: Option<TraceFormat>,
    file: &Field<'_>,
    keep_holes: bool,
    reading: &Reading<'_, '_>,
) -> Option<Arc<Trace>> {
    let trace = match format {
        Some(format) => reading.sources.read(file, |source| format.read(source, keep_holes))?,
        None => match reading.sources.files.recorded(file.text_up_to(4_096)?) {
            Ok(requests) => {
                let trace = Trace::recorded(requests);
                if trace.is_none() {
                    file.error("the log has no request", "name another log");
                }
                trace?
            }
            Err(why) => {
                file.error(format!("cannot be read: {why}"), "write a path from the experiment's folder on");
                return None;
            }
        },
    };
    if let (Some((most, profile)), None) = (&reading.limit, reading.cut_at) {
        let (longest, row) = trace.longest();
        if longest > u64::from(*most) {
            let message =
                format!("request {} has {longest} tokens, and {profile} takes {most} at most", row + 1);
            file.error(message, format!("write workload.cutAt: {most}, or a profile with more"));
            return None;
        }
    }
    Some(Arc::new(trace))
}

fn read_classes(
    fields: &mut Fields<'_>,
    list: &Field<'_>,
    reading: &Reading<'_, '_>,
) -> (Vec<Option<Class>>, Choice) {
    for name in CLASS_FIELDS {
        fields.refuse(name, "stands beside classes, which have it each", "move it into the classes");
    }
    let mut weights = Vec::new();
    let classes = list.list(50, |item| {
        let class = item.fields(|fields| {
            let weight = fields.get("weight").map_or(Some(1.0), |f| above_zero(&f, 1e9));
            weights.push(weight.unwrap_or(1.0));
            read_class(fields, reading, None, false)
        });
        Some(class.flatten())
    });
    if classes.is_empty() && list.is_sound() {
        list.error("has no class", "write at least one");
    }
    (classes, Choice::weighted(&weights))
}

/// The fields that [`read_class`] asks for.
const CLASS_FIELDS: [&str; 7] =
    ["lengths", "prefixes", "sessions", "adapters", "criticality", "streamed", "maxTokens"];

/// Reads one class. `given` are lengths that a trace gave, or failed to; a log brings what is no matter of lengths too.
fn read_class(
    fields: &mut Fields<'_>,
    reading: &Reading<'_, '_>,
    given: Option<Option<Lengths>>,
    is_log: bool,
) -> Option<Class> {
    let has_trace = given.is_some();
    if has_trace {
        for name in ["lengths", "prefixes", "sessions"] {
            fields.refuse(name, "has no effect beside trace, which says it", "remove it, or the trace");
        }
    }
    if is_log {
        for name in ["adapters", "criticality", "streamed", "maxTokens"] {
            fields.refuse(name, "has no effect beside an event log, which says it", "remove it");
        }
        return Some(Class::plain(given.flatten()?));
    }
    let lengths = match given {
        Some(lengths) => lengths,
        None => fields
            .required("lengths", "write lengths: sharegpt, or {prompt: 1000, output: 200}")
            .and_then(|field| read_lengths(&field, reading.sources)),
    };
    let (prefixes, sessions) = match has_trace {
        true => (None, None),
        false => (fields.get("prefixes"), fields.get("sessions")),
    };
    let prefixes = prefixes.map_or(Some(None), |f| f.fields(read_prefixes).flatten().map(Some));
    let sessions = sessions.map_or(Some(None), |f| f.fields(read_sessions).flatten().map(Some));
    let adapters = fields.get("adapters").map_or(Some(None), |f| f.fields(read_adapters).flatten().map(Some));
    let priorities =
        fields.get("criticality").map_or(Some((vec![0], Choice::weighted(&[1.0]))), |f| read_criticality(&f));
    let streamed = fields.get("streamed").map_or(Some(1.0), |f| f.share());
    let max_output = fields.get("maxTokens").map_or(Some(OutputBound::Unset), |f| read_bound(&f));
    let class = Class {
        lengths: lengths?,
        prefixes: prefixes?,
        sessions: sessions?,
        adapters: adapters?,
        priorities: priorities?,
        streamed: streamed?,
        max_output: max_output?,
    };
    if let (Some((most, profile)), None, false) = (&reading.limit, reading.cut_at, has_trace)
        && class.longest() > u64::from(*most)
    {
        let message = format!(
            "requests come to {} tokens, and {profile} takes {most} at most: they fit no engine",
            class.longest()
        );
        fields
            .error(message, format!("write workload.cutAt: {most}, shorter lengths, or a profile with more"));
        return None;
    }
    Some(class)
}

fn read_lengths(field: &Field<'_>, sources: &Sources<'_>) -> Option<Lengths> {
    if field.shape() != Shape::Map {
        let table = field.choice(&LengthTable::ALL.map(|table| (table.name(), table)))?;
        return Some(Lengths::Drawn { prompt: table.prompt(), output: table.output() });
    }
    field.fields(|fields| {
        if let Some(file) = fields.get("sharegpt") {
            for name in ["prompt", "output"] {
                fields.refuse(name, "has no effect beside sharegpt", "write one of the two");
            }
            return sources.read(&file, read_sharegpt).map(Lengths::Pairs);
        }
        let mut tokens =
            |name, fix| fields.required(name, fix).and_then(|f| distributions::read(&f, Unit::Count));
        let prompt = tokens("prompt", "write prompt: 1000, or a distribution");
        let output = tokens("output", "write output: 200, or a distribution");
        Some(Lengths::Drawn { prompt: prompt?, output: output? })
    })?
}

fn read_prefixes(fields: &mut Fields<'_>) -> Option<Prefixes> {
    let groups = read_choice(fields, "groups", 1_000_000);
    let tokens =
        fields.required("tokens", "write tokens: 6000").and_then(|f| distributions::read(&f, Unit::Count));
    Some(Prefixes { groups: groups?, tokens: tokens? })
}

fn read_sessions(fields: &mut Fields<'_>) -> Option<Sessions> {
    let turns = fields.required("turns", "write turns: 4, or a distribution");
    let turns = turns.and_then(|field| {
        let turns = distributions::read(&field, Unit::Count)?;
        if turns.most_tokens() <= 1 {
            field.error("is 1: nothing follows upon the first turn", "write more, or remove sessions");
            return None;
        }
        Some(turns)
    });
    let think = fields.required("thinkTime", "write thinkTime: 30s, or a distribution");
    let think = think.and_then(|f| distributions::read(&f, Unit::Seconds));
    let system =
        fields.get("systemPrompt").map_or(Some(None), |f| distributions::read(&f, Unit::Count).map(Some));
    Some(Sessions { turns: turns?, think_time: think?, system_prompt: system? })
}

fn read_adapters(fields: &mut Fields<'_>) -> Option<Adapters> {
    let choice = read_choice(fields, "count", 10_000);
    let base = fields.get("base").map_or(Some(0.0), |field| field.number(0.0..=0.999));
    let (choice, base) = (choice?, base?);
    if base == 0.0 {
        return Some(Adapters { choice, with_base: false, first: 0 });
    }
    let weights = (0..choice.count()).map(|place| choice.share(place) * (1.0 - base)).chain([base]);
    Some(Adapters { choice: Choice::weighted(&weights.collect::<Vec<_>>()), with_base: true, first: 0 })
}

/// Adapters of different classes are different adapters.
fn number_adapters(classes: &mut [Class]) {
    let mut first = 0;
    for adapters in classes.iter_mut().filter_map(|class| class.adapters.as_mut()) {
        adapters.first = first;
        let count = adapters.choice.count() - usize::from(adapters.with_base);
        first = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

const CRITICALITIES: [(&str, i32); 3] = [("critical", 1), ("standard", 0), ("sheddable", -1)];

fn read_criticality(field: &Field<'_>) -> Option<(Vec<i32>, Choice)> {
    if field.shape() != Shape::Map {
        return field.choice(&CRITICALITIES).map(|priority| (vec![priority], Choice::weighted(&[1.0])));
    }
    field.fields(|fields| {
        let mut sound = true;
        let mut of = |(name, priority): (&'static str, i32)| {
            let field = fields.get(name)?;
            let weight = above_zero(&field, 1e9);
            sound &= weight.is_some();
            Some((priority, weight?))
        };
        let (priorities, weights): (Vec<i32>, Vec<f64>) =
            CRITICALITIES.into_iter().filter_map(&mut of).unzip();
        if priorities.is_empty() && sound {
            fields.error("has no weight", "write such as {critical: 1, standard: 4}");
        }
        (sound && !priorities.is_empty()).then(|| (priorities, Choice::weighted(&weights)))
    })?
}

fn read_bound(field: &Field<'_>) -> Option<OutputBound> {
    match field.shape() {
        Shape::Map => field.fields(|fields| {
            let tokens = fields.required("value", "write value: 1024").and_then(|f| f.u32_from(1));
            let share = fields.get("share").map_or(Some(1.0), |f| above_zero(&f, 1.0));
            Some(OutputBound::Value { tokens: tokens?, share: share? })
        })?,
        Shape::Number => field.u32_from(1).map(|tokens| OutputBound::Value { tokens, share: 1.0 }),
        Shape::Text | Shape::List => {
            field.choice(&[("exact", OutputBound::Exact), ("unset", OutputBound::Unset)])
        }
    }
}
