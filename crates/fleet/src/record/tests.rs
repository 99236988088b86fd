use std::io::{BufReader, Read as _, Seek as _};
use std::sync::Arc;

use pointsman_core::{
    BlockHash, EndpointId, EndpointSpec, PolicyId, PolicySet, Pool, RequestFacts, RequestId,
};

use super::*;

const CONFIG: PoolConfig = PoolConfig { seed: 7, decisions: true };

/// Events of a small run, the last of which rejects.
fn events() -> Vec<Event> {
    let spec = EndpointSpec { policies: PolicySet::of(PolicyId(0)) };
    let facts = RequestFacts {
        blocks: Arc::from([BlockHash(0x0123_4567_89ab_cdef)]),
        ..RequestFacts::unknown(PolicyId(0))
    };
    vec![
        Event::EndpointUp { endpoint: EndpointId(0), spec },
        Event::Arrived { request: RequestId(1), facts: facts.clone() },
        Event::Aborted { request: RequestId(1) },
        Event::EndpointDown { endpoint: EndpointId(0) },
        Event::Arrived { request: RequestId(2), facts },
    ]
}

/// Runs the events through a core, with a log that has room for `queue` entries before anything is written.
fn record(queue: usize) -> String {
    let (sender, receiver) = std::sync::mpsc::sync_channel(queue);
    let mut log = PoolLog { pool: 0, seq: 0, lost: Arc::default(), sender };
    log.send(Entry::Header { pool: 0, seed: CONFIG.seed, decisions: CONFIG.decisions });
    let mut core = Pool::new(CONFIG);
    for (at, event) in (1..).zip(events()) {
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
    log.sender.send(Entry::Flush(done)).unwrap();
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
    assert_eq!(report.pools[0].events, 5);
    assert!(report.pools[0].effects >= 2);
}

#[test]
fn a_loss_ends_the_log_with_a_mark() {
    let text = record(3);
    assert_eq!(text.lines().last(), Some(r#"{"pool":0,"gap":true}"#));
    let report = replayed(&text).unwrap();
    assert!(report.pools[0].gap && !report.is_identical());
    assert_eq!((report.pools[0].events, &report.pools[0].divergence), (2, &None));
}

#[test]
fn another_decision_is_told() {
    let text = record(100).replace(r#""endpoint":0,"fallbacks""#, r#""endpoint":9,"fallbacks""#);
    let report = replayed(&text).unwrap();
    assert_eq!(report.pools[0].divergence.as_ref().map(|divergence| divergence.seq), Some(2));
}

#[test]
fn a_missing_effect_is_told() {
    let text: Vec<_> =
        record(100).lines().filter(|line| !line.contains("Dispatch")).map(str::to_owned).collect();
    let report = replayed(&(text.join("\n") + "\n")).unwrap();
    assert_eq!(report.pools[0].divergence.as_ref().map(|divergence| divergence.seq), Some(2));
}

#[test]
fn block_hashes_do_not_stand_in_the_log() {
    let text = record(100);
    assert!(!text.contains(&0x0123_4567_89ab_cdef_u64.to_string()));
    let blocks = |line: Line| {
        let Line::Event { event, .. } = line else { return None };
        let Event::Arrived { facts, .. } = *event else { return None };
        Some(facts.blocks)
    };
    let seen: Vec<_> = read_log(text.as_bytes()).filter_map(|line| blocks(line.unwrap())).collect();
    assert_eq!((seen.len(), &seen[0]), (2, &seen[1]));
}

#[test]
fn a_log_cut_off_in_a_line_replays_to_there() {
    let text = record(100);
    for cut in 0..text.len() {
        let report = replayed(&text[..cut]).unwrap();
        assert!(report.is_identical(), "cut at {cut}: {report:?}");
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let text = record(100);
    assert!(matches!(replayed("{}\n"), Err(ReplayError::Line { line: 1, .. })));
    let other = text.replace("\"format\":1", "\"format\":99");
    assert!(matches!(replayed(&other), Err(ReplayError::Format { found: 99 })));
    let headless: Vec<_> = text.lines().skip(1).collect();
    assert!(matches!(replayed(&(headless.join("\n") + "\n")), Err(ReplayError::Order { pool: 0, seq: 1 })));
    let skipped = text.replace("\"seq\":2,", "\"seq\":3,");
    assert!(matches!(replayed(&skipped), Err(ReplayError::Order { pool: 0, seq: 3 })));
}
