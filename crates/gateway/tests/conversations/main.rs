//! Whole conversations of a client, the gateway and engines, in which both sides may stall, cut and lie. Each is drawn
//! from a seed; many run at the same time in one gateway, so that the time is used while they wait for timeouts.
//!
//! What must hold: each request has one outcome, nothing stays reserved or held, every timeout is heeded, an incomplete
//! message never looks complete on either side, nobody gets another one's response, and engines recover.
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

#[path = "../support/mod.rs"]
mod support;

mod answer;
mod batch;
mod client;
mod client_h2;
mod draw;
mod engine;
mod engine_h2;
mod judge;
mod outcomes;
mod payload;
mod record;
mod reply;
mod request;
mod script;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pointsman_core::Rng;

use batch::run_batch;
use script::Conversation;

/// Conversations at the same time.
const BATCH: usize = 64;
/// Time for which new conversations are begun, unless `FUZZ_SECONDS` says otherwise.
const DEFAULT_SECONDS: u64 = 40;
/// The seed of the seeds, unless `FUZZ_SECONDS` is given.
const FIXED_SEED: u64 = 11;
/// Faults after which no more are looked for.
const ENOUGH: usize = 10;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn conversations_from_seeds_keep_every_promise() {
    let mut reports = Vec::new();
    if let Some(seeds) = variable("FUZZ_SEED") {
        let seeds = seeds.split(',').map(|seed| seed.trim().parse().expect("FUZZ_SEED"));
        let all: Vec<Conversation> = seeds.map(Conversation::draw).collect();
        all.iter().for_each(|conversation| eprintln!("{conversation:?}"));
        reports = reports_of(&all).await;
        assert!(reports.is_empty(), "{}", reports.join("\n"));
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
    let mut number = 0;
    while Instant::now() < end && reports.len() < ENOUGH {
        let all: Vec<Conversation> = (0..BATCH).map(|_| Conversation::draw(seeds.next_u64() >> 24)).collect();
        let found = reports_of(&all).await;
        if variable("FUZZ_SECONDS").is_some() || found.is_empty() || is_repeated(&all).await {
            reports.extend(found);
        } else {
            eprintln!("not repeated, so it may be the machine's: {}", found.join("\n"));
        }
        number += all.len();
    }
    eprintln!("{number} conversations, {} faults", reports.len());
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// Whether something is wrong with these conversations in one of two more tries. A busy machine is slow once.
async fn is_repeated(all: &[Conversation]) -> bool {
    !reports_of(all).await.is_empty() || !reports_of(all).await.is_empty()
}

/// What was wrong with these conversations, each with how to repeat it.
async fn reports_of(all: &[Conversation]) -> Vec<String> {
    let report = |(conversation, faults): (Option<&Conversation>, Vec<String>)| {
        let lines = faults.join("\n  ");
        match conversation {
            Some(conversation) => format!("FUZZ_SEED={} {conversation:?}\n  {lines}", conversation.seed),
            None => {
                let seeds: Vec<String> = all.iter().map(|one| one.seed.to_string()).collect();
                format!("FUZZ_SEED={} all together\n  {lines}", seeds.join(","))
            }
        }
    };
    run_batch(all).await.into_iter().map(report).collect()
}
