//! Memory and time of the prefix index, beside SMG's `RadixTree` (the crate `smg-radix-tree`) on the same chains.
//!
//! `cargo bench -p pointsman-core --bench prefix` first prints memory and percentiles, then divan's table. The workload
//! has the shape of that crate's own `tests/pinned_bench.rs`: 256 holders, half of all held blocks held by one,
//! 35 % by 8 and 15 % by 64 holders, shared prefixes of 8 to 512 blocks (log-uniform), 4 to 64 own blocks each.
#![allow(clippy::print_stdout, reason = "a bench prints its measurements")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time and takes arguments"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use pointsman_core::{
    BlockHash, Completion, Effect, EndpointId, EndpointSpec, Event, Holder, LoadReport, Placement, PoolId,
    PoolPolicy, PoolSet, PrefixIndex, RequestFacts, RequestId, Rng, Scheduler, SchedulerConfig, Time, Usage,
};
use radix_tree::{Config, HolderId, OverlapScratch, RadixTree};

const HOLDERS: usize = 256;
/// The budget of one scheduler's index, in bytes.
const BUDGET: usize = 64 << 20;
/// Timed runs of the same events. The least time of each event counts, to exclude interference by other processes.
const RUNS: usize = 5;

fn main() {
    // `cargo test` runs benches too, without this argument.
    if std::env::args().any(|argument| argument == "--bench") {
        memory();
        queries();
        lock_hold();
    }
    divan::main();
}

/// One prompt with the holders that have it.
struct Prompt {
    chain: Vec<BlockHash>,
    holders: Vec<usize>,
}

fn blocks(rng: &mut Rng, count: usize) -> Vec<BlockHash> {
    (0..count).map(|_| BlockHash(rng.next_u64() | 1)).collect()
}

/// Families of prompts as described above, up to `target` blocks times holders.
fn pinned(target: usize) -> Vec<Prompt> {
    let mut rng = Rng::seeded(11);
    let mut prompts = Vec::new();
    for (sharing, percent) in [(1, 50), (8, 35), (64, 15)] {
        let mut left = target * percent / 100;
        while left > 0 {
            let length = 8.0 * 64.0_f64.powf(rng.below(1 << 20) as f64 / f64::from(1 << 20));
            let shared = blocks(&mut rng, length.round() as usize);
            let base = rng.below(HOLDERS);
            for member in 0..sharing {
                let own = 4 + rng.below(61);
                let mut chain = shared.clone();
                chain.extend(blocks(&mut rng, own));
                left = left.saturating_sub(chain.len());
                prompts.push(Prompt { chain, holders: vec![(base + member * 7) % HOLDERS] });
            }
        }
    }
    prompts
}

/// Prompts of equal length without shared prefixes, each held by the same number of holders.
fn alike(prompts: usize, length: usize, holders: usize) -> Vec<Prompt> {
    let mut rng = Rng::seeded(13);
    let prompt = |_| Prompt { chain: blocks(&mut rng, length), holders: (0..holders).collect() };
    (0..prompts).map(prompt).collect()
}

struct Ours {
    index: PrefixIndex,
    holders: Vec<Holder>,
    lengths: Vec<u32>,
    held: usize,
}

impl Ours {
    fn empty() -> Self {
        let mut index = PrefixIndex::new(BUDGET, 5);
        let holders = (0..HOLDERS).filter_map(|_| index.join()).collect();
        Self { index, holders, lengths: Vec::new(), held: 0 }
    }

    fn of(prompts: &[Prompt]) -> Self {
        let mut ours = Self::empty();
        for prompt in prompts {
            for holder in &prompt.holders {
                ours.index.insert(ours.holders[*holder], &prompt.chain, false);
            }
        }
        ours.held = ours.holders.iter().map(|holder| ours.index.blocks(*holder) as usize).sum();
        ours
    }

    fn query(&mut self, chain: &[BlockHash]) -> usize {
        self.index.find_holders(chain, &mut self.lengths);
        self.lengths.iter().filter(|length| **length > 0).count()
    }
}

struct Theirs {
    tree: RadixTree,
    holders: Vec<HolderId>,
    scratch: OverlapScratch,
    found: Vec<radix_tree::Overlap>,
}

impl Theirs {
    fn empty() -> Self {
        let mut tree = RadixTree::new(Config::default());
        let holders = (0..HOLDERS).map(|holder| tree.create_holder(&holder.to_string())).collect();
        Self { tree, holders, scratch: OverlapScratch::default(), found: Vec::new() }
    }

    fn of(prompts: &[Prompt]) -> Self {
        let mut theirs = Self::empty();
        for prompt in prompts {
            let keyed = keyed(&prompt.chain);
            for holder in &prompt.holders {
                // A chained hash names its whole prefix: it is both key and content.
                let _ = theirs.tree.store(theirs.holders[*holder], None, &keyed);
            }
        }
        theirs
    }

    fn query(&mut self, contents: &[u64]) -> usize {
        self.tree.overlap(contents, &mut self.scratch, &mut self.found);
        self.found.len()
    }
}

fn keyed(chain: &[BlockHash]) -> Vec<(u64, u64)> {
    chain.iter().map(|block| (block.0, block.0)).collect()
}

fn contents(chain: &[BlockHash]) -> Vec<u64> {
    chain.iter().map(|block| block.0).collect()
}

/// Bytes of this process in memory (Linux); `None` elsewhere.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = status.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn memory() {
    println!("\nbytes per block and holder   ours, accounted   ours, resident   smg-radix-tree, resident");
    let shapes: [(&str, Vec<Prompt>); 6] = [
        ("pinned, 4 million", pinned(4_000_000)),
        ("20 blocks, 1 holder", alike(100_000, 20, 1)),
        ("4,096 blocks, 1 holder", alike(500, 4_096, 1)),
        ("1 block, 1 holder", alike(260_000, 1, 1)),
        ("1 block, 2 holders", alike(260_000, 1, 2)),
        ("2 blocks, 1 holder", alike(260_000, 2, 1)),
    ];
    // Kept, prompts included, so that no workload is built in memory that another one freed.
    let mut kept = Vec::new();
    for (name, prompts) in shapes {
        let start = resident();
        let ours = Ours::of(&prompts);
        let between = resident();
        let theirs = Theirs::of(&prompts);
        let end = resident();
        let per = |from: Option<usize>, to: Option<usize>| {
            from.zip(to).map_or(f64::NAN, |(from, to)| (to - from) as f64 / ours.held as f64)
        };
        let accounted = ours.index.bytes() as f64 / ours.held as f64;
        let (ours_resident, theirs_resident) = (per(start, between), per(between, end));
        println!("{name:<28} {accounted:>15.1} {ours_resident:>16.1} {theirs_resident:>26.1}");
        kept.push((prompts, ours, theirs));
    }
}

/// Runs the same work several times and returns the least time of each part.
fn least_times(mut run: impl FnMut() -> Vec<Duration>) -> Vec<Duration> {
    let first = run();
    (1..RUNS).map(|_| run()).fold(first, |least, times| {
        least.into_iter().zip(times).map(|(least, time)| least.min(time)).collect()
    })
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_nanos() as f64 / 1e3;
    format!("p50 {:>7.2}  p99 {:>7.2}  p99.9 {:>7.2}  most {:>7.2} µs", at(0.5), at(0.99), at(0.999), at(1.0))
}

/// Prompts of 512 blocks: one in five unknown, the others a held prompt extended by new blocks.
fn queries_of(prompts: &[Prompt], count: usize) -> Vec<Vec<BlockHash>> {
    let mut rng = Rng::seeded(17);
    let query = |_| {
        let mut chain = match rng.below(5) {
            0 => Vec::new(),
            _ => prompts[rng.below(prompts.len())].chain.clone(),
        };
        let missing = 512_usize.saturating_sub(chain.len());
        chain.extend(blocks(&mut rng, missing));
        chain.truncate(512);
        chain
    };
    (0..count).map(query).collect()
}

fn queries() {
    let prompts = pinned(4_000_000);
    let (mut ours, mut theirs) = (Ours::of(&prompts), Theirs::of(&prompts));
    let queries = queries_of(&prompts, 50_000);
    let their_queries: Vec<_> = queries.iter().map(|chain| contents(chain)).collect();
    let mut found = (0, 0);
    let our_times = least_times(|| {
        let time = |chain: &Vec<BlockHash>| {
            let started = Instant::now();
            found.0 += ours.query(chain);
            started.elapsed()
        };
        queries.iter().map(time).collect()
    });
    let their_times = least_times(|| {
        let time = |chain: &Vec<u64>| {
            let started = Instant::now();
            found.1 += theirs.query(chain);
            started.elapsed()
        };
        their_queries.iter().map(time).collect()
    });
    println!("\n50,000 queries of 512 blocks among 4 million, one after the other");
    println!("ours            {}  {} matches", percentiles(our_times), found.0);
    println!("smg-radix-tree  {}  {} matches", percentiles(their_times), found.1);
}

/// Prompts of one length: half of each is one of fifty shared prefixes, the other half its own.
struct Mix {
    rng: Rng,
    prefixes: Vec<Vec<BlockHash>>,
    length: usize,
}

impl Mix {
    fn new(length: usize) -> Self {
        let mut rng = Rng::seeded(3);
        let prefixes = (0..50).map(|_| blocks(&mut rng, length / 2)).collect();
        Self { rng, prefixes, length }
    }

    fn facts(&mut self) -> RequestFacts {
        let mut chain = self.prefixes[self.rng.below(self.prefixes.len())].clone();
        let own = self.length - chain.len();
        chain.extend(blocks(&mut self.rng, own));
        RequestFacts {
            prompt_tokens: u32::try_from(64 * chain.len()).unwrap_or(u32::MAX),
            blocks: Arc::from(chain),
            block_tokens: 64,
            observes_tokens: true,
            ..RequestFacts::unknown(PoolId(0))
        }
    }
}

/// A scheduler under such prompts.
struct Busy {
    pool: Scheduler,
    now: Time,
    effects: Vec<Effect>,
    next: u64,
    kv_blocks: u32,
    endpoints: Vec<EndpointId>,
}

impl Busy {
    fn new(endpoints: u32, placement: Placement, kv_blocks: u32) -> Self {
        let pool = Scheduler::new(SchedulerConfig { seed: 1, decisions: false });
        let now = Time::ZERO + Duration::from_secs(100);
        let effects = Vec::new();
        let mut busy = Self { pool, now, effects, next: 0, kv_blocks, endpoints: Vec::new() };
        busy.tell(Event::PoolPolicyChanged {
            pool: PoolId(0),
            policy: PoolPolicy { placement, ..PoolPolicy::default() },
        });
        (0..endpoints).for_each(|endpoint| busy.up(EndpointId(endpoint)));
        busy
    }

    fn up(&mut self, endpoint: EndpointId) {
        let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
        self.tell(Event::EndpointUp { endpoint, spec });
        let report = LoadReport {
            taken: self.now,
            kv_blocks: Some(self.kv_blocks),
            block_size: Some(16),
            ..LoadReport::default()
        };
        self.tell(Event::Load { endpoint, report });
        self.endpoints.push(endpoint);
    }

    fn tell(&mut self, event: Event) -> Duration {
        self.now = self.now + Duration::from_millis(1);
        self.effects.clear();
        let started = Instant::now();
        self.pool.handle(self.now, event, &mut self.effects);
        started.elapsed()
    }

    fn arrive(&mut self, facts: RequestFacts) -> (RequestId, Duration) {
        let request = RequestId(self.next);
        self.next += 1;
        (request, self.tell(Event::Arrived { request, facts }))
    }

    fn end(&mut self, request: RequestId) -> [Duration; 2] {
        let usage = Usage { output_tokens: Some(300), ..Usage::default() };
        [
            self.tell(Event::FirstToken { request }),
            self.tell(Event::Finished { request, completion: Completion::Complete, usage }),
        ]
    }

    /// Replaces one endpoint, with everything cached there, by a new one.
    fn replace(&mut self) -> Duration {
        let endpoint = self.endpoints.remove(0);
        let took = self.tell(Event::EndpointDown { endpoint });
        let newest = self.endpoints.last().map_or(0, |newest| newest.0);
        self.up(EndpointId(newest + 1));
        took
    }
}

fn lock_hold() {
    println!(
        "\ntime under the lock per event: 100 endpoints with this number of KV blocks, one in thirty requests replaces an endpoint"
    );
    for length in [4_096, 16_384] {
        for placement in [Placement::Pointsman, Placement::RoundRobin] {
            // With ten times the cache on each engine the index itself is full.
            for kv_blocks in [60_000, 600_000] {
                let times = least_times(|| hold(placement, length, kv_blocks));
                let name = placement.as_str();
                println!("{length:>6} blocks, {name:<12} {kv_blocks:>7} {}", percentiles(times));
            }
        }
    }
}

/// The times of the events of a run.
fn hold(placement: Placement, length: usize, kv_blocks: u32) -> Vec<Duration> {
    let (mut busy, mut mix) = (Busy::new(100, placement, kv_blocks), Mix::new(length));
    let mut live = VecDeque::new();
    let mut times = Vec::new();
    for round in 0..8_000 {
        let (request, took) = busy.arrive(mix.facts());
        times.push(took);
        live.push_back(request);
        if live.len() > 100
            && let Some(request) = live.pop_front()
        {
            times.extend(busy.end(request));
        }
        if round % 30 == 0 {
            times.push(busy.replace());
        }
    }
    times
}

#[divan::bench]
fn find_among_a_million(bencher: Bencher<'_, '_>) {
    let prompts = pinned(1_000_000);
    let mut ours = Ours::of(&prompts);
    let mut queries = queries_of(&prompts, 10_000).into_iter().cycle_through();
    bencher.bench_local(|| black_box(ours.query(queries.next())));
}

#[divan::bench]
fn find_among_a_million_smg(bencher: Bencher<'_, '_>) {
    let prompts = pinned(1_000_000);
    let mut theirs = Theirs::of(&prompts);
    let mut queries = queries_of(&prompts, 10_000).iter().map(|chain| contents(chain)).cycle_through();
    bencher.bench_local(|| black_box(theirs.query(queries.next())));
}

#[divan::bench]
fn insert_512_new_blocks(bencher: Bencher<'_, '_>) {
    let (mut ours, mut rng) = (Ours::empty(), Rng::seeded(1));
    let holder = ours.holders[0];
    bencher.with_inputs(|| blocks(&mut rng, 512)).bench_local_refs(|chain| {
        ours.index.insert(holder, chain, false);
    });
}

#[divan::bench]
fn insert_512_new_blocks_smg(bencher: Bencher<'_, '_>) {
    let (mut theirs, mut rng) = (Theirs::empty(), Rng::seeded(1));
    let holder = theirs.holders[0];
    bencher.with_inputs(|| keyed(&blocks(&mut rng, 512))).bench_local_refs(|chain| {
        let _ = theirs.tree.store(holder, None, chain);
    });
}

/// Ten thousand blocks in twenty prompts.
const DROPPED: usize = 20;

#[divan::bench]
fn drop_a_holder_of_ten_thousand_blocks(bencher: Bencher<'_, '_>) {
    let filled = || Ours::of(&alike(DROPPED, 512, 2));
    bencher.with_inputs(filled).bench_local_refs(|ours| {
        ours.index.leave(ours.holders[0]);
        ours.index.sweep(usize::MAX);
    });
}

#[divan::bench]
fn drop_a_holder_of_ten_thousand_blocks_smg(bencher: Bencher<'_, '_>) {
    let filled = || Theirs::of(&alike(DROPPED, 512, 2));
    bencher.with_inputs(filled).bench_local_refs(|theirs| {
        let holder = theirs.holders[0];
        theirs.tree.retire_holder(holder);
    });
}

/// A decision with a prompt of 1 MB, and the request's end.
#[divan::bench(args = [10, 100])]
fn arrive_and_end_with_4096_blocks(bencher: Bencher<'_, '_>, endpoints: u32) {
    let (mut busy, mut mix) = (Busy::new(endpoints, Placement::Pointsman, 60_000), Mix::new(4_096));
    for _ in 0..20 * endpoints {
        let (request, _) = busy.arrive(mix.facts());
        busy.end(request);
    }
    bencher.with_inputs(|| mix.facts()).bench_local_values(|facts| {
        let (request, _) = busy.arrive(facts);
        busy.end(request);
    });
}

/// An endless cycle of the same queries.
struct Cycle<T> {
    items: Vec<T>,
    next: usize,
}

impl<T> Cycle<T> {
    fn next(&mut self) -> &T {
        self.next = (self.next + 1) % self.items.len();
        &self.items[self.next]
    }
}

trait CycleThrough: Iterator + Sized {
    fn cycle_through(self) -> Cycle<Self::Item> {
        Cycle { items: self.collect(), next: 0 }
    }
}

impl<I: Iterator> CycleThrough for I {}
