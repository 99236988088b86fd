//! Any events in any order, nonsense included: counts stay consistent, each request is answered exactly once, and the
//! same events give the same effects.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{
    AdapterReport, BlockHash, Completion, Effect, EndpointId, EndpointSpec, EngineTotals, Event,
    FailureCause, LoadReport, ModelKey, Placement, PoolId, PoolPolicy, PoolSet, RequestFacts, RequestId,
    RetryBudget, Scheduler, SchedulerConfig, Time, Usage,
};
use proptest::collection::vec;
use proptest::prelude::*;

const ENDPOINTS: u32 = 5;
const REQUESTS: u64 = 12;
const CONFIG: SchedulerConfig = SchedulerConfig { seed: 42, decisions: true };

fn endpoint() -> impl Strategy<Value = EndpointId> {
    (0..ENDPOINTS).prop_map(EndpointId)
}

fn request() -> impl Strategy<Value = RequestId> {
    (0..REQUESTS).prop_map(RequestId)
}

fn pool() -> impl Strategy<Value = PoolId> {
    prop_oneof![9 => Just(PoolId(0)), 1 => (0..80_u8).prop_map(PoolId)]
}

fn adapter() -> impl Strategy<Value = ModelKey> {
    (0..4_u64).prop_map(ModelKey)
}

fn cause() -> impl Strategy<Value = FailureCause> {
    prop_oneof![
        Just(FailureCause::Connect),
        Just(FailureCause::Lost),
        Just(FailureCause::Unavailable),
        Just(FailureCause::Stalled),
        Just(FailureCause::EngineError),
    ]
}

/// Numbers on a metrics page, absurd ones included.
fn number() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(0.0)),
        (0.0..1e6_f64).prop_map(Some),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(-1.0)),
        Just(Some(1e300)),
    ]
}

fn count() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (0..100_u32).prop_map(Some), Just(Some(u32::MAX))]
}

prop_compose! {
    fn totals()(
        prompt_tokens in number(), cached_tokens in number(), prefill_seconds in number(),
        inter_token_seconds in number(), inter_token_count in number(),
    ) -> EngineTotals {
        EngineTotals {
            prompt_tokens, cached_tokens, prefill_seconds, inter_token_seconds, inter_token_count,
            ..EngineTotals::default()
        }
    }
}

prop_compose! {
    fn report()(
        taken in 0..200_u64, running in count(), waiting in count(), deferred in count(),
        kv_use in number(), kv_blocks in count(), max_running in count(),
        adapters in proptest::option::of((0..3_u32, vec(adapter(), 0..4))),
        totals in totals(),
    ) -> LoadReport {
        let adapters = adapters.map(|(max_adapters, active)| AdapterReport { max_adapters, active });
        LoadReport {
            taken: Time::ZERO + Duration::from_secs(taken), running, waiting, deferred, kv_use, kv_blocks,
            block_size: Some(16), kv_tokens: None, max_running, adapters, totals,
        }
    }
}

/// Prompts with shared prefixes, now and then one whose hashes form no chain.
fn blocks() -> impl Strategy<Value = Arc<[BlockHash]>> {
    let chained = |words: Vec<u64>| -> Vec<u64> {
        let extend = |hash: &mut u64, word: u64| {
            *hash = (*hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
            Some(*hash)
        };
        words.into_iter().scan(1, extend).collect()
    };
    let words = || vec(0..3_u64, 0..8);
    prop_oneof![2 => Just(Vec::new()), 6 => words().prop_map(chained), 1 => words()]
        .prop_map(|hashes| hashes.into_iter().map(BlockHash).collect())
}

prop_compose! {
    fn facts()(
        policy in pool(), target in proptest::option::of(adapter()), priority in -1..2_i32,
        prompt_tokens in prop_oneof![0..2_000_u32, Just(u32::MAX)],
        blocks in blocks(), block_tokens in prop_oneof![8 => Just(64_u32), 1 => Just(0), 1 => Just(u32::MAX)],
        max_output_tokens in proptest::option::of(0..500_u32), observes_tokens in any::<bool>(),
        subset in proptest::option::weighted(0.2, vec(endpoint(), 0..3)),
    ) -> RequestFacts {
        RequestFacts {
            target, priority, prompt_tokens, blocks, block_tokens, max_output_tokens, observes_tokens,
            subset: subset.map(Arc::from), ..RequestFacts::unknown(policy)
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let up = (endpoint(), pool()).prop_map(|(endpoint, pool)| Event::EndpointUp {
        endpoint,
        spec: EndpointSpec { pools: PoolSet::of(PoolId(0)).with(pool) },
    });
    let change = (pool(), 0..Placement::ALL.len(), 0..4_u32).prop_map(|(pool, placement, max_attempts)| {
        let retry_budget = RetryBudget { max_attempts, ..RetryBudget::default() };
        let policy =
            PoolPolicy { placement: Placement::ALL[placement], retry_budget, ..PoolPolicy::default() };
        Event::PoolPolicyChanged { pool, policy }
    });
    let completion = prop_oneof![
        3 => Just(Completion::Complete),
        2 => Just(Completion::Declined),
        1 => cause().prop_map(Completion::Broken),
        1 => Just(Completion::ClientGone),
    ];
    let usage = (count(), count(), count()).prop_map(|(prompt_tokens, cached_tokens, output_tokens)| Usage {
        prompt_tokens,
        cached_tokens,
        output_tokens,
    });
    prop_oneof![
        4 => up,
        1 => endpoint().prop_map(|endpoint| Event::EndpointDraining { endpoint }),
        1 => endpoint().prop_map(|endpoint| Event::EndpointDown { endpoint }),
        4 => (endpoint(), report()).prop_map(|(endpoint, report)| Event::Load { endpoint, report }),
        2 => (endpoint(), any::<bool>()).prop_map(|(endpoint, healthy)| Event::Probed { endpoint, healthy }),
        1 => endpoint().prop_map(|endpoint| Event::Unreachable { endpoint }),
        2 => change,
        1 => vec(adapter(), 0..4).prop_map(|adapters| Event::AdaptersDeclared { adapters }),
        12 => (request(), facts()).prop_map(|(request, facts)| Event::Arrived { request, facts }),
        6 => request().prop_map(|request| Event::FirstToken { request }),
        6 => (request(), 0..2_000_u32)
            .prop_map(|(request, output_tokens)| Event::Progress { request, output_tokens }),
        4 => (request(), endpoint(), cause(), any::<bool>()).prop_map(|(request, endpoint, cause, retry)| {
            Event::AttemptFailed { request, endpoint, cause, retry }
        }),
        4 => (request(), any::<bool>()).prop_map(|(request, declined)| {
            let cause = if declined { FailureCause::Declined } else { FailureCause::EngineError };
            Event::ErrorAnswered { request, cause }
        }),
        1 => (request(), endpoint())
            .prop_map(|(request, endpoint)| Event::ServedElsewhere { request, endpoint }),
        5 => (request(), completion, usage)
            .prop_map(|(request, completion, usage)| Event::Finished { request, completion, usage }),
        2 => request().prop_map(|request| Event::Aborted { request }),
        1 => Just(Event::Timer),
    ]
}

/// Events with the milliseconds since the one before; now and then the clock jumps.
fn log() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let pause = prop_oneof![8 => 0..300_u64, 1 => 0..100_000_u64];
    vec((pause, event()), 0..120)
}

fn answers(effects: &[Effect], request: RequestId) -> usize {
    let is = |effect: &&Effect| match effect {
        Effect::Dispatch { request: id, .. } | Effect::Reject { request: id, .. } => *id == request,
        Effect::WakeAt(_) | Effect::HealthChanged { .. } | Effect::EndpointGone { .. } => false,
    };
    effects.iter().filter(is).count()
}

fn all_answers(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Dispatch { .. } | Effect::Reject { .. })).count()
}

/// Keeps the set of requests under way by events and effects alone.
fn follow(live: &mut BTreeSet<RequestId>, event: &Event, effects: &[Effect]) {
    #[allow(clippy::wildcard_enum_match_arm)]
    let expected = match event {
        Event::Arrived { request, .. } if !live.contains(request) => Some(*request),
        Event::AttemptFailed { request, .. } if live.remove(request) => Some(*request),
        Event::ErrorAnswered { request, .. } if all_answers(effects) > 0 => {
            live.remove(request).then_some(*request)
        }
        Event::Finished { request, .. } | Event::Aborted { request } => {
            live.remove(request);
            None
        }
        _ => None,
    };
    assert_eq!(all_answers(effects), usize::from(expected.is_some()), "{event:?}: {effects:?}");
    if let Some(request) = expected {
        assert_eq!(answers(effects, request), 1);
        let dispatched = effects.iter().any(|effect| matches!(effect, Effect::Dispatch { .. }));
        if dispatched {
            live.insert(request);
        }
    }
}

fn run(log: &[(u64, Event)]) -> (Scheduler, Time, Vec<Vec<Effect>>) {
    let mut pool = Scheduler::new(CONFIG);
    let mut now = Time::ZERO;
    let mut all = Vec::new();
    for (pause, event) in log {
        now = now + Duration::from_millis(*pause);
        let mut effects = Vec::new();
        pool.handle(now, event.clone(), &mut effects);
        all.push(effects);
    }
    (pool, now, all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_stay_consistent_and_each_request_is_answered_once(log in log()) {
        let mut pool = Scheduler::new(CONFIG);
        let mut now = Time::ZERO;
        let mut live = BTreeSet::new();
        let mut effects = Vec::new();
        for (pause, event) in &log {
            now = now + Duration::from_millis(*pause);
            effects.clear();
            pool.handle(now, event.clone(), &mut effects);
            follow(&mut live, event, &effects);
            pool.check_invariants().unwrap();
        }
        prop_assert_eq!(pool.snapshot(now).requests, live.len());
        for request in (0..REQUESTS).map(RequestId) {
            pool.handle(now, Event::Aborted { request }, &mut effects);
        }
        pool.check_invariants().unwrap();
        let snapshot = pool.snapshot(now);
        prop_assert_eq!(snapshot.requests, 0);
        for endpoint in snapshot.endpoints {
            let counts = (endpoint.in_flight, endpoint.pending_tokens, endpoint.context_tokens);
            prop_assert_eq!(counts, (0, 0, 0));
        }
    }

    #[test]
    fn a_log_repeats_bit_for_bit_even_through_a_file(log in log()) {
        // JSON has no NaN and no infinity: drivers record what the extractor let through.
        let sane = |event: &Event| !format!("{event:?}").contains("NaN") && !format!("{event:?}").contains("inf");
        let log: Vec<_> = log.into_iter().filter(|(_, event)| sane(event)).collect();
        let (_, _, first) = run(&log);
        let written = serde_json::to_string(&log).unwrap();
        let read: Vec<(u64, Event)> = serde_json::from_str(&written).unwrap();
        let (pool, now, second) = run(&read);
        prop_assert_eq!(first, second);
        serde_json::to_string(&pool.snapshot(now)).unwrap();
    }
}
