//! The index compared with a model of single blocks, and hand-made cases.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ROOMY: usize = 4 << 20;

/// A chain of hashes as prompts have them: each names everything before it.
fn chain(words: &[u8]) -> Vec<BlockHash> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let extend = |word: &u8| {
        hash = (hash ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3).rotate_left(29) ^ 0x5bd1_e995;
        BlockHash(hash)
    };
    words.iter().map(extend).collect()
}

fn blocks_of(range: std::ops::Range<u64>) -> Vec<BlockHash> {
    let mut rng = pointsman_random::Rng::seeded(range.start);
    range.map(|_| BlockHash(rng.next_u64())).collect()
}

/// vLLM's free queue, block by block.
#[derive(Clone, Debug, Default)]
struct Cache {
    /// Free blocks, the next to be evicted first; `None` for blocks that cannot be matched.
    free: VecDeque<Option<BlockHash>>,
    used: BTreeMap<BlockHash, u32>,
}

impl Cache {
    fn has(&self, block: BlockHash) -> bool {
        self.used.contains_key(&block) || self.free.contains(&Some(block))
    }

    fn matched(&self, chain: &[BlockHash]) -> usize {
        chain.iter().take_while(|block| self.has(**block)).count()
    }

    fn insert(&mut self, chain: &[BlockHash], pin: bool) {
        for block in chain.iter().rev() {
            self.free.retain(|free| *free != Some(*block));
            match self.used.get_mut(block) {
                Some(uses) => *uses += u32::from(pin),
                None if pin => {
                    self.used.insert(*block, 1);
                }
                None => self.free.push_back(Some(*block)),
            }
        }
    }

    fn release(&mut self, chain: &[BlockHash]) {
        for block in chain.iter().rev() {
            let Some(uses) = self.used.get_mut(block) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.used.remove(block);
                self.free.push_back(Some(*block));
            }
        }
    }

    fn blocks(&self) -> usize {
        self.free.len() + self.used.len()
    }

    fn shrink(&mut self, blocks: usize) {
        while self.blocks() > blocks && self.free.pop_front().is_some() {}
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Vec<u8>, bool),
    Release(usize),
    Unindexed(usize, u32),
    Shrink(usize, usize),
    Replace(usize),
    Sweep(usize),
}

const HOLDERS: usize = 4;

/// Prompts that share prefixes of any length; long ones span several nodes.
fn words() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(0..3_u8, 1..12),
        1 => (0..3_u8, 200..600_usize, vec(0..3_u8, 0..4)).prop_map(|(word, length, end)| {
            let mut words = vec![word; length];
            words.extend(end);
            words
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..HOLDERS, words(), any::<bool>()).prop_map(|(at, words, pin)| Step::Insert(at, words, pin)),
        5 => (0..64_usize).prop_map(Step::Release),
        2 => (0..HOLDERS, 0..400_u32).prop_map(|(at, blocks)| Step::Unindexed(at, blocks)),
        4 => (0..HOLDERS, 0..40_usize).prop_map(|(at, blocks)| Step::Shrink(at, blocks)),
        1 => (0..HOLDERS).prop_map(Step::Replace),
        2 => (0..8_usize).prop_map(Step::Sweep),
    ]
}

struct Both {
    index: PrefixIndex,
    holders: Vec<Holder>,
    caches: Vec<Cache>,
    pinned: Vec<(Holder, usize, Vec<BlockHash>)>,
}

impl Both {
    fn new() -> Self {
        let mut index = PrefixIndex::new(ROOMY, 3);
        let holders = (0..HOLDERS).map(|_| index.join().unwrap()).collect();
        Self { index, holders, caches: vec![Cache::default(); HOLDERS], pinned: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Insert(at, words, pin) => {
                let chain = chain(words);
                let inserted = self.index.insert(self.holders[*at], &chain, *pin);
                assert_eq!((inserted.blocks, inserted.pinned), (count(chain.len()), *pin));
                self.caches[*at].insert(&chain, *pin);
                if *pin {
                    self.pinned.push((self.holders[*at], *at, chain));
                }
            }
            Step::Release(which) if !self.pinned.is_empty() => {
                let (holder, at, chain) = self.pinned.remove(which % self.pinned.len());
                self.index.release(holder, &chain);
                if holder == self.holders[at] {
                    self.caches[at].release(&chain);
                }
            }
            Step::Release(_) => {}
            Step::Unindexed(at, blocks) => {
                self.index.add_unindexed(self.holders[*at], *blocks);
                self.caches[*at].free.extend(std::iter::repeat_n(None, *blocks as usize));
            }
            Step::Shrink(at, blocks) => {
                self.index.shrink(self.holders[*at], count(*blocks), usize::MAX);
                self.caches[*at].shrink(*blocks);
            }
            Step::Replace(at) => {
                self.index.leave(self.holders[*at]);
                self.holders[*at] = self.index.join().unwrap();
                self.caches[*at] = Cache::default();
            }
            Step::Sweep(steps) => self.index.sweep(*steps),
        }
    }

    fn compare(&mut self, chain: &[BlockHash]) {
        let mut lengths = Vec::new();
        self.index.find_holders(chain, &mut lengths);
        for (holder, cache) in self.holders.iter().zip(&self.caches) {
            assert_eq!(lengths[holder.slot()] as usize, cache.matched(chain));
            assert_eq!(self.index.blocks(*holder) as usize, cache.blocks());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_model_of_single_blocks(
        steps in vec(step(), 1..60), asked in vec(words(), 1..4),
    ) {
        let mut both = Both::new();
        for step in &steps {
            both.take(step);
            both.index.check(&both.holders).unwrap();
            for words in &asked {
                both.compare(&chain(words));
            }
            if let Step::Insert(_, words, _) = step {
                both.compare(&chain(words));
            }
        }
        for holder in std::mem::take(&mut both.holders) {
            both.index.leave(holder);
        }
        both.index.sweep(usize::MAX);
        both.index.check(&[]).unwrap();
        prop_assert_eq!((both.index.nodes.len(), both.index.holds.len(), both.index.heap), (0, 0, 0));
    }

    #[test]
    fn a_full_index_stays_within_its_budget_and_holds_prefixes_only(
        steps in vec((0..HOLDERS, vec(0..4_u8, 1..40), any::<bool>()), 1..200),
    ) {
        let mut index = PrefixIndex::new(32 << 10, 3);
        let holders: Vec<Holder> = (0..HOLDERS).map(|_| index.join().unwrap()).collect();
        let mut pinned = VecDeque::new();
        let mut lengths = Vec::new();
        for (at, words, pin) in steps {
            let chain = chain(&words);
            let inserted = index.insert(holders[at], &chain, pin);
            index.find_holders(&chain, &mut lengths);
            prop_assert!(lengths[holders[at].slot()] >= inserted.blocks);
            index.check(&holders).unwrap();
            prop_assert!(index.bytes() <= 32 << 10);
            if inserted.pinned {
                pinned.push_back((holders[at], chain, inserted.blocks as usize));
            }
            if pinned.len() > 6 && let Some((holder, chain, blocks)) = pinned.pop_front() {
                index.find_holders(&chain, &mut lengths);
                prop_assert!(lengths[holder.slot()] as usize >= blocks, "what is in use stays");
                index.release(holder, &chain[..blocks]);
            }
        }
    }

    #[test]
    fn hashes_that_are_no_chains_break_no_invariant_and_lose_no_pin(
        steps in vec((0..HOLDERS, vec((0..4_u64).prop_map(BlockHash), 0..20), 0..5_u8), 1..100),
    ) {
        let mut index = PrefixIndex::new(ROOMY, 3);
        let holders: Vec<Holder> = (0..HOLDERS).map(|_| index.join().unwrap()).collect();
        let mut lengths = Vec::new();
        let mut pinned: Vec<(Holder, Vec<BlockHash>)> = Vec::new();
        for (at, mut blocks, what) in steps {
            index.find_holders(&blocks, &mut lengths);
            match what {
                0 if !pinned.is_empty() => {
                    let (holder, chain) = pinned.swap_remove(at % pinned.len());
                    index.release(holder, &chain);
                }
                0 | 1 => index.shrink(holders[at], 5, 8),
                _ => {
                    let inserted = index.insert(holders[at], &blocks, what < 4);
                    blocks.truncate(inserted.blocks as usize);
                    if inserted.pinned {
                        pinned.push((holders[at], blocks));
                    }
                }
            }
            index.check(&holders).unwrap();
            index.check_pins(pinned.iter().map(|(holder, chain)| (*holder, &chain[..]))).unwrap();
        }
        for (holder, chain) in pinned {
            index.release(holder, &chain);
        }
        for holder in &holders {
            index.shrink(*holder, 0, usize::MAX);
            prop_assert_eq!(index.blocks(*holder), 0, "every pin was taken back");
        }
    }
}

#[test]
fn a_chain_that_comes_back_to_its_own_blocks_pins_none_for_ever() {
    // Token ids whose blocks repeat, as a client could find them where it knows the hash function.
    for (period, cut) in [(1, 1), (2, 3), (255, 7), (255, 255), (510, 300), (1_000, 999)] {
        let circle = blocks_of(0..period);
        let chain: Vec<BlockHash> = circle.iter().cycle().take(10_000).copied().collect();
        let mut index = PrefixIndex::new(ROOMY, 1);
        let holder = index.join().unwrap();
        let mut pinned = Vec::new();
        // The later requests split the nodes of the first.
        for chain in [&chain[..], &chain[..cut], &chain[cut..], &chain[..cut + 2_000]] {
            let inserted = index.insert(holder, chain, true);
            if inserted.pinned {
                pinned.push(&chain[..inserted.blocks as usize]);
            }
            index.check_pins(pinned.iter().map(|chain| (holder, *chain))).unwrap();
        }
        for chain in pinned {
            index.release(holder, chain);
        }
        index.shrink(holder, 0, usize::MAX);
        assert_eq!(index.blocks(holder), 0, "period {period}, cut at {cut}");
        index.check(&[holder]).unwrap();
    }
}

#[test]
fn a_match_returns_the_time_since_the_last_use_of_the_longest_prefix() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holders: Vec<Holder> = (0..4).map(|_| index.join().unwrap()).collect();
    let asked = blocks_of(0..100);
    let mut lengths = Vec::new();
    let mut send = |index: &mut PrefixIndex, holder: Holder, blocks: usize| {
        index.tick();
        let idle = index.find_holders(&asked, &mut lengths);
        index.insert(holder, &asked[..blocks], false);
        idle
    };
    assert_eq!(send(&mut index, holders[3], 100), None);
    assert_eq!(send(&mut index, holders[2], 80), Some(1));
    // A holder of a fifth of it does not count, wherever it is in the list.
    assert_eq!(send(&mut index, holders[0], 20), Some(1));
    assert_eq!(send(&mut index, holders[1], 20), Some(2));
    // Nor does a removed holder, even if no other has as much.
    index.leave(holders[2]);
    assert_eq!(send(&mut index, holders[1], 20), Some(4));
    index.leave(holders[3]);
    assert_eq!(send(&mut index, holders[1], 20), Some(2), "since it was new there");
}

#[test]
fn an_insert_returns_the_idle_time_of_the_blocks_it_uses_again() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holder = index.join().unwrap();
    let (first, second) = (blocks_of(0..100), blocks_of(200..210));
    let since = |index: &PrefixIndex| index.oldest_use(holder).map(|used| index.now().since(used));
    assert_eq!(since(&index), None, "it has nothing");
    index.tick();
    let inserted = index.insert(holder, &first, true);
    assert_eq!((inserted.reused, inserted.idle), (0, 0), "all of it is new");
    assert_eq!(since(&index), Some(0), "all of it is in use");
    (0..5).for_each(|_| index.tick());
    index.insert(holder, &second, false);
    assert_eq!(since(&index), Some(0));
    index.release(holder, &first);
    index.tick();
    // The second is evicted first: the first was in use until now.
    assert_eq!(since(&index), Some(1));
    let inserted = index.insert(holder, &first, true);
    assert_eq!((inserted.reused, inserted.idle), (100, 600));
}

#[test]
fn first_blocks_outlive_last_ones_and_blocks_in_use_outlive_all() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holder = index.join().unwrap();
    let (first, second) = (blocks_of(0..10), blocks_of(100..110));
    let mut lengths = Vec::new();
    let mut matched = |index: &mut PrefixIndex, chain: &[BlockHash]| {
        index.find_holders(chain, &mut lengths);
        lengths[holder.slot()]
    };
    index.insert(holder, &first, true);
    index.insert(holder, &second, true);
    index.release(holder, &second);
    index.shrink(holder, 13, 100);
    assert_eq!((matched(&mut index, &first), matched(&mut index, &second)), (10, 3), "tails go first");
    index.shrink(holder, 0, 100);
    assert_eq!((matched(&mut index, &first), matched(&mut index, &second)), (10, 0), "in use");
    index.release(holder, &first);
    index.shrink(holder, 4, 100);
    assert_eq!(matched(&mut index, &first), 4);
}

#[test]
fn a_request_whose_prompt_is_a_prefix_of_another_is_pinned_by_itself() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holder = index.join().unwrap();
    let long = blocks_of(0..300);
    let mut lengths = Vec::new();
    index.insert(holder, &long, true);
    index.insert(holder, &long[..100], true);
    index.release(holder, &long);
    index.shrink(holder, 0, 100);
    index.find_holders(&long, &mut lengths);
    assert_eq!(lengths[holder.slot()], 100);
    index.release(holder, &long[..100]);
    index.shrink(holder, 0, 100);
    assert_eq!((index.blocks(holder), index.nodes.len()), (0, 0));
}

#[test]
fn a_removed_holder_is_gone_at_once_and_swept_in_steps() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let (old, other) = (index.join().unwrap(), index.join().unwrap());
    let mut lengths = Vec::new();
    for start in 0..20 {
        index.insert(old, &blocks_of(1_000 * start..1_000 * start + 10), start % 2 == 0);
    }
    index.insert(other, &blocks_of(0..10), true);
    index.leave(old);
    let new = index.join().unwrap();
    assert_ne!(new.slot(), old.slot(), "a slot is not used again before it is empty");
    assert_eq!(index.insert(old, &blocks_of(0..10), true), Inserted::default());
    index.release(old, &blocks_of(0..10));
    assert_eq!(index.blocks(old), 0);
    index.sweep(5);
    assert_eq!(index.holds.len(), 16);
    index.sweep(100);
    index.check(&[other, new]).unwrap();
    index.find_holders(&blocks_of(0..10), &mut lengths);
    assert_eq!((lengths[other.slot()], lengths[new.slot()]), (10, 0));
    let again = index.join().unwrap();
    assert_eq!(again.slot(), old.slot());
    index.release(old, &blocks_of(0..10));
    index.check(&[other, new, again]).unwrap();
}

#[test]
fn requests_beyond_the_limit_of_pins_are_held_unpinned() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holder = index.join().unwrap();
    let chain = blocks_of(0..4);
    let pinned = (0..300).filter(|_| index.insert(holder, &chain, true).pinned).count();
    assert_eq!(pinned, 255);
    for _ in 0..pinned {
        index.shrink(holder, 0, 100);
        assert_eq!(index.blocks(holder), 4);
        index.release(holder, &chain);
    }
    index.shrink(holder, 0, 100);
    assert_eq!(index.blocks(holder), 0);
}

#[test]
fn a_prompt_sent_prefix_by_prefix_costs_a_bounded_number_of_nodes() {
    let mut index = PrefixIndex::new(ROOMY, 1);
    let holder = index.join().unwrap();
    let chain = blocks_of(0..2_000);
    let mut pinned = vec![(index.insert(holder, &chain, true).blocks as usize, 2_000)];
    // The longest prefix first, which splits the most.
    for length in (1..2_000).rev().step_by(8) {
        let inserted = index.insert(holder, &chain[..length], true);
        if inserted.pinned {
            pinned.push((inserted.blocks as usize, length));
        }
    }
    for length in 1..2_000 {
        index.insert(holder, &chain[..length], false);
    }
    assert!(index.nodes.len() <= 2 * MAX_NODES + LONGEST_RUN, "{}", index.nodes.len());
    let mut lengths = Vec::new();
    index.find_holders(&chain, &mut lengths);
    assert!((200..2_000).contains(&lengths[holder.slot()]));
    for (blocks, length) in pinned {
        index.release(holder, &chain[..blocks.min(length)]);
    }
    index.shrink(holder, 0, usize::MAX);
    assert_eq!((index.blocks(holder), index.nodes.len()), (0, 0), "every pin was taken back");
    assert_eq!(index.insert(holder, &blocks_of(0..100_000), true).blocks, 65_280);
    index.check(&[holder]).unwrap();
}

/// Bytes per block and holder for prompts of equal length without shared prefixes, each held by all holders.
fn bytes_per_block(holders: usize, prompts: u64, blocks: u64) -> f64 {
    let mut index = PrefixIndex::new(16 << 20, 1);
    let holders: Vec<Holder> = (0..holders).map(|_| index.join().unwrap()).collect();
    let mut held = 0;
    for prompt in 0..prompts {
        let chain = blocks_of(prompt << 20..(prompt << 20) + blocks);
        for holder in &holders {
            held += index.insert(*holder, &chain, false).blocks;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few million bytes")]
    let bytes = index.bytes() as f64;
    bytes / f64::from(held)
}

#[test]
fn memory_stays_below_forty_bytes_per_block_and_holder_in_every_shape() {
    for (holders, prompts, blocks) in
        [(1, 65_000, 1), (2, 65_000, 1), (3, 60_000, 1), (1, 65_000, 2), (2, 65_000, 2), (64, 2_000, 1)]
    {
        let bytes = bytes_per_block(holders, prompts, blocks);
        assert!(bytes <= 40.0, "{holders} holders of {blocks}-block prompts: {bytes}");
    }
    assert!(bytes_per_block(1, 20_000, 20) < 12.0);
    assert!(bytes_per_block(1, 200, 4_096) < 9.0);
}
