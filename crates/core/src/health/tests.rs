use super::*;

fn at(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(milliseconds)
}

/// Sends requests 10 ms apart that fail at once. Returns how many it takes to eject.
fn failures_to_eject(health: &mut HealthState, from: u64, cause: FailureCause) -> u32 {
    let mut rng = Rng::seeded(1);
    for count in 1..=20 {
        let now = at(from + u64::from(count) * 10);
        if health.failed(now, (RequestId(u64::from(count)), now), cause, true, &mut rng) {
            return count;
        }
    }
    0
}

fn ejected(health: &HealthState) -> Ejection {
    let Health::Ejected(ejection) = health.health() else { panic!("ejected") };
    ejection
}

#[test]
fn one_failure_ejects_where_nothing_can_be_served_and_three_in_a_row_elsewhere() {
    for (cause, expected) in [
        (FailureCause::Connect, 1),
        (FailureCause::Tls, 1),
        (FailureCause::Stalled, 1),
        (FailureCause::Refused, 3),
        (FailureCause::Lost, 3),
        (FailureCause::FirstByteTimeout, 3),
        (FailureCause::Unavailable, 3),
        (FailureCause::EngineError, 3),
        (FailureCause::Truncated, 3),
        (FailureCause::Garbage, 3),
    ] {
        let mut health = HealthState::default();
        assert_eq!(failures_to_eject(&mut health, 0, cause), expected, "{cause:?}");
        assert_eq!(ejected(&health).cause, cause);
    }
}

#[test]
fn successes_between_keep_it_until_half_of_the_outcomes_are_failures() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    for round in 0..4 {
        let now = at(round * 10);
        assert!(!health.failed(now, (RequestId(round), now), FailureCause::EngineError, true, &mut rng));
        assert!(!health.succeeded(now, (RequestId(100 + round), now)));
    }
    let now = at(50);
    assert!(
        health.failed(now, (RequestId(9), now), FailureCause::EngineError, true, &mut rng),
        "five of nine"
    );

    let mut health = HealthState::default();
    for round in 0..100 {
        let now = at(round * 10);
        let failed = round % 3 == 0;
        let sent = (RequestId(round), now);
        if failed {
            assert!(!health.failed(now, sent, FailureCause::EngineError, true, &mut rng), "one of three");
        } else {
            health.succeeded(now, sent);
        }
    }
}

#[test]
fn an_answered_probe_ends_an_ejection_but_not_before_its_time() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    let until = ejected(&health).until;
    assert!(!health.probed(at(500), true), "too early");
    assert_eq!(health.availability(at(500)), Availability::Out(until));
    assert!(health.timer(until), "the earlier answer counts now");
    assert_eq!(health.health(), Health::Ready);
}

#[test]
fn a_failed_probe_keeps_it_ejected() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    let until = ejected(&health).until;
    health.probed(at(500), false);
    assert_eq!(health.availability(at(60_000)), Availability::Out(until));
    assert!(!health.timer(at(60_000)));
    assert!(health.probed(at(60_001), true));
}

#[test]
fn while_probes_fail_a_trial_is_postponed_by_a_minute() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Stalled);
    let until = ejected(&health).until;
    health.probed(at(500), false);
    assert_eq!(health.availability(until + Duration::from_secs(59)), Availability::Out(until));
    assert_eq!(health.availability(until + Duration::from_secs(60)), Availability::TrialDue);
}

#[test]
fn failures_as_the_last_resort_renew_the_back_off_without_doubling_it() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    let first = ejected(&health);
    for count in 1..=20 {
        let now = at(100 + count * 10);
        assert!(health.failed(now, (RequestId(100 + count), now), FailureCause::Connect, true, &mut rng));
    }
    assert_eq!(ejected(&health).back_off, first.back_off, "its time had not come");
    assert!(ejected(&health).until > first.until);
    let due = ejected(&health).until;
    assert!(health.failed(due, (RequestId(200), due), FailureCause::Connect, true, &mut rng));
    assert_eq!(ejected(&health).back_off, first.back_off * 2);
}

#[test]
fn without_probes_a_trial_request_is_due_after_the_back_off() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    assert_eq!(health.availability(ejected(&health).until), Availability::TrialDue);
}

#[test]
fn after_a_stall_only_a_served_request_ends_the_ejection() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Stalled);
    let until = ejected(&health).until;
    assert!(!health.probed(until, true));
    assert_eq!(health.availability(until), Availability::TrialDue);
    assert!(health.sent(until, RequestId(50)));
    assert_eq!(health.health(), Health::OnTrial);
    assert!(!health.sent(until, RequestId(51)), "one at a time");
    assert!(!health.succeeded(at(9_000), (RequestId(3), at(0))), "an old request is no proof");
    assert!(health.succeeded(at(9_000), (RequestId(50), until)));
    assert_eq!(health.health(), Health::Ready);
}

#[test]
fn each_failed_trial_doubles_the_back_off_up_to_a_minute() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    failures_to_eject(&mut health, 0, FailureCause::Stalled);
    let mut back_offs = vec![ejected(&health).back_off.as_secs()];
    for trial in 100..108 {
        let now = ejected(&health).until;
        health.sent(now, RequestId(trial));
        assert!(health.failed(now, (RequestId(trial), now), FailureCause::Stalled, true, &mut rng));
        let ejection = ejected(&health);
        assert!(ejection.until >= now + ejection.back_off);
        assert!(ejection.until <= now + ejection.back_off * 5 / 4);
        back_offs.push(ejection.back_off.as_secs());
    }
    assert_eq!(back_offs, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn an_inconclusive_trial_is_due_again() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Stalled);
    let until = ejected(&health).until;
    health.sent(until, RequestId(50));
    assert!(!health.inconclusive(until, RequestId(3)));
    assert!(health.inconclusive(until, RequestId(50)));
    assert_eq!(health.availability(until), Availability::TrialDue);
}

#[test]
fn one_failure_after_a_return_suffices_until_a_request_succeeded() {
    let mut health = HealthState::default();
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    health.probed(at(2_000), true);
    assert_eq!(failures_to_eject(&mut health, 2_000, FailureCause::Lost), 1);
    assert_eq!(ejected(&health).back_off.as_secs(), 2);
    health.probed(at(9_000), true);
    health.succeeded(at(9_100), (RequestId(1), at(9_050)));
    assert_eq!(failures_to_eject(&mut health, 9_200, FailureCause::Lost), 3);
    assert_eq!(ejected(&health).back_off.as_secs(), 1);
}

#[test]
fn outcomes_of_requests_sent_before_an_ejection_do_not_count() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    failures_to_eject(&mut health, 1_000, FailureCause::Stalled);
    let before = ejected(&health);
    for request in 0..10 {
        assert!(!health.failed(
            at(1_500),
            (RequestId(request), at(0)),
            FailureCause::Truncated,
            true,
            &mut rng
        ));
    }
    assert_eq!(ejected(&health), before);
}

#[test]
fn a_request_served_as_the_last_resort_ends_the_ejection() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    failures_to_eject(&mut health, 0, FailureCause::Connect);
    assert!(health.failed(at(200), (RequestId(9), at(100)), FailureCause::Connect, true, &mut rng));
    assert!(health.succeeded(at(400), (RequestId(10), at(300))), "at once");
}

#[test]
fn a_trial_is_passed_at_its_first_output_and_its_later_failure_still_counts() {
    let on_trial = || {
        let mut health = HealthState::default();
        failures_to_eject(&mut health, 0, FailureCause::Stalled);
        let due = ejected(&health).until;
        assert!(health.sent(due, RequestId(50)));
        assert!(!health.first_output(RequestId(49)), "an older request is no evidence");
        assert!(health.first_output(RequestId(50)));
        assert_eq!(health.health(), Health::Ready);
        (health, due)
    };
    let (mut health, sent) = on_trial();
    let later = sent + Duration::from_secs(600);
    assert!(health.failed(later, (RequestId(50), sent), FailureCause::Truncated, true, &mut Rng::seeded(1)));
    let (mut health, sent) = on_trial();
    assert!(!health.succeeded(later, (RequestId(50), sent)), "it was ready before");
    assert!(!health.failed(
        later,
        (RequestId(51), later),
        FailureCause::Truncated,
        true,
        &mut Rng::seeded(1)
    ));
}

#[test]
fn an_endpoint_that_probes_find_unreachable_is_ejected_until_one_is_answered() {
    let mut health = HealthState::default();
    let mut rng = Rng::seeded(1);
    assert!(health.unreachable(at(1_000), &mut rng));
    assert!(!health.unreachable(at(1_100), &mut rng), "it is ejected already");
    let until = ejected(&health).until;
    assert_eq!(ejected(&health).cause, FailureCause::Connect);
    assert!(!health.probed(until, false));
    assert!(health.probed(until + Duration::from_secs(5), true));
    assert_eq!(health.health(), Health::Ready);
}
