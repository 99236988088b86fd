//! `workload.classes[]`: classes of requests.

use pointsman_workload::{
    Adapters, Choice, Class, LengthTable, Lengths, OutputBound, PrefixGroups, Sessions, read_sharegpt,
};
use pointsman_yaml::{Field, Fields, ValueKind};

use super::{Reading, Sources};
use crate::experiment::distributions::{self, Unit, read_choice};
use crate::experiment::values::{above_zero, mistake};

/// Reads `classes` and their shares.
pub(super) fn read_all(
    fields: &mut Fields<'_>,
    list: &Field<'_>,
    reading: &Reading<'_, '_>,
) -> (Vec<Option<Class>>, Choice) {
    for name in CLASS_FIELDS {
        fields.refuse(name, "is set beside classes, which have their own", "move it into the classes");
    }
    let mut weights = Vec::new();
    let classes = list.list(50, |item| {
        let class = item.fields(|fields| {
            let weight = fields.get("weight").map_or(Some(1.0), |f| above_zero(&f, 1e9));
            weights.push(weight.unwrap_or(1.0));
            read(fields, reading, None, false)
        });
        Some(class.flatten())
    });
    if classes.is_empty() && list.is_sound() {
        list.error("has no class", "write at least one");
    }
    (classes, Choice::weighted(&weights))
}

/// The fields that [`read`] accepts.
const CLASS_FIELDS: [&str; 7] =
    ["lengths", "prefixes", "sessions", "adapters", "criticality", "streamed", "maxTokens"];

/// Reads one class. `given` are the lengths of a trace, if there is one and it could be read. An event log also provides
/// adapters, priorities, streaming and output bounds.
pub(super) fn read(
    fields: &mut Fields<'_>,
    reading: &Reading<'_, '_>,
    given: Option<Option<Lengths>>,
    is_log: bool,
) -> Option<Class> {
    let has_trace = given.is_some();
    if has_trace {
        for name in ["lengths", "prefixes", "sessions"] {
            fields.refuse(name, "has no effect beside a trace", "remove it, or the trace");
        }
    }
    if is_log {
        for name in ["adapters", "criticality", "streamed", "maxTokens"] {
            fields.refuse(name, "has no effect beside an event log", "remove it");
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
        let message = format!("requests have up to {} tokens, but {profile} accepts {most}", class.longest());
        fields
            .error(message, format!("write workload.cutAt: {most}, shorter lengths, or a profile with more"));
        return None;
    }
    Some(class)
}

fn read_lengths(field: &Field<'_>, sources: &Sources<'_>) -> Option<Lengths> {
    if field.kind() != ValueKind::Mapping {
        let table = field.choice(&LengthTable::ALL.map(|table| (table.name(), table)))?;
        return Some(Lengths::Drawn { prompt: table.prompt(), output: table.output() });
    }
    field.fields(|fields| {
        if let Some(file) = fields.get("sharegpt") {
            for name in ["prompt", "output"] {
                fields.refuse(name, "has no effect beside sharegpt", "write one of the two");
            }
            let conversations = sources.read(&file, read_sharegpt)?;
            let pairs = conversations.iter().map(|one| (one.prompt_tokens, one.output_tokens));
            return Some(Lengths::Pairs(pairs.collect()));
        }
        let mut tokens =
            |name, fix| fields.required(name, fix).and_then(|f| distributions::read(&f, Unit::Count));
        let prompt = tokens("prompt", "write prompt: 1000, or a distribution");
        let output = tokens("output", "write output: 200, or a distribution");
        Some(Lengths::Drawn { prompt: prompt?, output: output? })
    })?
}

fn read_prefixes(fields: &mut Fields<'_>) -> Option<PrefixGroups> {
    let groups = read_choice(fields, "groups", 1_000_000);
    let tokens =
        fields.required("tokens", "write tokens: 6000").and_then(|f| distributions::read(&f, Unit::Count));
    Some(PrefixGroups { groups: groups?, tokens: tokens? })
}

fn read_sessions(fields: &mut Fields<'_>) -> Option<Sessions> {
    let turns = fields.required("turns", "write turns: 4, or a distribution");
    let turns = turns.and_then(|field| {
        let turns = distributions::read(&field, Unit::Count)?;
        if turns.most_tokens() <= 1 {
            return mistake(
                &field,
                "is 1: a session needs more than one turn",
                "write more, or remove sessions",
            );
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

/// Numbers the adapters of all classes consecutively: classes share no adapters.
pub(super) fn number_adapters(classes: &mut [Class]) {
    let mut first = 0;
    for adapters in classes.iter_mut().filter_map(|class| class.adapters.as_mut()) {
        adapters.first = first;
        let count = adapters.choice.count() - usize::from(adapters.with_base);
        first = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

const CRITICALITIES: [(&str, i32); 3] = [("critical", 1), ("standard", 0), ("sheddable", -1)];

fn read_criticality(field: &Field<'_>) -> Option<(Vec<i32>, Choice)> {
    if field.kind() != ValueKind::Mapping {
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
    match field.kind() {
        ValueKind::Mapping => field.fields(|fields| {
            let tokens = fields.required("value", "write value: 1024").and_then(|f| f.u32_from(1));
            let share = fields.get("share").map_or(Some(1.0), |f| above_zero(&f, 1.0));
            Some(OutputBound::Value { tokens: tokens?, share: share? })
        })?,
        ValueKind::Number => field.u32_from(1).map(|tokens| OutputBound::Value { tokens, share: 1.0 }),
        ValueKind::String | ValueKind::List => {
            field.choice(&[("exact", OutputBound::Exact), ("unset", OutputBound::Unset)])
        }
    }
}
