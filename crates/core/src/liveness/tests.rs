use super::*;

const fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

/// An endpoint and a request, with times in milliseconds.
#[derive(Clone, Copy)]
struct Case {
    /// Length of 200 gaps that were seen.
    gaps: Option<Duration>,
    /// The endpoint's last byte on any stream.
    endpoint_byte: u64,
    failed_probes: u32,
    /// When the request was sent, or its last byte came.
    since: u64,
    now: u64,
}

const CASE: Case =
    Case { gaps: None, endpoint_byte: 100_000, failed_probes: 0, since: 100_000, now: 100_000 };

use LivenessVerdict::{Stalled, WaitUntil};

const fn probe_and_check(again: u64) -> LivenessVerdict {
    LivenessVerdict::Probe(at(again))
}

#[track_caller]
fn check(case: Case, phase: impl Fn(Time) -> ResponsePhase, expected: LivenessVerdict) {
    let activity = EndpointActivity::default();
    if let Some(gap) = case.gaps {
        (0..200).for_each(|_| activity.on_gap(gap));
    }
    activity.on_bytes(at(case.endpoint_byte));
    (0..case.failed_probes).for_each(|_| activity.probed(false));
    let found = Liveness::default().check(at(case.now), phase(at(case.since)), &activity);
    assert_eq!(found, expected);
}

#[track_caller]
fn check_stream(case: Case, expected: LivenessVerdict) {
    check(case, |last_byte| ResponsePhase::Streaming { last_byte }, expected);
}

#[track_caller]
fn check_first_byte(case: Case, expected: LivenessVerdict) {
    check(case, |sent| ResponsePhase::AwaitingFirstByte { sent }, expected);
}

#[test]
fn a_stream_may_be_silent_for_the_idle_timeout() {
    check_stream(CASE, WaitUntil(at(130_000)));
    check_stream(Case { now: 129_000, failed_probes: 5, ..CASE }, WaitUntil(at(130_000)));
}

#[test]
fn a_stream_stalls_when_it_and_its_endpoint_are_silent() {
    check_stream(Case { now: 130_000, ..CASE }, Stalled);
}

#[test]
fn a_silent_stream_goes_on_while_its_endpoint_sends_bytes_but_the_endpoint_is_probed() {
    check_stream(Case { now: 140_000, endpoint_byte: 139_000, ..CASE }, probe_and_check(143_750));
}

#[test]
fn two_failed_probes_end_a_silent_stream_whatever_other_streams_do() {
    let case = Case { now: 140_000, endpoint_byte: 139_000, ..CASE };
    check_stream(Case { failed_probes: 1, ..case }, probe_and_check(143_750));
    check_stream(Case { failed_probes: 2, ..case }, Stalled);
}

#[test]
fn streams_of_slow_endpoints_may_pause_for_twenty_times_the_p99_gap() {
    let gaps = Some(Duration::from_secs(3));
    let Some(gap) = ({
        let activity = EndpointActivity::default();
        (0..200).for_each(|_| activity.on_gap(Duration::from_secs(3)));
        activity.p99_gap()
    }) else {
        panic!("enough gaps")
    };
    check_stream(Case { now: 150_000, gaps, ..CASE }, WaitUntil(at(100_000) + gap * 20));
    check_stream(Case { now: 190_000, gaps, ..CASE }, Stalled);
}

#[test]
fn the_idle_limit_ends_a_stream_whatever_else_is_known() {
    check_stream(Case { now: 399_000, endpoint_byte: 398_000, ..CASE }, probe_and_check(400_000));
    check_stream(Case { now: 400_000, endpoint_byte: 399_000, ..CASE }, Stalled);
}

#[test]
fn the_idle_limit_caps_the_timeout_of_slow_endpoints() {
    check_stream(Case { now: 400_000, gaps: Some(Duration::from_secs(60)), ..CASE }, Stalled);
}

#[test]
fn a_prefill_may_be_silent_for_as_long_as_probes_are_answered() {
    check_first_byte(CASE, WaitUntil(at(115_000)));
    check_first_byte(Case { now: 115_000, ..CASE }, probe_and_check(118_750));
    check_first_byte(Case { now: 130_000, failed_probes: 1, ..CASE }, probe_and_check(133_750));
    check_first_byte(Case { now: 1_000_000, ..CASE }, probe_and_check(1_003_750));
}

#[test]
fn a_request_without_a_first_byte_stalls_when_probes_fail_and_no_stream_gets_bytes() {
    let case = Case { failed_probes: 2, ..CASE };
    check_first_byte(Case { now: 129_000, ..case }, probe_and_check(132_750));
    check_first_byte(Case { now: 130_000, ..case }, Stalled);
    check_first_byte(Case { now: 130_000, endpoint_byte: 129_000, ..case }, WaitUntil(at(133_750)));
}

#[test]
fn an_answered_probe_clears_suspicion() {
    let activity = EndpointActivity::default();
    assert!(activity.suspect() && !activity.suspect());
    activity.probed(false);
    assert!(activity.wants_probe());
    activity.probed(true);
    assert!(!activity.wants_probe());
    assert_eq!(activity.failed_probes(), 0);
}

#[test]
fn an_ejected_endpoint_is_probed_until_it_is_taken_back() {
    let activity = EndpointActivity::default();
    assert!(activity.set_ejected(true) && !activity.set_ejected(true));
    activity.probed(true);
    assert!(activity.wants_probe());
    assert!(activity.set_ejected(false));
    assert!(!activity.wants_probe());
}
