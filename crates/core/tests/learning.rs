//! Learning of engine speeds, and its effect on placement.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pointsman_core::Placement;
use support::engines::{Engines, Sight};

const ONE_SLOW: [f64; 4] = [1.0, 1.0, 1.6, 1.0];

/// Checks that within 20 s of 80 requests/s the slow endpoint is known to be slow and gets fewer requests.
#[track_caller]
fn check(sight: Sight) {
    let mut engines = Engines::new(Placement::Pointsman, &ONE_SLOW, sight);
    engines.run(80.0, 20);
    let learned = engines.learned();
    let others = (learned[0] + learned[1] + learned[3]) / 3.0;
    let ratio = learned[2] / others;
    assert!((1.3..1.75).contains(&ratio), "{ratio}: {learned:?}");
    engines.run(80.0, 20);
    let share = engines.share(2, 20);
    assert!((0.03..0.2).contains(&share), "{share}");
}

#[test]
fn a_slow_endpoint_is_learned_from_streams() {
    check(Sight::Streams);
}

#[test]
fn a_slow_endpoint_is_learned_from_non_streaming_responses() {
    check(Sight::Replies);
}

#[test]
fn a_slow_endpoint_is_learned_from_scrapes() {
    check(Sight::Scrapes);
}

#[test]
fn learned_rates_beat_counting_where_one_endpoint_is_slow() {
    let run = |placement| {
        let mut engines = Engines::new(placement, &ONE_SLOW, Sight::Streams);
        engines.run(80.0, 60);
        (engines.mean(), engines.p90(40))
    };
    let [default, least_request, two_choices, round_robin] =
        [Placement::Pointsman, Placement::LeastRequest, Placement::TwoChoices, Placement::RoundRobin]
            .map(run);
    assert!(default.0 < least_request.0, "mean {default:?} {least_request:?}");
    assert!(default.0 < two_choices.0, "mean {default:?} {two_choices:?}");
    assert!(default.1 < round_robin.1 * 0.9, "p90 {default:?} {round_robin:?}");
}

#[test]
fn an_endpoint_that_recovered_is_tried_again_and_known_to_be_fast() {
    let mut engines = Engines::new(Placement::Pointsman, &[1.0, 1.0, 30.0], Sight::Streams);
    engines.run(20.0, 60);
    assert!(engines.share(2, 30) < 0.1);
    engines.set_slowness(2, 1.0);
    engines.run(20.0, 180);
    let share = engines.share(2, 30);
    assert!((0.25..0.42).contains(&share), "{share} {:?}", engines.learned());
}

#[test]
fn equal_endpoints_get_equal_estimates() {
    for sight in [Sight::Streams, Sight::Replies, Sight::Scrapes] {
        let mut engines = Engines::new(Placement::Pointsman, &[1.0; 4], sight);
        engines.run(80.0, 30);
        for slowness in engines.learned() {
            assert!((0.9..1.1).contains(&slowness), "{:?}", engines.learned());
        }
    }
}
