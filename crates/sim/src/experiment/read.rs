//! The top level of an experiment.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Time, seconds};
use pointsman_workload::{Arrivals, Workload};
use pointsman_yaml::{Field, Fields, Limits, Problem, SourceText, read_document};

use super::profiles::Profiles;
use super::schedule::{self, Times};
use super::values::mistake;
use super::workload::Sources;
use super::{Arm, Experiment, Files, fleet, information, placements, profiles, workload};
use crate::scenario::{Information, PrefixKnowledge};

pub(super) fn load(source: &SourceText, files: &dyn Files) -> Result<Experiment, Vec<Problem>> {
    let (folder, name) = split(&source.name);
    let sources = Sources { files, folder, problems: RefCell::default() };
    let read = read_document(source, &Limits::default(), "", |root| {
        root.fields(|fields| read_experiment(fields, name, &sources)).flatten()
    });
    read.map(|(experiment, _)| experiment).map_err(|mut problems| {
        problems.extend(sources.problems.take());
        problems
    })
}

/// The folder of a file with a trailing separator, and its name without extension.
fn split(name: &str) -> (&str, &str) {
    let (folder, file) = name.split_at(name.rfind(['/', '\\']).map_or(0, |place| place + 1));
    let name = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml"));
    (folder, name.unwrap_or(file))
}

fn read_experiment(fields: &mut Fields<'_>, name: &str, sources: &Sources<'_>) -> Option<Experiment> {
    let text =
        |field: Option<Field<'_>>, most| field.map_or(Some(""), |f| f.text_up_to(most)).map(str::to_owned);
    let title = text(fields.get("title"), 200);
    let description = text(fields.get("description"), 10_000);
    let times = schedule::read_times(fields);
    // Without either, a recording's own length counts, which is known once the workload is read.
    let is_written = fields.get("duration").is_some() || fields.get("rates").is_some();
    let end = times.filter(|_| is_written).map(|times| times.duration);
    let profiles = fields.get("profiles").map(|f| profiles::read(&f, sources.files)).unwrap_or_default();
    let fleet = read_fleet(fields, &profiles, end);
    let block_size = fleet.first().map(|member| member.profile.block_size);
    let information = match fields.get("information") {
        Some(field) => information::read(&field, &Information::default(), block_size),
        None => Some(Information::default()),
    };
    let known = information.unwrap_or_default();
    let (placements, baseline) = read_placements(fields, &known, block_size);
    let bounds = fields.get("bounds").map(|f| placements::read_bounds(&f, &known)).unwrap_or_default();
    let limit = fleet::limit(&fleet).map(|(limit, profile)| (limit, profile.to_owned()));
    let load = fields.required("workload", "write workload: {lengths: sharegpt}");
    let workload = load.as_ref().and_then(|f| workload::read(f, sources, limit));
    let rates = fields.get("rates");
    let rates = read_rates(fields, rates, workload.as_ref(), end);
    let seeds_field = fields.get("seeds");
    let seeds = schedule::read_seeds(seeds_field.as_ref());
    if let (Some(workload), Some(field)) = (&workload, &load) {
        check_blocks(field, workload, &placements, block_size);
    }
    let times = as_recorded(times?, fields, workload.as_ref(), &fleet)?;
    let title = title?;
    Some(Experiment {
        name: name.into(),
        title: if title.is_empty() { name.to_owned() } else { title },
        description: description?,
        fleet: Some(fleet).filter(|fleet| !fleet.is_empty())?,
        workload: Arc::new(workload?),
        arms: placements.into_iter().chain(bounds).collect(),
        baseline: baseline?,
        rates: rates?,
        seeds: seeds?,
        warm_up: times.warm_up,
        duration: times.duration,
        drain: times.drain,
    })
}

/// The times of a recording at its own rate: by default it lasts as long as recorded.
fn as_recorded(
    times: Times,
    fields: &mut Fields<'_>,
    workload: Option<&Workload>,
    fleet: &[crate::EngineSpec],
) -> Option<Times> {
    let recorded = workload.filter(|workload| matches!(workload.arrivals, Arrivals::Recorded));
    let (Some(trace), None, None) =
        (recorded.and_then(Workload::trace), fields.get("duration"), fields.get("rates"))
    else {
        return Some(times);
    };
    let duration = Duration::from_secs_f64(trace.cycle_seconds());
    let end = Time::ZERO + duration;
    let is_late =
        |member: &crate::EngineSpec| member.joins >= end || member.changes.iter().any(|(at, _)| *at >= end);
    if fleet.iter().any(is_late)
        && let Some(field) = fields.get("fleet")
    {
        let message = format!("joins or changes after the end of the recording, which lasts {duration:?}");
        return mistake(&field, message, "write earlier times, or a duration");
    }
    let warm_up = match fields.get("warmUp") {
        None => duration / 10,
        Some(field) if times.warm_up >= duration => {
            let message = format!("is {:?}, but the recording lasts {duration:?}", times.warm_up);
            return mistake(&field, message, "make it shorter than that");
        }
        Some(_) => times.warm_up,
    };
    Some(Times { duration, warm_up, ..times })
}

fn read_fleet(fields: &mut Fields<'_>, profiles: &Profiles, end: Option<Duration>) -> Vec<crate::EngineSpec> {
    let field = fields.required("fleet", "write fleet: [{profile: llama-3-8b-h100, count: 10}]");
    field.map(|f| fleet::read(&f, profiles, end)).unwrap_or_default()
}

/// The placements, and the index of the baseline. `policies` is the field's former name.
fn read_placements(
    fields: &mut Fields<'_>,
    information: &Information,
    block_size: Option<u32>,
) -> (Vec<Arm>, Option<usize>) {
    let field = fields.get("placements").or_else(|| fields.get("policies"));
    let placements = match field {
        Some(field) => {
            let placements = placements::read(&field, information, block_size);
            // The baseline may be one that could not be read.
            if !field.is_sound() {
                fields.get("baseline");
                return (placements, None);
            }
            placements
        }
        None => placements::default(information),
    };
    let baseline = match fields.get("baseline") {
        Some(field) => placements::read_baseline(&field, &placements),
        None => Some(0),
    };
    (placements, baseline)
}

/// The rates; a trace has a rate of its own.
fn read_rates(
    fields: &mut Fields<'_>,
    given: Option<Field<'_>>,
    workload: Option<&Workload>,
    length: Option<Duration>,
) -> Option<Vec<f64>> {
    let trace = workload.and_then(Workload::trace);
    let Some(field) = given else {
        if let (Some(trace), Some(Arrivals::Recorded)) = (trace, workload.map(|workload| workload.arrivals)) {
            return Some(vec![trace.rate()]);
        }
        // Without a workload it is unknown whether rates are needed.
        if workload.is_some() {
            fields.required("rates", "write rates: [100, 200], in requests per second");
        }
        return None;
    };
    let rates = schedule::read_rates(&field, length)?;
    if let (Some(trace), Some(length)) = (trace, length) {
        let most = rates.iter().copied().fold(0.0, f64::max) * seconds(length);
        let count = trace.len() as f64;
        // Bursts may exceed the mean slightly.
        if most > count * 1.05 {
            let message =
                format!("a run at the highest rate needs {most:.0} requests, the trace has {count}");
            return mistake(&field, message, "lower the rates or the duration");
        }
    }
    Some(rates)
}

/// The routers' block size, the default included, must be a multiple of the engines'.
fn check_blocks(field: &Field<'_>, workload: &Workload, arms: &[Arm], block_size: Option<u32>) {
    let Some(size) = block_size else { return };
    let mismatched = |arm: &&Arm| {
        arm.information.prefixes != PrefixKnowledge::Unknown
            && !arm.information.block_tokens.is_multiple_of(size)
    };
    if let Some(arm) = arms.iter().find(mismatched) {
        let tokens = arm.information.block_tokens;
        let message =
            format!("routers would hash blocks of {tokens} tokens, not a multiple of the engines' {size}");
        field.error(message, format!("write information.blockTokens: {}", tokens.next_multiple_of(size)));
    }
    let trace = workload.trace().map_or(0, |trace| trace.block_tokens());
    if trace > 0 && !trace.is_multiple_of(size) {
        let message =
            format!("the trace's blocks have {trace} tokens, not a multiple of the engines' {size}");
        field.error(message, format!("use a profile whose block_size divides {trace}"));
    }
}
