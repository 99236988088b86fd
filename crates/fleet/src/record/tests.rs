use std::io::{BufReader, Read as _, Seek as _};
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{
    BlockHash, Completion, EndpointId, EndpointSpec, FailureCause, PoolId, PoolSet, Rejection, RequestFacts,
    RequestId, Scheduler, Usage,
};

use super::*;

const CONFIG: SchedulerConfig = SchedulerConfig { seed: 7, decisions: true };

/// Events of a small run, the last of which rejects.
fn events() -> Vec<Event> {
    let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
    let facts = RequestFacts { blocks: Arc::from([BlockHash(7)]), ..RequestFacts::unknown(PoolId(0)) };
    vec![
        Event::EndpointUp { endpoint: EndpointId(0), spec },
        Event::Arrived { request: RequestId(1), facts: facts.clone() },
        Event::Aborted { request: RequestId(1) },
        Event::EndpointDown { endpoint: EndpointId(0) },
        Event::Arrived { request: RequestId(2), facts },
    ]
}

#[test]
fn names_of_earlier_logs_are_read() {
    let event = Event::AttemptFailed {
        request: RequestId(1),
        endpoint: EndpointId(0),
        cause: FailureCause::Stalled,
        retry: true,
    };
    let written = serde_json::to_string(&event).unwrap();
    assert_eq!(written, r#"{"AttemptFailed":{"request":1,"endpoint":0,"cause":"Stalled","retry":true}}"#);
    let earlier = written.replace("Stalled", "Silent").replace("retry", "repeat");
    assert_eq!(serde_json::from_str::<Event>(&earlier).unwrap(), event);
}

/// Runs the events through a core, with a log that has room for `queue` entries before anything is written.
fn record(queue: usize) -> String {
    record_events(queue, (1..).zip(events()))
}

fn record_events(queue: usize, events: impl IntoIterator<Item = (u64, Event)>) -> String {
    let (sender, receiver) = queue::queue(queue);
    let pseudonymizer = Arc::new(Pseudonymizer::new());
    let mut log = SchedulerLog { scheduler: 0, seq: 0, lost: Arc::default(), sender, pseudonymizer };
    log.header(&CONFIG);
    let mut core = Scheduler::new(CONFIG);
    for (at, event) in events {
        let now = Time::from_nanos(at);
        let mut effects = Vec::new();
        log.event(now, &event);
        core.handle(now, event, &mut effects);
        log.effects(&effects);
    }
    let mut file = tempfile::tempfile().unwrap();
    let writer = Writer::start(file.try_clone().unwrap(), receiver).unwrap();
    writer.watch(0, &log.lost);
    let (done, wait) = tokio::sync::oneshot::channel();
    assert!(log.sender.send(LogEntry::Flush(done)));
    wait.blocking_recv().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn replayed(text: &str) -> Result<ReplayReport, ReplayError> {
    replay(BufReader::new(text.as_bytes()))
}

#[test]
fn a_log_replays_bit_for_bit() {
    let report = replayed(&record(100)).unwrap();
    assert!(report.is_identical(), "{report:?}");
    assert_eq!(report.schedulers[0].events, 5);
    assert!(report.schedulers[0].effects >= 2);
}

#[test]
fn a_lost_entry_ends_the_log_with_a_gap_mark() {
    let text = record(3);
    assert_eq!(text.lines().last(), Some(r#"{"scheduler":0,"gap":true}"#));
    let report = replayed(&text).unwrap();
    assert!(report.schedulers[0].gap && !report.is_identical());
    assert_eq!((report.schedulers[0].events, &report.schedulers[0].divergence), (2, &None));
}

#[test]
fn a_log_without_its_header_has_a_gap() {
    let text = record(0);
    assert_eq!(text, "{\"scheduler\":0,\"gap\":true}\n");
    let report = replayed(&text).unwrap();
    assert_eq!(
        (report.schedulers[0].events, report.schedulers[0].gap, report.is_identical()),
        (0, true, false)
    );
    assert!(arrivals(text.as_bytes()).unwrap().is_empty());
}

#[test]
fn another_decision_is_a_divergence() {
    let text = record(100).replace(r#""endpoint":0,"fallbacks""#, r#""endpoint":9,"fallbacks""#);
    let report = replayed(&text).unwrap();
    assert_eq!(report.schedulers[0].divergence.as_ref().map(|divergence| divergence.seq), Some(2));
}

#[test]
fn a_missing_effect_is_a_divergence() {
    let text: Vec<_> =
        record(100).lines().filter(|line| !line.contains("Dispatch")).map(str::to_owned).collect();
    let report = replayed(&(text.join("\n") + "\n")).unwrap();
    assert_eq!(report.schedulers[0].divergence.as_ref().map(|divergence| divergence.seq), Some(2));
}

#[test]
fn a_log_cut_off_within_a_line_replays_up_to_that_line() {
    let text = record(100);
    for cut in 0..text.len() {
        let report = replayed(&text[..cut]).unwrap();
        assert!(report.is_identical(), "cut at {cut}: {report:?}");
        assert_eq!(report.cut_off, cut > 0 && text.as_bytes()[cut - 1] != b'\n', "cut at {cut}");
    }
}

/// Checks that a replay of this text is refused for this reason.
#[track_caller]
fn check_refused(text: &str, reason: &str) {
    let error = replayed(text).unwrap_err().to_string();
    assert!(error.starts_with(reason), "{error}");
}

#[test]
fn an_invalid_line_is_refused_with_its_number() {
    let text = record(100);
    for (foreign, reason) in [
        ("{}\n", "line 1: not a line of an event log: column 2: missing field `scheduler`"),
        ("kind: InferencePool\n", "line 1: not a line of an event log: column 1: expected value"),
        ("[]\n", "line 1: not a line of an event log: column "),
        (
            "{\"scheduler\":0}\n",
            "line 1: not a line of an event log: column 0: neither a header nor an event",
        ),
        ("\u{0}\u{1}\n", "line 1: not a line of an event log: column 1: expected value"),
    ] {
        check_refused(foreign, reason);
        assert!(arrivals(foreign.as_bytes()).unwrap_err().to_string().starts_with(reason));
    }
    check_refused(
        &text.replace("\"format\":3", "\"format\":99"),
        "line 1: the log is in format 99, written by Pointsman 0.1.0; this one reads format 3",
    );
    check_refused(&text.replacen("Aborted", "Unheard", 1), "line 5: not a line of an event log: column ");
    check_refused(
        &text.replace("\"seq\":2,", "\"seq\":3,"),
        "line 3: event 3 of scheduler 0 is out of order",
    );
    check_refused(
        &format!("{text}{text}"),
        &format!("line {}: scheduler 0 has a second", text.lines().count() + 1),
    );
    let headless = text.split_once('\n').unwrap().1;
    check_refused(headless, "line 1: scheduler 0 has no header");
    assert!(matches!(arrivals(headless.as_bytes()), Err(ReplayError::NoHeader { line: 1, scheduler: 0 })));
}

#[test]
fn a_log_is_a_workload() {
    let facts = |prompt_tokens| RequestFacts { prompt_tokens, ..RequestFacts::unknown(PoolId(0)) };
    let (answered, gone, refused, open) = (RequestId(1), RequestId(2), RequestId(3), RequestId(4));
    let usage = Usage { output_tokens: Some(12), cached_tokens: Some(3), prompt_tokens: None };
    let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
    let events = [
        (1, Event::EndpointUp { endpoint: EndpointId(0), spec }),
        (10, Event::Arrived { request: answered, facts: facts(100) }),
        (20, Event::Arrived { request: gone, facts: facts(200) }),
        (30, Event::FirstToken { request: answered }),
        (40, Event::Progress { request: gone, output_tokens: 5 }),
        (50, Event::Finished { request: answered, completion: Completion::Complete, usage }),
        (60, Event::Aborted { request: gone }),
        (70, Event::Arrived { request: open, facts: facts(300) }),
        (75, Event::FirstToken { request: open }),
        (80, Event::EndpointDown { endpoint: EndpointId(0) }),
        (90, Event::Arrived { request: refused, facts: facts(400) }),
    ];
    let text = record_events(100, events);
    let found = arrivals(text.as_bytes()).unwrap();
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap();
    let read: Vec<_> = found
        .iter()
        .map(|it| {
            let spans = (it.first_token_after.map(nanos), it.ended_after.map(nanos));
            (nanos(it.at), it.facts.prompt_tokens, it.output_tokens, spans, it.ending)
        })
        .collect();
    let rejected = RecordedEnding::Rejected(Rejection::NoReadyEndpoint);
    assert_eq!(
        read,
        [
            (0, 100, Some(12), (Some(20), Some(40)), RecordedEnding::Answered(Completion::Complete)),
            (10, 200, Some(5), (None, Some(40)), RecordedEnding::Aborted),
            (60, 300, Some(1), (Some(5), None), RecordedEnding::Open),
            (80, 400, None, (None, Some(0)), rejected),
        ]
    );
    assert_eq!(found[0].usage, usage);
}

#[test]
fn the_documented_format_is_read_and_written() {
    let page = include_str!("../../../../docs/event-log.md");
    let (_, block) = page.split_once("```jsonl\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let lines: Vec<Line> = read_log(block.as_bytes()).collect::<Result<_, _>>().unwrap();
    assert_eq!(lines.len(), 6);
    for (line, text) in lines.iter().zip(block.lines()) {
        assert_eq!(serde_json::to_string(line).unwrap(), text);
    }
    assert_eq!(arrivals(block.as_bytes()).unwrap().len(), 1);
    let report = replayed(block).unwrap();
    assert_eq!((report.schedulers[0].divergence.as_ref(), report.schedulers[0].gap), (None, true));
}
