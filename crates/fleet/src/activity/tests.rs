use super::*;

const fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn a_stream_reports_its_chunks_and_gaps_and_stalls_after_the_idle_timeout() {
    let (activity, liveness) = (Activity::default(), Liveness::default());
    let mut stream = StreamActivity::start(&activity, at(1), false);
    for second in 2..=200 {
        stream.on_chunk(&activity, at(second));
    }
    assert_eq!(activity.evidence.last_byte(), at(200));
    assert!(activity.evidence.p99_gap().is_some_and(|gap| (1..2).contains(&gap.as_secs())));
    assert_eq!(stream.check(&activity, at(229), &liveness), Some(at(230)));
    assert_eq!(stream.check(&activity, at(230), &liveness), None);
}

#[test]
fn a_silent_stream_of_an_active_endpoint_has_the_endpoint_probed() {
    let (activity, liveness) = (Activity::default(), Liveness::default());
    let stream = StreamActivity::start(&activity, at(100), false);
    activity.evidence.on_bytes(at(139));
    assert!(stream.check(&activity, at(140), &liveness).is_some());
    assert!(activity.evidence.wants_probe());
}

#[test]
fn a_stream_that_began_before_its_output_waits_like_one_without_a_byte() {
    let activity = Activity::new(at(0));
    let liveness = Liveness::default();
    let mut stream = StreamActivity::start(&activity, at(1), true);
    let later = at(1) + liveness.idle * 10;
    assert!(stream.check(&activity, later, &liveness).is_some(), "a long prefill");
    stream.on_output();
    assert_eq!(stream.check(&activity, later, &liveness), None);
}
