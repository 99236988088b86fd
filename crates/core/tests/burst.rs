//! Bursts of equal requests to equal endpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use pointsman_core::{EndpointId, Event, LoadReport, Placement, RequestFacts, Rng, Time};
use support::{Driver, POOL};

/// The requests that each of four endpoints gets of a hundred, while their gauges are read now and then. `reads` says what a
/// gauge shows of the requests in flight.
fn shares(seed: u64, facts: &RequestFacts, reads: fn(u32) -> Option<u32>) -> [u32; 4] {
    let mut rng = Rng::seeded(seed);
    let mut driver = Driver::new(4, Placement::Pointsman);
    let mut shares = [0; 4];
    let read = |driver: &mut Driver, endpoint: u32, taken: Time, running: Option<u32>| {
        let (waiting, kv_use) = (Some(0), Some(0.0));
        let report = LoadReport { taken, running, waiting, kv_use, ..LoadReport::default() };
        driver.tell(Event::Load { endpoint: EndpointId(endpoint), report });
    };
    for endpoint in 0..4 {
        let taken = driver.now;
        driver.pass(rng.below(50) as u64);
        read(&mut driver, endpoint, taken, Some(0));
    }
    let mut before = driver.now;
    for _ in 0..100 {
        let taken = std::mem::replace(&mut before, driver.now);
        driver.pass(rng.below(6) as u64);
        if rng.below(10) == 0 {
            let endpoint = rng.below(4);
            read(&mut driver, u32::try_from(endpoint).unwrap(), taken, reads(shares[endpoint]));
        }
        let (_, endpoint) = driver.dispatch(facts.clone());
        shares[endpoint as usize] += 1;
    }
    shares
}

#[test]
fn a_burst_to_equal_endpoints_is_split_equally() {
    let replies =
        RequestFacts { prompt_tokens: 2, max_output_tokens: Some(4), ..RequestFacts::unknown(POOL) };
    let streams = RequestFacts { prompt_tokens: 400, observes_tokens: true, ..RequestFacts::unknown(POOL) };
    type Reads = fn(u32) -> Option<u32>;
    let gauges: [(&str, Reads); 3] = [("none", |_| None), ("idle", |_| Some(0)), ("true", Some)];
    for (name, facts) in [("replies", &replies), ("streams", &streams)] {
        for (gauge, reads) in gauges {
            for seed in 0..10 {
                assert_eq!(shares(seed, facts, reads), [25; 4], "{name}, gauge {gauge}, seed {seed}");
            }
        }
    }
}
