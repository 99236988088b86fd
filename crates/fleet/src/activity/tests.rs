use super::*;

const fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

struct Case {
    /// Gaps of this length were seen, 200 of them.
    gaps: Option<Duration>,
    /// The endpoint's last byte on any stream, in seconds.
    endpoint_byte: u64,
    /// Failed probes in a row.
    failed_probes: u32,
    /// The stream's last byte and the time of the question, in seconds.
    since: u64,
    now: u64,
}

const CASE: Case = Case { gaps: None, endpoint_byte: 100, failed_probes: 0, since: 100, now: 100 };

#[track_caller]
fn check(case: &Case, silent: bool, suspect: bool) {
    let activity = Activity::default();
    if let Some(gap) = case.gaps {
        (0..200).for_each(|_| activity.on_gap(gap));
    }
    activity.on_bytes(at(case.endpoint_byte));
    (0..case.failed_probes).for_each(|_| activity.probed(false));
    assert_eq!(activity.silent(at(case.now), at(case.since), &Timeouts::default()), silent);
    assert_eq!(activity.wants_probe(), suspect);
}

#[test]
fn a_stream_is_not_silent_within_its_patience() {
    check(&Case { now: 129, ..CASE }, false, false);
    check(&Case { now: 129, failed_probes: 5, ..CASE }, false, false);
}

#[test]
fn silence_of_stream_and_endpoint_ends_the_stream() {
    check(&Case { now: 130, ..CASE }, true, false);
}

#[test]
fn a_silent_stream_lives_while_the_endpoint_speaks_but_has_it_probed() {
    check(&Case { now: 140, endpoint_byte: 139, ..CASE }, false, true);
}

#[test]
fn two_failed_probes_end_a_silent_stream_though_others_speak() {
    check(&Case { now: 140, endpoint_byte: 139, failed_probes: 1, ..CASE }, false, true);
    check(&Case { now: 140, endpoint_byte: 139, failed_probes: 2, ..CASE }, true, false);
}

#[test]
fn slow_endpoints_get_twenty_times_their_own_gap() {
    let gaps = Some(Duration::from_secs(3));
    check(&Case { now: 150, gaps, ..CASE }, false, false);
    check(&Case { now: 190, gaps, ..CASE }, true, false);
}

#[test]
fn the_hard_limit_needs_no_other_sign() {
    check(&Case { now: 399, endpoint_byte: 398, ..CASE }, false, true);
    check(&Case { now: 400, endpoint_byte: 399, ..CASE }, true, false);
}

#[test]
fn the_hard_limit_caps_the_patience_with_slow_endpoints() {
    check(&Case { now: 400, gaps: Some(Duration::from_secs(60)), ..CASE }, true, false);
}

#[test]
fn an_answered_probe_clears_suspicion() {
    let activity = Activity::default();
    activity.suspect();
    activity.probed(false);
    assert!(activity.wants_probe());
    activity.probed(true);
    assert!(!activity.wants_probe());
    assert_eq!(activity.failed_probes(), 0);
}

#[test]
fn a_pulse_reports_the_gaps_between_its_own_bytes() {
    let activity = Activity::default();
    let mut pulse = StreamActivity::start(&activity, at(1));
    for second in 2..=200 {
        pulse.beat(&activity, at(second));
    }
    assert_eq!(activity.last_byte(), at(200));
    assert!(
        activity.p99_gap().is_some_and(|gap| gap >= Duration::from_secs(1) && gap < Duration::from_secs(2))
    );
    assert!(!pulse.silent(&activity, at(229), &Timeouts::default()));
    assert!(pulse.silent(&activity, at(230), &Timeouts::default()));
}
