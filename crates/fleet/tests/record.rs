//! A live run, recorded and replayed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use pointsman_core::{BlockHash, Completion, FailureCause, ModelKey, Placement, RequestFacts, Rng, Usage};
use pointsman_fleet::{Fleet, FleetOptions, arrivals, replay};
use support::engine::Engine;
use support::{facts, fast, metrics, until, world};

/// The smallest block hash. None of the hashes may be in a log.
const FIRST_HASH: u64 = 777_000_000;

async fn traffic(fleet: Fleet, seed: u64) {
    let mut rng = Rng::seeded(seed);
    for _ in 0..200 {
        let pool = rng.below(2);
        let prefix = FIRST_HASH + 100 * rng.below(6) as u64;
        let facts = RequestFacts {
            blocks: (prefix..prefix + rng.below(5) as u64).map(BlockHash).collect::<Arc<[_]>>(),
            block_tokens: 64,
            // One of the two engines with a known list has this model.
            target: (rng.below(2) == 0).then(|| ModelKey::of("lora")),
            prompt_tokens: u32::try_from(rng.below(5_000)).unwrap(),
            ..facts()
        };
        let Ok(mut placed) = fleet.current().pools[pool].place(facts).placed().await else { continue };
        if rng.below(2) == 0 {
            placed.first_token();
            tokio::task::yield_now().await;
            placed.progress(4);
        }
        match rng.below(4) {
            0 => drop(placed),
            1 => drop(placed.failed(FailureCause::Lost, true).placed().await),
            2 => placed.finish(Completion::Broken(FailureCause::Truncated), Usage::default()),
            _ => {
                let usage =
                    Usage { prompt_tokens: Some(90), cached_tokens: Some(32), output_tokens: Some(40) };
                placed.finish(Completion::Complete, usage);
            }
        }
    }
}

/// Records traffic to two pools under this placement rule while endpoints are added and removed.
async fn record(placement: Placement, path: &Path) {
    let engine = Engine::start("/metrics", include_str!("fixtures/vllm-0.32-loaded.txt")).await;
    engine.set_models(r#"{"data":[{"id":"tiny"},{"id":"lora","parent":"tiny"}]}"#);
    let base = Engine::start("/metrics", "").await;
    base.set_models(r#"{"data":[{"id":"tiny"}]}"#);
    let world = |pools: &[(&str, &[u16])]| {
        let mut world = world(pools);
        world.pools.iter_mut().for_each(|pool| pool.policy.placement = placement);
        world
    };
    let options = FleetOptions { seed: 99, decisions: 1, record: Some(path.to_owned()), monitor: fast() };
    let fleet = Fleet::start(options, metrics()).unwrap();
    fleet.apply(world(&[("a", &[1, 2, engine.port, base.port]), ("b", &[3])]), 0).unwrap();
    let listed =
        || fleet.current().pools[0].endpoints.iter().filter(|it| !it.served.list().is_empty()).count();
    until("the lists", || listed() == 2).await;
    let tasks: Vec<_> = (0..4).map(|seed| tokio::spawn(traffic(fleet.clone(), seed))).collect();
    until("a scrape", || engine.state.scrapes.load(std::sync::atomic::Ordering::Relaxed) > 0).await;
    fleet.apply(world(&[("a", &[2, engine.port, base.port]), ("b", &[3, 4])]), 0).unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_recorded_run_replays_identically_under_every_placement_rule() {
    let folder = tempfile::tempdir().unwrap();
    for placement in Placement::ALL {
        let name = placement.as_str();
        let path = folder.path().join(name);
        record(placement, &path).await;
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(
            log.contains(name) && log.contains("\"subset\":["),
            "some requests are limited to endpoints that list their model"
        );
        let report = replay(BufReader::new(File::open(&path).unwrap())).unwrap();
        assert!(report.is_identical(), "{name}: {report:?}");
        let events: u64 = report.schedulers.iter().map(|it| it.events).sum();
        assert_eq!(report.schedulers.len(), 2);
        assert!(events > 1_600, "{name}: {events} events");
        assert!(report.schedulers.iter().all(|it| it.effects > 100), "{name}: {report:?}");
        let hashes: BTreeSet<u64> = arrivals(log.as_bytes())
            .unwrap()
            .iter()
            .flat_map(|arrival| arrival.facts.blocks.iter().map(|block| block.0).collect::<Vec<_>>())
            .collect();
        assert_eq!(hashes.len(), 24, "six prefixes of up to four blocks");
        assert!(
            hashes.iter().all(|hash| !(FIRST_HASH..FIRST_HASH + 1_000).contains(hash)),
            "{name}: {hashes:?}"
        );
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_created_is_an_error_at_start() {
    let options =
        FleetOptions { record: Some("/nonexistent/events.jsonl".into()), ..FleetOptions::default() };
    let error = Fleet::start(options, metrics()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event log: /nonexistent/events.jsonl: No such file or directory (os error 2)"
    );
}
