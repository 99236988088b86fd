//! Whole conversations of a gateway with the picker: streams of ext_proc messages in natural order and in any other, cut,
//! stalled, garbled and unread. Each is drawn from a seed; many run at the same time on one picker.
//!
//! What must hold: a stream that the gateway ends has an end, each request has one outcome, nothing stays reserved or held,
//! every timeout is heeded, and nothing follows an immediate response.
//!
//! `FUZZ_SECONDS` sets how long new conversations are begun. A failure names its seeds; `FUZZ_SEED=1,2` repeats them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "tests; the support code is shared, and scripts have many variants of which few matter at a time"
)]

mod batch;
mod call;
#[path = "../picker/client.rs"]
mod client;
#[path = "../../../gateway/tests/conversations/draw.rs"]
mod draw;
#[path = "../../../gateway/tests/conversations/outcomes.rs"]
mod outcomes;
#[path = "../picker/running.rs"]
mod running;
mod script;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pointsman_core::Rng;

use batch::run_batch;
use script::Conversation;

/// Conversations at the same time.
const BATCH: usize = 64;
/// Time for which new conversations are begun, unless `FUZZ_SECONDS` says otherwise.
const DEFAULT_SECONDS: u64 = 15;
/// The seed of the seeds, unless `FUZZ_SECONDS` is given.
const FIXED_SEED: u64 = 11;
/// Faults after which no more are looked for.
const ENOUGH: usize = 10;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_from_seeds_keep_every_promise() {
    if let Some(seeds) = variable("FUZZ_SEED") {
        let seeds = seeds.split(',').map(|seed| seed.trim().parse().expect("FUZZ_SEED"));
        let all: Vec<Conversation> = seeds.map(Conversation::draw).collect();
        all.iter().for_each(|conversation| eprintln!("{conversation:?}"));
        let faults = run_batch(&all).await;
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        return;
    }
    let seconds =
        variable("FUZZ_SECONDS").map_or(DEFAULT_SECONDS, |text| text.parse().expect("FUZZ_SECONDS"));
    let end = Instant::now() + Duration::from_secs(seconds);
    // The same seeds each time, so that a failure is one of the change under test. A run on demand draws others.
    let start = match variable("FUZZ_SECONDS") {
        None => FIXED_SEED,
        Some(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::try_from(now.as_nanos()).unwrap_or_default()
        }
    };
    let mut seeds = Rng::seeded(start);
    let (mut number, mut faults) = (0, Vec::new());
    while Instant::now() < end && faults.len() < ENOUGH {
        let all: Vec<Conversation> = (0..BATCH).map(|_| Conversation::draw(seeds.next_u64() >> 24)).collect();
        faults.extend(run_batch(&all).await);
        number += all.len();
    }
    eprintln!("{number} conversations, {} faults", faults.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
