//! The cache-aware rules on small cases with costs worked out by hand.

use std::time::Duration;

use pointsman_random::Rng;

use super::*;
use crate::endpoint::EndpointSpec;
use crate::endpoints::Endpoints;
use crate::ids::{BlockHash, EndpointId, PoolId, PoolSet, RequestId};
use crate::policy::{
    Affinity, Blend, BlendWeights, BoundedLoad, CacheAware, DynamoCost, Placement, PrefixScore,
};
use crate::rates::Rates;
use crate::time::Time;

/// The load of an endpoint.
#[derive(Clone, Copy, Default)]
struct At {
    /// Uncached prompt tokens in flight: *P*.
    pending: u32,
    in_flight: u32,
    /// Tokens of the request's prompt that are cached there.
    cached: u32,
}

/// Endpoints with their load, and the next request.
struct Case {
    endpoints: Vec<(u32, At)>,
    facts: RequestFacts,
    rule: Rule,
    rng: Rng,
    prefix_idle: Option<u32>,
    prefill_busy: f64,
}

impl Case {
    /// Endpoints numbered from 0, and a request with this number of prompt tokens.
    fn new(prompt_tokens: u32, endpoints: &[At]) -> Self {
        let facts = RequestFacts { prompt_tokens, ..RequestFacts::unknown(PoolId(0)) };
        let endpoints = (0..).zip(endpoints.iter().copied()).collect();
        Self {
            endpoints,
            facts,
            rule: Rule::default(),
            rng: Rng::seeded(7),
            prefix_idle: None,
            prefill_busy: 0.0,
        }
    }

    /// The rule with its state.
    fn rule(&mut self, placement: Placement) -> &mut Rule {
        self.rule.change(&placement);
        &mut self.rule
    }

    /// The costs under the rule, in ascending order of endpoint, and the winner.
    fn decide(&mut self, placement: Placement) -> (Vec<f64>, u32) {
        let mut endpoints = Endpoints::default();
        for (id, at) in &self.endpoints {
            let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
            let index = endpoints.insert(EndpointId(*id), spec);
            let endpoint = &mut endpoints.all[index];
            endpoint.set_in_flight(at.in_flight);
            endpoint.prefill.push(Time::ZERO, RequestId(u64::from(*id)), at.pending, true, false);
        }
        let cached = self.endpoints.iter().map(|(_, at)| at.cached).collect();
        let matched = PrefixMatch { cached, prefix_idle: self.prefix_idle, ..PrefixMatch::default() };
        let rates = Rates::default().current(Time::ZERO);
        let endpoints = &endpoints.all;
        let view = View {
            endpoints,
            rates: &rates,
            facts: &self.facts,
            matched: &matched,
            prefill_busy: self.prefill_busy,
            adapter: None,
        };
        let candidate =
            |(index, (_, at)): (usize, &(u32, At))| Candidate { index, cost: 0.0, in_flight: at.in_flight };
        let mut candidates: Vec<Candidate> = self.endpoints.iter().enumerate().map(candidate).collect();
        self.rule.change(&placement);
        let Some(weighed) = self.rule.weigh(&view, &mut self.rng, &mut candidates) else { panic!("dropped") };
        let weighed = &mut candidates[..weighed];
        let winner = least(weighed, self.rule.ties(&rates), &mut self.rng)
            .map(|position| view.endpoint(&weighed[position]).id);
        weighed.sort_unstable_by_key(|candidate| candidate.index);
        (weighed.iter().map(|candidate| candidate.cost).collect(), winner.map_or(u32::MAX, |id| id.0))
    }
}

#[track_caller]
fn check(placement: Placement, prompt_tokens: u32, endpoints: &[At], costs: &[f64], winner: u32) {
    let (found, chosen) = Case::new(prompt_tokens, endpoints).decide(placement);
    assert_eq!(found.len(), costs.len(), "{found:?}");
    let close = found.iter().zip(costs).all(|(found, cost)| (found - cost).abs() < 1e-9);
    assert!(close, "{found:?} for {costs:?}");
    assert_eq!(chosen, winner);
}

fn at(pending: u32, in_flight: u32, cached: u32) -> At {
    At { pending, in_flight, cached }
}

mod blend {
    use super::*;

    #[test]
    fn the_prefix_counts_three_times_its_share() {
        let endpoints = [at(0, 0, 500), at(0, 0, 1_000), at(0, 0, 0)];
        // Gauges that were never scraped are equal: 2 and 2.
        check(Placement::Blend(Blend::LLM_D), 1_000, &endpoints, &[-5.5, -7.0, -4.0], 1);
        check(Placement::Blend(Blend::LLM_D), 0, &[at(0, 0, 0); 1], &[-4.0], 0);
    }

    #[test]
    fn the_match_length_counts_by_its_square_up_to_its_scale() {
        let prefix = PrefixScore { match_length_weight: 0.5, match_length_scale_tokens: 1_000 };
        let weights = BlendWeights { prefix_cache: 1.0, ..BlendWeights::NONE };
        let blend = Placement::Blend(Blend { weights, prefix, ..Blend::EMPTY });
        // 0.5·0.5² + 0.5·500/2000; 0.5·1 + 0.5·1500/2000.
        check(blend, 2_000, &[at(0, 0, 500), at(0, 0, 1_500)], &[-0.25, -0.875], 1);
    }

    #[test]
    fn the_affinity_filter_comes_before_the_scorers() {
        let weights = BlendWeights { active_request: 1.0, ..BlendWeights::NONE };
        let blend = Blend { weights, affinity: Some(Affinity::LLM_D), ..Blend::EMPTY };
        check(Placement::Blend(blend), 1_000, &[at(0, 9, 800), at(0, 0, 0)], &[-0.0], 0);
        let alone = Blend { affinity: None, ..blend };
        check(Placement::Blend(alone), 1_000, &[at(0, 9, 800), at(0, 0, 0)], &[0.0, -1.0], 1);
    }

    #[test]
    fn prompts_cached_nowhere_go_to_the_least_recent_endpoint() {
        let weights = BlendWeights { no_hit_lru: 2.0, ..BlendWeights::NONE };
        let rule = Placement::Blend(Blend { weights, ..Blend::EMPTY });
        let mut case = Case::new(1_000, &[At::default(); 3]);
        let mut send = |costs: &[f64], winner| {
            assert_eq!(case.decide(rule), (costs.to_vec(), winner));
            case.rule.chosen(EndpointId(winner), 1_000);
        };
        // New endpoints in their order, then the least recent.
        send(&[-2.0, -1.0, 0.0], 0);
        send(&[0.0, -2.0, -1.0], 1);
        send(&[-1.0, 0.0, -2.0], 2);
        send(&[-2.0, -1.0, 0.0], 0);
        send(&[0.0, -2.0, -1.0], 1);
        // Where some of the prompt is cached, all are equal, and the order stays.
        let mut held = Case::new(1_000, &[at(0, 0, 16), at(0, 0, 0)]);
        assert_eq!(held.decide(rule).0, [-1.0, -1.0]);
        held.rule.chosen(EndpointId(0), 984);
        held.endpoints[0].1.cached = 0;
        assert_eq!(held.decide(rule), (vec![-2.0, 0.0], 0));
    }

    #[test]
    fn exploration_keeps_all_with_its_probability() {
        let affinity = Affinity { exploration_probability: 0.25, ..Affinity::LLM_D };
        let weights = BlendWeights { active_request: 1.0, ..BlendWeights::NONE };
        let blend = Blend { weights, affinity: Some(affinity), ..Blend::EMPTY };
        let mut case = Case::new(1_000, &[at(0, 9, 800), at(0, 0, 0)]);
        let explored = (0..4_000).filter(|_| case.decide(Placement::Blend(blend)).1 == 1).count();
        assert!((900..1_100).contains(&explored), "{explored} of 4000");
    }
}

mod sticky {
    use super::*;

    /// τ = 1000·2 = 2000 tokens.
    const STICKY: Affinity = Affinity {
        max_ttft_penalty: Duration::from_secs(2),
        peak_prefill_throughput: 1_000.0,
        ..Affinity::LLM_D
    };

    #[track_caller]
    fn check(endpoints: &[At], costs: &[f64], winner: u32) {
        super::check(Placement::StickyUntilSaturated(STICKY), 1_000, endpoints, costs, winner);
    }

    #[test]
    fn a_hit_of_eight_tenths_sticks_and_less_does_not() {
        check(&[at(900, 0, 800), at(0, 0, 0)], &[1_100.0], 0);
        check(&[at(900, 0, 799), at(0, 0, 0)], &[1_101.0, 1_000.0], 1);
    }

    #[test]
    fn a_backlog_of_more_than_tau_above_the_others_breaks_it() {
        check(&[at(2_000, 0, 1_000), at(0, 0, 0)], &[2_000.0], 0);
        check(&[at(2_001, 0, 1_000), at(0, 0, 0)], &[2_001.0, 1_000.0], 1);
        check(&[at(2_500, 0, 1_000), at(500, 0, 0), at(600, 0, 0)], &[2_500.0], 0);
    }

    #[test]
    fn the_least_loaded_holder_is_compared_with_the_least_loaded_other() {
        check(&[at(9_000, 0, 1_000), at(2_000, 0, 900), at(0, 0, 0)], &[9_000.0, 2_100.0], 1);
    }

    #[test]
    fn without_stickiness_the_hit_still_counts() {
        check(&[at(2_001, 0, 1_000), at(1_900, 0, 0), at(0, 0, 0)], &[2_001.0, 2_900.0, 1_000.0], 2);
        check(&[at(900, 0, 400), at(600, 0, 0)], &[1_500.0, 1_600.0], 0);
    }

    #[test]
    fn without_a_penalty_it_always_sticks() {
        let always = Affinity { max_ttft_penalty: Duration::ZERO, ..STICKY };
        let endpoints = [at(1_000_000, 0, 800), at(0, 0, 0)];
        super::check(Placement::StickyUntilSaturated(always), 1_000, &endpoints, &[1_000_200.0], 0);
    }

    #[test]
    fn the_published_tau_is_18_seconds_at_15928_tokens_a_second() {
        let published = Placement::StickyUntilSaturated(Affinity::LLM_D);
        super::check(published, 1_000, &[at(286_704, 0, 1_000), at(0, 0, 0)], &[286_704.0], 0);
        let beyond = [at(286_705, 0, 1_000), at(0, 0, 0)];
        super::check(published, 1_000, &beyond, &[286_705.0, 1_000.0], 1);
    }
}

mod cache_aware {
    use super::*;

    const RULE: Placement = Placement::SglangCacheAware(CacheAware::SGLANG);

    #[test]
    fn a_match_above_the_threshold_decides_whatever_the_load() {
        check(RULE, 1_000, &[at(0, 64, 301), at(0, 0, 0)], &[699.0, 1_000.0], 0);
        check(RULE, 1_000, &[at(0, 0, 301), at(0, 0, 302), at(0, 0, 302)], &[699.0, 698.0, 698.0], 1);
    }

    #[test]
    fn loads_out_of_balance_by_both_measures_go_to_the_fewest_requests() {
        check(RULE, 1_000, &[at(0, 65, 1_000), at(0, 0, 0)], &[65.0, 0.0], 1);
        check(RULE, 1_000, &[at(0, 64, 1_000), at(0, 0, 0)], &[0.0, 1_000.0], 0);
        // 1.5·135 = 202.5.
        check(RULE, 1_000, &[at(0, 202, 1_000), at(0, 135, 0)], &[0.0, 1_000.0], 0);
        check(RULE, 1_000, &[at(0, 203, 1_000), at(0, 135, 0)], &[203.0, 135.0], 1);
    }

    #[test]
    fn a_miss_goes_to_the_smallest_tree_whatever_its_load() {
        let mut case = Case::new(1_000, &[at(0, 0, 0), at(0, 60, 300), at(0, 0, 0)]);
        for (endpoint, tokens) in [(0, 4_000), (1, 900), (2, 3_000), (1, 100)] {
            case.rule(RULE).chosen(EndpointId(endpoint), tokens);
        }
        assert_eq!(case.decide(RULE), (vec![4_000.0, 1_000.0, 3_000.0], 1));
        // The tree of an endpoint that is gone is removed.
        case.endpoints.remove(1);
        assert_eq!(case.decide(RULE), (vec![4_000.0, 3_000.0], 2));
        case.endpoints.insert(1, (1, At::default()));
        assert_eq!(case.decide(RULE), (vec![4_000.0, 0.0, 3_000.0], 1));
    }

    #[test]
    fn a_prompt_without_tokens_is_a_miss() {
        let mut case = Case::new(0, &[At::default(); 2]);
        case.rule(RULE).chosen(EndpointId(0), 10);
        assert_eq!(case.decide(RULE), (vec![10.0, 0.0], 1));
    }
}

mod dynamo {
    use super::*;

    fn blocks(first: u64, count: u64) -> RequestFacts {
        RequestFacts {
            prompt_tokens: u32::try_from(count).unwrap_or(0) * 16,
            blocks: (first..first + count).map(BlockHash).collect(),
            block_tokens: 16,
            ..RequestFacts::unknown(PoolId(0))
        }
    }

    /// An endpoint whose ten blocks are in use, an idle one, and one with twelve other blocks in use and 32 tokens to
    /// prefill.
    fn case() -> (Case, Placement) {
        let rule = Placement::DynamoCost(DynamoCost::DYNAMO);
        let mut case = Case::new(160, &[at(0, 1, 160), at(0, 0, 0), at(32, 1, 160)]);
        case.facts = blocks(0, 10);
        case.rule(rule).begin(RequestId(100), EndpointId(0), &blocks(0, 10));
        case.rule(rule).begin(RequestId(101), EndpointId(2), &blocks(50, 12));
        (case, rule)
    }

    #[test]
    fn the_cost_is_blocks_to_prefill_and_blocks_in_use_with_the_request() {
        let (mut case, rule) = case();
        // 0 + 10; 160/16 + 10; 32/16 + 12 + 10.
        assert_eq!(case.decide(rule), (vec![10.0, 20.0, 24.0], 0));
    }

    #[test]
    fn the_scale_counts_prefill_only() {
        let (mut case, _) = case();
        let rule = Placement::DynamoCost(DynamoCost { prefill_load_scale: 3.0 });
        assert_eq!(case.decide(rule), (vec![10.0, 40.0, 28.0], 0));
    }

    #[test]
    fn blocks_shared_in_part_count_in_part_and_ended_requests_not_at_all() {
        let (mut case, rule) = case();
        case.facts = blocks(0, 20);
        // 160 of 320 tokens to prefill: 10 + 10 + 10 new; 20 + 20; 2 + 10 + 12 + 20.
        assert_eq!(case.decide(rule), (vec![30.0, 40.0, 44.0], 0));
        case.rule.end(RequestId(100));
        assert_eq!(case.decide(rule), (vec![30.0, 40.0, 44.0], 0));
        case.rule.end(RequestId(101));
        assert_eq!(case.decide(rule), (vec![30.0, 40.0, 32.0], 0));
    }

    #[test]
    fn ties_are_drawn() {
        let rule = Placement::DynamoCost(DynamoCost::DYNAMO);
        let mut case = Case::new(160, &[at(0, 5, 0), at(0, 0, 0)]);
        let first = (0..1_000).filter(|_| case.decide(rule).1 == 0).count();
        assert!((430..570).contains(&first), "{first} of 1000");
    }
}

mod least_prefill_work {
    use super::*;

    #[test]
    fn the_least_prefill_wins_and_decoding_does_not_count() {
        let endpoints = [at(500, 1, 900), at(0, 99, 500), at(700, 0, 1_000)];
        check(Placement::Lpwl, 1_000, &endpoints, &[600.0, 500.0, 700.0], 1);
    }

    #[test]
    fn ties_go_to_the_fewest_requests_then_in_turn() {
        check(Placement::Lpwl, 1_000, &[at(0, 2, 500), at(300, 1, 800)], &[500.0, 500.0], 1);
        let mut case = Case::new(1_000, &[At::default(); 3]);
        let turns = (0..5).map(|_| {
            let winner = case.decide(Placement::Lpwl).1;
            case.rule(Placement::Lpwl).chosen(EndpointId(winner), 1_000);
            winner
        });
        assert_eq!(turns.collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
    }
}

mod lmetric {
    use super::*;

    #[test]
    fn the_least_product_of_prefill_and_batch_with_the_request_wins() {
        let endpoints = [at(0, 0, 0), at(0, 8, 900), at(400, 1, 1_000)];
        check(Placement::Lmetric, 1_000, &endpoints, &[1_000.0, 900.0, 800.0], 2);
    }

    #[test]
    fn ties_go_to_the_fewest_requests() {
        check(Placement::Lmetric, 1_000, &[at(0, 9, 900), at(0, 0, 0)], &[1_000.0, 1_000.0], 1);
        // A factor of zero hides the other.
        check(Placement::Lmetric, 1_000, &[at(0, 50, 1_000), at(0, 1, 999)], &[0.0, 2.0], 0);
    }
}

mod bounded_load_hash {
    use super::*;

    const RULE: Placement = Placement::BoundedLoadHash(BoundedLoad::KUBEAI);

    fn prompt(prefix: u64, rest: u64) -> RequestFacts {
        let blocks = [BlockHash(1), BlockHash(prefix), BlockHash(rest)];
        RequestFacts {
            prompt_tokens: 48,
            blocks: blocks.into(),
            block_tokens: 16,
            ..RequestFacts::unknown(PoolId(0))
        }
    }

    fn winners(case: &mut Case, prefixes: u64) -> Vec<u32> {
        let winner = |number| {
            case.facts = prompt(number, 7 * number);
            case.decide(RULE).1
        };
        (0..prefixes).map(winner).collect()
    }

    #[test]
    fn the_first_blocks_of_the_prompt_decide_and_later_ones_do_not() {
        let mut case = Case::new(48, &[At::default(); 5]);
        for number in 0..50 {
            case.facts = prompt(number, 1);
            let winner = case.decide(RULE).1;
            case.facts = prompt(number, 2);
            assert_eq!(case.decide(RULE).1, winner);
        }
    }

    #[test]
    fn prefixes_spread_over_all_endpoints() {
        let winners = winners(&mut Case::new(48, &[At::default(); 5]), 2_000);
        for endpoint in 0..5 {
            let share = winners.iter().filter(|winner| **winner == endpoint).count();
            assert!((300..500).contains(&share), "{endpoint}: {share} of 2000");
        }
    }

    #[test]
    fn a_removed_endpoint_moves_only_its_own_prefixes_and_gets_them_back() {
        let mut case = Case::new(48, &[At::default(); 5]);
        let before = winners(&mut case, 500);
        let gone = case.endpoints.remove(2);
        let without = winners(&mut case, 500);
        for (before, without) in before.iter().zip(&without) {
            assert!(*before == 2 || before == without, "{before} became {without}");
        }
        assert!(!without.contains(&2));
        case.endpoints.insert(2, gone);
        assert_eq!(winners(&mut case, 500), before);
    }

    /// Requests in flight at the endpoint that the hash gives and at each of the other three.
    #[track_caller]
    fn stays(named: u32, others: u32, stays: bool) {
        let mut case = Case::new(48, &[At::default(); 4]);
        let home = winners(&mut case, 1)[0];
        for (id, at) in &mut case.endpoints {
            at.in_flight = if *id == home { named } else { others };
        }
        assert_eq!(winners(&mut case, 1)[0] == home, stays, "{named} beside {others}");
    }

    #[test]
    fn an_endpoint_takes_up_to_a_quarter_more_requests_than_the_mean() {
        // 3 + 1 ≤ 1.25·13/4 = 4.06; 4 + 1 > 1.25·14/4 = 4.38.
        stays(3, 3, true);
        stays(4, 3, false);
        // 19 + 1 ≤ 1.25·65/4 = 20.3; 20 + 1 > 1.25·66/4 = 20.6.
        stays(19, 15, true);
        stays(20, 15, false);
    }

    #[test]
    fn where_all_exceed_the_bound_the_hash_decides_alone() {
        // 1.25·2/4 is less than one request.
        stays(1, 0, true);
        stays(0, 0, true);
    }

    #[test]
    fn prompts_without_hashes_go_by_their_target() {
        let mut case = Case::new(48, &[At::default(); 5]);
        let winner = case.decide(RULE).1;
        case.facts.prompt_tokens = 1_000;
        assert_eq!(case.decide(RULE).1, winner);
    }
}

mod least_cost {
    use super::*;

    /// Checks where a prompt of 4,100 tokens goes, 4,000 of which are cached at endpoint 3 with `pending` tokens ahead, if
    /// endpoints prefill `busy` of the time and the shared prefix was last used `idle` prompts ago.
    #[track_caller]
    fn goes_to(pending: u32, busy: f64, idle: u32, endpoint: u32) {
        let mut endpoints = [at(0, 0, 0); 8];
        endpoints[3] = at(pending, 1, 4_000);
        let mut case = Case::new(4_100, &endpoints);
        case.prefill_busy = busy;
        case.prefix_idle = Some(idle);
        let (_, winner) = case.decide(Placement::Pointsman);
        let holds = |endpoint| endpoint == 3;
        assert_eq!(holds(winner), holds(endpoint), "{winner}: {pending} tokens wait, {busy} busy, {idle}");
    }

    #[test]
    fn a_rare_prefix_is_not_copied_while_engines_are_busy() {
        goes_to(1_000, 0.0, 1_000, 3);
        // With idle engines another copy costs little.
        goes_to(5_000, 0.0, 1_000, 0);
        goes_to(5_000, 0.9, 1_000, 3);
        // However busy they are, no prompt waits without limit.
        goes_to(200_000, 0.9, 1_000, 0);
    }

    #[test]
    fn a_popular_prefix_spreads() {
        // Every sixteenth prompt is half of one endpoint's fair share among eight.
        goes_to(5_000, 0.9, 16, 0);
        goes_to(5_000, 0.9, 1, 0);
        goes_to(5_000, 0.9, 160, 3);
    }
}
