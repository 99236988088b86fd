//! `workload.trace`: recorded requests.

use std::sync::Arc;

use pointsman_workload::{Trace, TraceFormat};
use pointsman_yaml::{Field, Fields};

use super::Reading;
use crate::experiment::values::mistake;

/// Name of the format of a gateway's own event log.
const EVENT_LOG: &str = "event-log";

/// The trace, and whether it is an event log.
pub(super) fn read(fields: &mut Fields<'_>, reading: &Reading<'_, '_>) -> (Option<Arc<Trace>>, bool) {
    let formats = TraceFormat::ALL.map(|format| (format.name(), Some(format)));
    let formats: Vec<(&'static str, Option<TraceFormat>)> =
        formats.into_iter().chain([(EVENT_LOG, None)]).collect();
    let format = fields.required("format", "write format: azure, mooncake, burstgpt or event-log");
    let format = format.and_then(|field| field.choice(&formats));
    let file = fields.required("file", "write the trace's path");
    let holes = fields.get("holes");
    if let (Some(None), Some(field)) = (format, &holes) {
        field.error("has no effect: an event log reports its own gaps", "remove it");
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
                return mistake(
                    file,
                    format!("cannot be read: {why}"),
                    "write a path relative to the experiment's folder",
                );
            }
        },
    };
    if let (Some((most, profile)), None) = (&reading.limit, reading.cut_at) {
        let (longest, row) = trace.longest();
        if longest > u64::from(*most) {
            let message = format!("request {} has {longest} tokens, but {profile} accepts {most}", row + 1);
            return mistake(file, message, format!("write workload.cutAt: {most}, or a profile with more"));
        }
    }
    Some(Arc::new(trace))
}
