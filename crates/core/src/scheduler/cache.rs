//! What the endpoints' prefix caches hold: asked before each decision, told by dispatches, ends and reports.

use super::Scheduler;
use crate::cast::whole;
use crate::endpoint::EngineTotals;
use crate::endpoints::Lifecycle;
use crate::ids::RequestId;
use crate::prefix::{Agreement, BUDGET, Holder, PrefixIndex, Reuse};
use crate::request::{RequestFacts, Usage};
use crate::requests::Request;
use crate::reservation::{HeldBlocks, Reservation};

/// Holds of endpoints that left which are removed per request.
const SWEPT: usize = 32;
/// Pieces that an endpoint gives up per request at most; what is over then goes with the next.
const GIVEN_UP: usize = 64;
/// Blocks of one request that nobody can ask for, at most.
const MOST_UNNAMED: u32 = 1 << 14;
/// What a prompt leaves of the mean size of a block.
const KEPT: f64 = 0.98;

/// The prefix index of a pool with what it takes to read it.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    pub(super) index: PrefixIndex,
    /// Running mean of the tokens that a block stands for; 0 until a prompt with blocks came.
    block_tokens: f64,
    /// How often what was expected was there, over all endpoints.
    pub(super) agreement: Agreement,
    /// Blocks found for the request at hand, by slot of holder. Reused.
    found: Vec<u32>,
    reuse: Reuse,
}

impl Prefixes {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            index: PrefixIndex::new(BUDGET, seed),
            block_tokens: 0.0,
            agreement: Agreement::default(),
            found: Vec::new(),
            reuse: Reuse::default(),
        }
    }

    /// What the index tells of the request at hand.
    pub(super) const fn reuse(&self) -> Reuse {
        self.reuse.at(self.index.now())
    }

    /// Tokens of the prompt's head that the holder has.
    fn found_tokens(&self, holder: Option<Holder>, facts: &RequestFacts) -> u32 {
        let blocks = holder.and_then(|holder| self.found.get(holder.slot())).copied().unwrap_or(0);
        blocks.saturating_mul(facts.block_tokens).min(facts.prompt_tokens)
    }
}

fn has_blocks(facts: &RequestFacts) -> bool {
    !facts.blocks.is_empty() && facts.block_tokens > 0
}

impl Scheduler {
    /// Finds how much of the prompt each endpoint is held to have cached: one walk for all of them.
    pub(super) fn match_prefix(&mut self, request: RequestId, facts: &RequestFacts) {
        let endpoints = self.endpoints.all();
        self.cached.clear();
        self.cached.resize(endpoints.len(), 0);
        let prefixes = &mut self.prefixes;
        prefixes.found.clear();
        prefixes.reuse.head_idle = None;
        if !has_blocks(facts) {
            return;
        }
        prefixes.reuse.head_idle = prefixes.index.find_holders(&facts.blocks, &mut prefixes.found);
        for (cached, endpoint) in self.cached.iter_mut().zip(endpoints) {
            let found = prefixes.found_tokens(endpoint.cache.holder, facts);
            if found > 0 {
                *cached = whole(f64::from(found) * endpoint.cache.trust(&prefixes.agreement));
            }
        }
        self.prefer_read(request, facts);
    }

    /// The same for a request that is about to be placed. Its first attempt counts as a prompt that came; a further one
    /// keeps what the first found of its head, which that one has used since.
    pub(super) fn match_prefix_to_place(&mut self, id: RequestId, request: &mut Request) {
        let first = request.attempts == 0;
        if first && has_blocks(&request.facts) {
            self.prefixes.index.tick();
        }
        self.match_prefix(id, &request.facts);
        let found = &mut self.prefixes.reuse.head_idle;
        if first {
            request.head_idle = *found;
        } else {
            *found = request.head_idle;
        }
    }

    /// What was read of the caches for this request stands in for what the index holds to be there.
    fn prefer_read(&mut self, request: RequestId, facts: &RequestFacts) {
        let Some((_, read)) = self.caches_read.as_ref().filter(|(of, _)| *of == request) else { return };
        self.cached.fill(0);
        for (endpoint, tokens) in read {
            if let Some(index) = self.endpoints.index(*endpoint) {
                self.cached[index] = (*tokens).min(facts.prompt_tokens);
            }
        }
    }

    /// The request's prompt is about to be cached where it was sent.
    pub(super) fn hold_prefix(&mut self, at: usize, facts: &RequestFacts) -> Option<HeldBlocks> {
        self.prefixes.index.sweep(SWEPT);
        let endpoint = &mut self.endpoints.all_mut()[at];
        let prefixes = &mut self.prefixes;
        let expected = prefixes.found_tokens(endpoint.cache.holder, facts);
        endpoint.cache.expect(expected, facts.prompt_tokens);
        if !has_blocks(facts) || endpoint.lifecycle() == Lifecycle::Down {
            self.shrink_cache(at);
            return None;
        }
        let block_tokens = f64::from(facts.block_tokens);
        let mean = if prefixes.block_tokens > 0.0 { prefixes.block_tokens } else { block_tokens };
        prefixes.block_tokens = mean * KEPT + block_tokens * (1.0 - KEPT);
        let holder = match endpoint.cache.holder {
            Some(holder) => holder,
            None => *endpoint.cache.holder.insert(prefixes.index.join()?),
        };
        // More than fits is never there at the same time.
        let fits = whole(endpoint.cache.capacity() / block_tokens) as usize;
        let chain = &facts.blocks[..facts.blocks.len().min(fits)];
        let inserted = prefixes.index.insert(holder, chain, true);
        prefixes.reuse.observe(&inserted);
        let tokens = u64::from(inserted.blocks) * u64::from(facts.block_tokens);
        endpoint.cache.indexed += tokens;
        self.shrink_cache(at);
        Some(HeldBlocks { holder, blocks: inserted.blocks, tokens, pinned: inserted.pinned, expected })
    }

    /// The request ended, or left the endpoint. What it used becomes free from the end to the start: first its answer
    /// and what filled no block, then its prompt.
    pub(super) fn release_prefix(&mut self, placed: &Reservation, facts: &RequestFacts, output: Option<u32>) {
        let Some(at) = self.endpoints.index(placed.endpoint) else { return };
        let endpoint = &mut self.endpoints.all_mut()[at];
        let prefixes = &mut self.prefixes;
        let tokens = placed.held.map_or(0, |held| held.tokens);
        endpoint.cache.indexed = endpoint.cache.indexed.saturating_sub(tokens);
        let Some(holder) = endpoint.cache.holder else { return };
        // What it used in a cache that was lost is lost.
        if placed.held.is_some_and(|held| held.holder != holder) {
            return;
        }
        if !placed.prefilling {
            let output = output.unwrap_or(placed.pace.output);
            let unnamed = (u64::from(facts.prompt_tokens) + u64::from(output)).saturating_sub(tokens);
            let blocks = unnamed as f64 / prefixes.block_tokens.max(1.0);
            prefixes.index.add_unnamed(holder, whole(blocks).min(MOST_UNNAMED));
        }
        if let Some(held) = placed.held {
            let chain = &facts.blocks[..facts.blocks.len().min(held.blocks as usize)];
            if held.pinned {
                prefixes.index.release(holder, chain);
            } else {
                prefixes.index.insert(holder, chain, false);
            }
        }
        self.shrink_cache(at);
    }

    /// Lets the endpoint give up what does not fit beside the requests in flight.
    fn shrink_cache(&mut self, at: usize) {
        let endpoint = &self.endpoints.all()[at];
        let Some(holder) = endpoint.cache.holder else { return };
        // Of the requests in flight, what is not in the index: answers so far, and prompts without hashes.
        let besides = endpoint.context().saturating_sub(endpoint.cache.indexed);
        let room = endpoint.cache.capacity() - besides as f64;
        let blocks = whole(room / self.prefixes.block_tokens.max(1.0));
        self.prefixes.index.shrink(holder, blocks, GIVEN_UP);
        let held = self.prefixes.index.blocks(holder);
        let oldest = self.prefixes.index.oldest_use(holder);
        self.endpoints.all_mut()[at].cache.holds(held, blocks, oldest);
    }

    /// An answer that came to its end, as the engine counted it.
    pub(super) fn compare_cached(&mut self, placed: &Reservation, facts: &RequestFacts, usage: &Usage) {
        let (Some(held), Some(cached)) = (placed.held, usage.cached_tokens) else { return };
        let prompt = usage.prompt_tokens.unwrap_or(facts.prompt_tokens);
        if prompt == 0 || facts.prompt_tokens == 0 {
            return;
        }
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return };
        if endpoint.cache.holder != Some(held.holder) {
            return;
        }
        let expected = f64::from(held.expected) / f64::from(facts.prompt_tokens);
        let reported = (f64::from(cached) / f64::from(prompt)).min(1.0);
        endpoint.cache.answer_told(expected, reported, &mut self.prefixes.agreement);
    }

    /// An engine's page was read: `before` are the sums of the page before, where there was one.
    pub(super) fn read_cache_totals(&mut self, at: usize, before: Option<&EngineTotals>) {
        let endpoint = &mut self.endpoints.all_mut()[at];
        let Some(gauge) = &endpoint.gauge else { return };
        let totals = gauge.report.totals;
        let fell = |before: Option<f64>, after: Option<f64>| {
            before.zip(after).is_some_and(|(before, after)| after < before)
        };
        // An engine that restarted in place has an empty cache.
        if before.is_some_and(|before| fell(before.prompt_tokens, totals.prompt_tokens)) {
            endpoint.cache.forget(&mut self.prefixes.index);
        }
        endpoint.cache.capacity_told(gauge.kv_tokens());
        if let (Some(prompt), Some(cached)) = (totals.prompt_tokens, totals.cached_tokens) {
            endpoint.cache.totals_told(prompt, cached, &mut self.prefixes.agreement);
        }
    }

    /// An endpoint left: nothing it held can be asked for any more.
    pub(super) fn forget_cache(&mut self, at: usize) {
        self.endpoints.all_mut()[at].cache.forget(&mut self.prefixes.index);
    }
}
