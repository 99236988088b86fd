//! The endpoints' prefix caches as modelled: the prefix index, updated by dispatches, ends of requests and reports.

use super::sample;
use crate::cast::{count, whole};
use crate::endpoint::EngineTotals;
use crate::endpoints::{Endpoint, Endpoints, Lifecycle};
use crate::ids::EndpointId;
use crate::prefix::{Agreement, BUDGET, Inserted, PrefixIndex, PrefixMatch, Reuse};
use crate::request::{RequestFacts, Usage};
use crate::requests::Request;
use crate::reservation::{HeldBlocks, Reservation};
use pointsman_random::Rng;

/// Holds of removed endpoints that one request sweeps.
const SWEPT: usize = 32;
/// Most pieces that an endpoint evicts per request; the next request evicts what is left.
const EVICTED: usize = 64;
/// Most unindexed blocks (output, partial blocks) that one request adds.
const MAX_UNINDEXED: u32 = 1 << 14;
/// New tokens of a prompt, as a share of the cache, beyond which it evicts nothing before its first output: the engine may
/// refuse a prompt that is so long, and its cache stays as it was then.
const PROBATION: f64 = 0.25;
/// Decay of the mean block size per prompt.
const KEPT: f64 = 0.98;

/// The prefix index with the statistics that are needed to read it.
#[derive(Clone, Debug)]
pub(super) struct PrefixCaches {
    pub(super) index: PrefixIndex,
    /// Running mean of the tokens per block; 0 until a hashed prompt arrived.
    block_tokens: f64,
    /// How far expected cache hits were confirmed, over all endpoints.
    pub(super) agreement: Agreement,
    reuse: Reuse,
    /// The buffers of the next match.
    pub(super) spare: PrefixMatch,
    /// The endpoint of each holder's slot.
    pub(super) owners: Vec<Option<EndpointId>>,
    /// Blocks and slots of the holders of a prompt. Reused.
    pub(super) holders: Vec<(u32, usize)>,
}

fn has_blocks(facts: &RequestFacts) -> bool {
    !facts.blocks.is_empty() && facts.block_tokens > 0
}

impl PrefixCaches {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            index: PrefixIndex::new(BUDGET, seed),
            block_tokens: 0.0,
            agreement: Agreement::default(),
            reuse: Reuse::default(),
            spare: PrefixMatch::default(),
            owners: Vec::new(),
            holders: Vec::new(),
        }
    }

    /// Matches a prompt against the caches of all endpoints, in one walk, or with `sampled` against those of a random sample
    /// and of the endpoints that have most of it. Return the match, with its reused buffers, to `spare`.
    pub(super) fn find(
        &mut self,
        endpoints: &Endpoints,
        facts: &RequestFacts,
        mut sampled: Option<&mut Rng>,
    ) -> PrefixMatch {
        let mut matched = std::mem::take(&mut self.spare);
        matched.cached.clear();
        matched.cached.resize(endpoints.all.len(), 0);
        matched.blocks.clear();
        matched.sample.clear();
        if let Some(rng) = &mut sampled {
            sample::draw(&mut matched.sample, endpoints, rng);
        }
        matched.prefix_idle = None;
        matched.reuse_interval = self.reuse.interval();
        matched.now = self.index.now();
        if has_blocks(facts) {
            matched.prefix_idle = self.index.find_holders(&facts.blocks, &mut matched.blocks);
            if let Some(rng) = sampled {
                self.add_holders(&mut matched, endpoints, rng);
            }
        }
        matched.sample.sort_unstable();
        matched.sample.dedup();
        if has_blocks(facts) {
            self.read_caches(&mut matched, endpoints, facts);
        }
        matched
    }

    /// Fills in the tokens expected in the endpoints' caches.
    fn read_caches(&self, matched: &mut PrefixMatch, endpoints: &Endpoints, facts: &RequestFacts) {
        if let Some(exact) = &facts.exact_cached {
            for (endpoint, tokens) in exact.iter() {
                if let Some(index) = endpoints.index(*endpoint) {
                    matched.cached[index] = (*tokens).min(facts.prompt_tokens);
                }
            }
            return;
        }
        let expected = |matched: &PrefixMatch, endpoint: &Endpoint| {
            let tokens = matched.tokens(endpoint.cache.holder, facts);
            if tokens > 0 { whole(f64::from(tokens) * endpoint.cache.trust(&self.agreement)) } else { 0 }
        };
        if matched.sample.is_empty() {
            for (index, endpoint) in endpoints.all.iter().enumerate() {
                matched.cached[index] = expected(matched, endpoint);
            }
        } else {
            for position in 0..matched.sample.len() {
                let index = matched.sample[position];
                matched.cached[index] = expected(matched, &endpoints.all[index]);
            }
        }
    }

    /// The same for a request that is about to be placed. The first attempt counts as a new prompt. A retry keeps the
    /// idle time that the first attempt found, since that attempt has used the prefix.
    pub(super) fn find_to_place(
        &mut self,
        endpoints: &Endpoints,
        request: &mut Request,
        sampled: Option<&mut Rng>,
    ) -> PrefixMatch {
        let first = request.attempts == 0;
        if first && has_blocks(&request.facts) {
            self.index.tick();
        }
        let mut matched = self.find(endpoints, &request.facts, sampled);
        if first {
            request.prefix_idle = matched.prefix_idle;
        } else {
            matched.prefix_idle = request.prefix_idle;
        }
        matched
    }

    /// Enters the prompt of a request that was dispatched to the endpoint, and pins it until [`Self::release`].
    pub(super) fn hold(
        &mut self,
        endpoint: &mut Endpoint,
        facts: &RequestFacts,
        matched: &PrefixMatch,
    ) -> Option<HeldBlocks> {
        self.index.sweep(SWEPT);
        let expected = matched.tokens(endpoint.cache.holder, facts);
        endpoint.cache.expect(expected, facts.prompt_tokens);
        if !has_blocks(facts) || endpoint.lifecycle() == Lifecycle::Down {
            self.evict(endpoint);
            return None;
        }
        let block_tokens = f64::from(facts.block_tokens);
        let mean = if self.block_tokens > 0.0 { self.block_tokens } else { block_tokens };
        self.block_tokens = mean * KEPT + block_tokens * (1.0 - KEPT);
        let holder = match endpoint.cache.holder {
            Some(holder) => holder,
            None => {
                let holder = *endpoint.cache.holder.insert(self.index.join()?);
                self.own(holder.slot(), endpoint.id);
                holder
            }
        };
        // Blocks beyond the capacity are never there at the same time.
        let fitting = whole(endpoint.cache.capacity() / block_tokens) as usize;
        let chain = &facts.blocks[..facts.blocks.len().min(fitting)];
        let inserted = self.index.insert(holder, chain, true);
        self.reuse.observe(&inserted);
        let tokens = u64::from(inserted.blocks) * u64::from(facts.block_tokens);
        endpoint.cache.indexed += tokens;
        let known = matched.blocks.get(holder.slot()).copied().unwrap_or(0).min(inserted.blocks);
        let new =
            u64::from(facts.prompt_tokens).saturating_sub(u64::from(known) * u64::from(facts.block_tokens));
        let unproven = if count(new) > PROBATION * endpoint.cache.capacity() { new } else { 0 };
        endpoint.cache.unproven += unproven;
        self.evict(endpoint);
        let Inserted { blocks, pinned, .. } = inserted;
        Some(HeldBlocks { holder, blocks, tokens, pinned, expected, known, unproven })
    }

    /// Frees the blocks of a request that ended or left the endpoint, from the last to the first as vLLM does: first its
    /// output and partial blocks, then its prompt. `output` are its output tokens by the engine's count. Of a prompt that the
    /// engine left `unserved` no blocks stay.
    pub(super) fn release(
        &mut self,
        endpoint: &mut Endpoint,
        reservation: &Reservation,
        facts: &RequestFacts,
        output: Option<u32>,
        unserved: bool,
    ) {
        let (tokens, unproven) = reservation.held.map_or((0, 0), |held| (held.tokens, held.unproven));
        endpoint.cache.indexed = endpoint.cache.indexed.saturating_sub(tokens);
        endpoint.cache.unproven = endpoint.cache.unproven.saturating_sub(unproven);
        let Some(holder) = endpoint.cache.holder else { return };
        // Blocks in a cache that was reset since are gone.
        if reservation.held.is_some_and(|held| held.holder != holder) {
            return;
        }
        if !reservation.prefilling && !unserved {
            let output = output.unwrap_or(reservation.pace.output);
            let unindexed = (u64::from(facts.prompt_tokens) + u64::from(output)).saturating_sub(tokens);
            let blocks = whole(count(unindexed) / self.block_tokens.max(1.0));
            self.index.add_unindexed(holder, blocks.min(MAX_UNINDEXED));
        }
        if let Some(held) = reservation.held {
            let chain = &facts.blocks[..facts.blocks.len().min(held.blocks as usize)];
            if held.pinned {
                self.index.release(holder, chain);
            }
            if unserved {
                self.index.take_back(holder, chain, held.known);
            } else if !held.pinned {
                self.index.insert(holder, chain, false);
            }
        }
        self.evict(endpoint);
    }

    /// Evicts the blocks that do not fit beside the requests in flight.
    fn evict(&mut self, endpoint: &mut Endpoint) {
        let Some(holder) = endpoint.cache.holder else { return };
        // Tokens of requests in flight that are not in the index: output so far, and prompts without hashes.
        let unindexed = endpoint.context().saturating_sub(endpoint.cache.indexed);
        let room = endpoint.cache.capacity() + count(endpoint.cache.unproven) - count(unindexed);
        let fitting = whole(room / self.block_tokens.max(1.0));
        self.index.shrink(holder, fitting, EVICTED);
        let (blocks, oldest) = (self.index.blocks(holder), self.index.oldest_use(holder));
        endpoint.cache.set_blocks(blocks, fitting, oldest);
    }

    /// Compares the cached tokens that a response reports with the expected ones.
    pub(super) fn compare(
        &mut self,
        endpoint: &mut Endpoint,
        reservation: &Reservation,
        facts: &RequestFacts,
        usage: &Usage,
    ) {
        let (Some(held), Some(cached)) = (reservation.held, usage.cached_tokens) else { return };
        let prompt = usage.prompt_tokens.unwrap_or(facts.prompt_tokens);
        if prompt == 0 || facts.prompt_tokens == 0 || endpoint.cache.holder != Some(held.holder) {
            return;
        }
        let expected = f64::from(held.expected) / f64::from(facts.prompt_tokens);
        let reported = (f64::from(cached) / f64::from(prompt)).min(1.0);
        endpoint.cache.response_reported(expected, reported, &mut self.agreement);
    }

    /// Takes in the counters of a metrics page; `before` are those of the page before, if any.
    pub(super) fn read_totals(&mut self, endpoint: &mut Endpoint, before: Option<&EngineTotals>) {
        let Some(gauge) = &endpoint.gauge else { return };
        let totals = gauge.report.totals;
        let fell = |before: Option<f64>, after: Option<f64>| {
            before.zip(after).is_some_and(|(before, after)| after < before)
        };
        // An engine that restarted has an empty cache.
        if before.is_some_and(|before| fell(before.prompt_tokens, totals.prompt_tokens)) {
            endpoint.cache.forget(&mut self.index);
        }
        endpoint.cache.capacity_reported(gauge.kv_tokens());
        if let (Some(prompt), Some(cached)) = (totals.prompt_tokens, totals.cached_tokens) {
            endpoint.cache.totals_reported(prompt, cached, &mut self.agreement);
        }
    }
}
