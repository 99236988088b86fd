//! The model of the engines' prefix caches: updated by dispatches, corrected by engine reports.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use pointsman_core::{
    BlockHash, Completion, EndpointId, EngineTotals, Event, FailureCause, LoadReport, Placement,
    PrefixCacheSnapshot, RequestFacts, RequestId, Rng, Usage,
};
use support::{Driver, stream};

const BLOCK: u32 = 64;

/// A prompt whose first `shared` blocks belong to `stem`.
fn prompt(stem: u64, shared: u32, own: u64, blocks: u32) -> RequestFacts {
    let hash = |seed: u64, block: u32| BlockHash(Rng::seeded(seed << 24 | u64::from(block)).next_u64());
    let seed = |block: u32| if block < shared { 2 * stem } else { 2 * own + 1 };
    let blocks: Arc<[BlockHash]> = (0..blocks).map(|block| hash(seed(block), block)).collect();
    let prompt_tokens = u32::try_from(blocks.len()).unwrap() * BLOCK;
    RequestFacts { blocks, block_tokens: BLOCK, ..stream(prompt_tokens) }
}

fn finish(driver: &mut Driver, request: RequestId, cached_tokens: Option<u32>, prompt: u32, output: u32) {
    let usage = Usage { prompt_tokens: Some(prompt), cached_tokens, output_tokens: Some(output) };
    driver.tell(Event::FirstToken { request });
    driver.tell(Event::Finished { request, completion: Completion::Complete, usage });
}

fn cache(driver: &Driver, endpoint: u32) -> PrefixCacheSnapshot {
    let snapshot = driver.pool.snapshot(driver.now);
    snapshot.endpoints.iter().find(|known| known.endpoint.0 == endpoint).expect("known").prefix_cache
}

/// Prompt tokens to prefill at an endpoint.
fn pending(driver: &Driver, endpoint: u32) -> u64 {
    driver.pool.snapshot(driver.now).endpoints[endpoint as usize].pending_tokens
}

fn report_capacity(driver: &mut Driver, endpoint: u32, tokens: u32) {
    let report = LoadReport { kv_blocks: Some(tokens / 16), block_size: Some(16), ..LoadReport::default() };
    driver.load(endpoint, report);
}

#[test]
fn a_burst_with_one_prefix_finds_its_own_dispatches() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    for own in 0..5 {
        driver.dispatch(prompt(1, 90, own, 100));
    }
    assert_eq!(pending(&driver, 0), u64::from(100 * BLOCK + 4 * 10 * BLOCK));
    assert_eq!(cache(&driver, 0).blocks, 90 + 5 * 10);
}

#[test]
fn requests_follow_their_prefix_and_spread_it_where_its_holder_is_loaded_and_caches_have_room() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let served = |driver: &mut Driver, own| {
        let (request, endpoint) = driver.dispatch(prompt(1, 90, own, 100));
        finish(driver, request, None, 100 * BLOCK, BLOCK);
        endpoint
    };
    let first = served(&mut driver, 0);
    for own in 1..9 {
        assert_eq!(served(&mut driver, own), first, "one at a time, all go to the one copy");
    }
    let mut burst: Vec<u32> = (9..13).map(|own| driver.dispatch(prompt(1, 90, own, 100)).1).collect();
    burst.dedup();
    assert!(burst.len() > 1, "{burst:?}: idle engines with room in their caches get a copy each");
}

#[test]
fn a_full_engine_keeps_the_prompts_whose_prefixes_only_it_has() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let (request, home) = driver.dispatch(prompt(1, 90, 0, 100));
    finish(&mut driver, request, None, 100 * BLOCK, BLOCK);
    let full =
        LoadReport { running: Some(4), waiting: Some(1), max_running: Some(4), ..LoadReport::default() };
    driver.load(home, full);
    let (_, endpoint) = driver.dispatch(prompt(1, 90, 1, 100));
    assert_eq!(endpoint, home, "to prefill ninety blocks again is worse than to wait for a slot");
    let (_, endpoint) = driver.dispatch(prompt(2, 90, 2, 100));
    assert_ne!(endpoint, home, "this prefix is cached nowhere");
}

#[test]
fn blocks_beyond_the_capacity_are_evicted_last_blocks_and_outputs_first() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    report_capacity(&mut driver, 0, 200 * BLOCK);
    let (request, _) = driver.dispatch(prompt(1, 100, 0, 110));
    finish(&mut driver, request, None, 110 * BLOCK, 5 * BLOCK);
    assert_eq!(cache(&driver, 0).blocks, 115);
    let (request, _) = driver.dispatch(prompt(2, 0, 1, 110));
    finish(&mut driver, request, None, 110 * BLOCK, 0);
    assert_eq!(cache(&driver, 0).blocks, 200);
    driver.dispatch(prompt(1, 100, 2, 110));
    assert_eq!(pending(&driver, 0), u64::from(20 * BLOCK), "90 of the first prompt's 100 are left");
}

#[test]
fn outputs_evict_prompts() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    report_capacity(&mut driver, 0, 200 * BLOCK);
    let (request, _) = driver.dispatch(prompt(1, 50, 0, 50));
    finish(&mut driver, request, None, 50 * BLOCK, 0);
    // Without hashes: the engine caches it all the same, and it cannot be matched.
    for _ in 0..4 {
        let (request, _) = driver.dispatch(stream(10 * BLOCK));
        finish(&mut driver, request, None, 10 * BLOCK, 40 * BLOCK);
    }
    driver.dispatch(prompt(1, 50, 1, 50));
    assert_eq!(pending(&driver, 0), u64::from(50 * BLOCK));
}

#[test]
fn a_removed_or_restarted_endpoint_has_nothing_cached() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    let (request, _) = driver.dispatch(prompt(1, 50, 0, 50));
    finish(&mut driver, request, None, 50 * BLOCK, 0);
    driver.tell(Event::EndpointDown { endpoint: EndpointId(0) });
    driver.up(1);
    let (request, _) = driver.dispatch(prompt(1, 50, 0, 50));
    assert_eq!(pending(&driver, 0), u64::from(50 * BLOCK));
    finish(&mut driver, request, None, 50 * BLOCK, 0);
    let totals =
        |prompt_tokens| EngineTotals { prompt_tokens: Some(prompt_tokens), ..EngineTotals::default() };
    driver.load(1, LoadReport { totals: totals(50_000.0), ..LoadReport::default() });
    driver.load(1, LoadReport { totals: totals(60_000.0), ..LoadReport::default() });
    assert_eq!(cache(&driver, 1).blocks, 50);
    driver.load(1, LoadReport { totals: totals(100.0), ..LoadReport::default() });
    assert_eq!(cache(&driver, 1).blocks, 0, "its counters fell");
}

#[test]
fn requests_that_end_after_a_restart_leave_the_counts_right() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let facts = || prompt(1, 50, 0, 50);
    let (request, endpoint) = driver.dispatch(facts());
    let (moved, _) = driver.dispatch(facts());
    driver.tell(Event::EndpointDown { endpoint: EndpointId(endpoint) });
    driver.up(endpoint);
    driver.tell(Event::ServedElsewhere { request: moved, endpoint: EndpointId(1 - endpoint) });
    let (failed, at) = driver.dispatch(facts());
    driver.fail(failed, at, FailureCause::Lost);
    for request in [request, moved, failed] {
        finish(&mut driver, request, Some(0), 50 * BLOCK, 7);
    }
    assert_eq!(driver.in_flight(), [0, 0]);
}

/// Sends prompts with one shared prefix, whose hits the engine reports as `cached`, to one endpoint.
fn report_hits(driver: &mut Driver, requests: u64, cached: impl Fn(u64) -> Option<u32>) {
    for own in 0..requests {
        driver.pass(500);
        let (request, _) = driver.dispatch(prompt(1, 90, own, 100));
        finish(driver, request, cached(own), 100 * BLOCK, 10);
    }
}

#[test]
fn an_engine_that_never_reports_a_hit_counts_as_one_without_prefix_cache() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    report_hits(&mut driver, 80, |_| Some(0));
    assert_eq!(cache(&driver, 0).trust, 0.0);
    driver.dispatch(prompt(1, 90, 1_000, 100));
    assert_eq!(pending(&driver, 0), u64::from(100 * BLOCK));
    // A new endpoint of such a fleet starts with little trust.
    driver.up(1);
    assert!(cache(&driver, 1).trust < 0.2);
    driver.tell(Event::EndpointDown { endpoint: EndpointId(1) });
    // It returns when hits are reported.
    report_hits(&mut driver, 200, |_| Some(90 * BLOCK));
    assert!(cache(&driver, 0).trust > 0.9);
}

#[test]
fn engines_that_report_the_expected_hits_or_none_at_all_are_trusted() {
    for reported in [None, Some(90 * BLOCK)] {
        let mut driver = Driver::new(1, Placement::Pointsman);
        report_hits(&mut driver, 50, |own| if own == 0 { reported.map(|_| 0) } else { reported });
        assert_eq!(cache(&driver, 0).trust, 1.0);
        assert_eq!(cache(&driver, 0).reported_share.is_some(), reported.is_some());
    }
}

#[test]
fn an_engine_with_fewer_hits_than_expected_gets_a_smaller_capacity() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    report_capacity(&mut driver, 0, 2_000 * BLOCK);
    let before = cache(&driver, 0).capacity_tokens;
    report_hits(&mut driver, 40, |own| Some(if own % 2 == 0 { 0 } else { 90 * BLOCK }));
    let after = cache(&driver, 0).capacity_tokens;
    assert!(after < before / 2.0, "{before} {after}");
    report_hits(&mut driver, 400, |_| Some(90 * BLOCK));
    assert_eq!(cache(&driver, 0).capacity_tokens, before, "and no more than the engine reported");
}

#[test]
fn the_engines_counters_are_used_where_responses_report_nothing() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    for round in 0..40_u32 {
        report_hits(&mut driver, 8, |_| None);
        let totals = EngineTotals {
            prompt_tokens: Some(f64::from(round) * 8.0 * f64::from(100 * BLOCK)),
            cached_tokens: Some(0.0),
            ..EngineTotals::default()
        };
        driver.load(0, LoadReport { totals, ..LoadReport::default() });
    }
    assert!(cache(&driver, 0).trust < 0.1, "{:?}", cache(&driver, 0));
}

#[test]
fn a_refused_prompt_leaves_the_belief_about_the_cache_as_it_was() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    report_capacity(&mut driver, 0, 1_000 * BLOCK);
    for own in 0..10 {
        let (request, _) = driver.dispatch(prompt(own, 50, own, 50));
        finish(&mut driver, request, None, 50 * BLOCK, 1);
    }
    let before = cache(&driver, 0).blocks;
    let known = |driver: &mut Driver, stem: u64| {
        let ahead = pending(driver, 0);
        let (request, _) = driver.dispatch(prompt(stem, 50, 99, 51));
        let own = pending(driver, 0) - ahead;
        driver.tell(Event::Aborted { request });
        51 * u64::from(BLOCK) - own
    };
    for overlong in [950, 5_000] {
        let (request, _) = driver.dispatch(prompt(77, 0, 77, overlong));
        assert!(known(&mut driver, 0) >= u64::from(50 * BLOCK), "meanwhile");
        let (completion, usage) = (Completion::Declined, Usage::default());
        driver.tell(Event::Finished { request, completion, usage });
        for stem in 0..10 {
            assert!(known(&mut driver, stem) >= u64::from(50 * BLOCK), "prompt {stem}");
        }
        let blocks = cache(&driver, 0).blocks;
        assert!(blocks <= before + 10, "the aborted probes' own blocks alone: {before} to {blocks}");
    }
    // One that is taken evicts others.
    let (request, _) = driver.dispatch(prompt(78, 0, 78, 950));
    driver.tell(Event::FirstToken { request });
    let kept = (0..10).filter(|stem| known(&mut driver, *stem) > 0).count();
    assert!(kept < 5, "{kept} of 10 prompts fit beside it");
}

#[test]
fn an_endpoint_that_fails_keeps_no_prompt_that_it_attracted() {
    for lost_by_gateway in [false, true] {
        let mut driver = Driver::new(2, Placement::Pointsman);
        let (request, failing) = driver.dispatch(prompt(1, 50, 1, 51));
        let cause = FailureCause::Lost;
        driver.tell(if lost_by_gateway {
            Event::AttemptFailed { request, endpoint: EndpointId(failing), cause, retry: false }
        } else {
            Event::Finished { request, completion: Completion::Broken(cause), usage: Usage::default() }
        });
        let blocks = cache(&driver, failing).blocks;
        assert_eq!(blocks, 0, "the next request with that prompt may go anywhere");
    }
}
