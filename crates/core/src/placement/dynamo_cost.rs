//! The cost of Dynamo's KV router: `argmin scale·max(P + u, 0)/block + blocks in use with this request`.
//!
//! Source: NVIDIA Dynamo, `lib/kv-router/src/scheduling/selector.rs` (`worker_logit` and the choice at temperature 0)
//! at `01690d42`, defaults of `scheduling/config.rs`, load of `sequences/prompt_registry.rs`: blocks in use are the
//! distinct complete prompt blocks of the requests in flight there. A block that several requests share counts once, and
//! output does not count. This request adds those of its blocks that are not in use there. Ties are broken at random.
//!
//! Left out are the softmax over the costs (temperature 0 is the default), and credits for caches outside the GPU and
//! taints, for which Pointsman has no inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Candidate, View, affinity, count};
use crate::ids::{BlockHash, EndpointId, IdMap, RequestId};
use crate::policy::DynamoCost;
use crate::request::RequestFacts;

/// Tokens per block, the unit of the cost. It is the same for both terms and does not influence decisions.
const BLOCK: f64 = 16.0;

pub(super) fn weigh(
    parameters: &DynamoCost,
    view: &View<'_>,
    active: &ActiveBlocks,
    candidates: &mut [Candidate],
) -> usize {
    active.shared(view, candidates);
    let own = count(complete_tokens(view.facts));
    for candidate in candidates.iter_mut() {
        let shared = candidate.cost;
        let in_use = count(active.tokens(view.endpoint(candidate).id));
        let prefill = affinity::tokens_with(view, candidate).max(0.0);
        candidate.cost = (parameters.prefill_load_scale * prefill + in_use + own - shared) / BLOCK;
    }
    candidates.len()
}

/// The prompt tokens in complete blocks; all tokens of a prompt that is not hashed.
fn complete_tokens(facts: &RequestFacts) -> u64 {
    match facts.blocks.len() {
        0 => u64::from(facts.prompt_tokens),
        blocks => u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(u64::from(facts.block_tokens)),
    }
}

/// The prompt blocks of the requests in flight at each endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActiveBlocks {
    requests: IdMap<RequestId, Active>,
    /// Number of requests that use a block at an endpoint.
    users: BTreeMap<(BlockHash, EndpointId), u32>,
    /// Tokens in distinct blocks.
    tokens: BTreeMap<EndpointId, u64>,
}

#[derive(Clone, Debug)]
struct Active {
    endpoint: EndpointId,
    blocks: Arc<[BlockHash]>,
    block_tokens: u32,
    /// Tokens that no other request can share.
    alone: u64,
}

impl ActiveBlocks {
    pub(super) fn begin(&mut self, request: RequestId, endpoint: EndpointId, facts: &RequestFacts) {
        self.end(request);
        let blocks = Arc::clone(&facts.blocks);
        let alone = if blocks.is_empty() { complete_tokens(facts) } else { 0 };
        let mut tokens = alone;
        for block in blocks.iter() {
            let users = self.users.entry((*block, endpoint)).or_default();
            tokens += if *users == 0 { u64::from(facts.block_tokens) } else { 0 };
            *users += 1;
        }
        *self.tokens.entry(endpoint).or_default() += tokens;
        self.requests.insert(request, Active { endpoint, blocks, block_tokens: facts.block_tokens, alone });
    }

    /// Counts a request out; an unknown one is ignored.
    pub(super) fn end(&mut self, request: RequestId) {
        let Some(active) = self.requests.remove(&request) else { return };
        let mut tokens = active.alone;
        for block in active.blocks.iter() {
            let key = (*block, active.endpoint);
            if let Some(users) = self.users.get_mut(&key) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&key);
                    tokens += u64::from(active.block_tokens);
                }
            }
        }
        if let Some(all) = self.tokens.get_mut(&active.endpoint) {
            *all = all.saturating_sub(tokens);
            if *all == 0 {
                self.tokens.remove(&active.endpoint);
            }
        }
    }

    /// The requests with their endpoints, in no order.
    pub(super) fn requests(&self) -> impl Iterator<Item = (RequestId, EndpointId)> {
        self.requests.iter().map(|(request, active)| (*request, active.endpoint))
    }

    fn tokens(&self, endpoint: EndpointId) -> u64 {
        self.tokens.get(&endpoint).copied().unwrap_or(0)
    }

    /// Sets each candidate's cost to the tokens of the request's blocks that are in use there.
    fn shared(&self, view: &View<'_>, candidates: &mut [Candidate]) {
        for candidate in candidates.iter_mut() {
            candidate.cost = 0.0;
        }
        for block in view.facts.blocks.iter() {
            let mut users =
                self.users.range((*block, EndpointId(0))..=(*block, EndpointId(u32::MAX))).peekable();
            // Hashes are chained: where nobody uses a block, nobody uses those after it.
            if users.peek().is_none() {
                return;
            }
            for ((_, endpoint), _) in users {
                let position =
                    candidates.binary_search_by_key(endpoint, |candidate| view.endpoint(candidate).id);
                if let Ok(position) = position {
                    candidates[position].cost += f64::from(view.facts.block_tokens);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PoolId;

    fn facts(blocks: &[u64]) -> RequestFacts {
        RequestFacts {
            prompt_tokens: u32::try_from(blocks.len()).unwrap_or(0) * 16 + 5,
            blocks: blocks.iter().map(|block| BlockHash(*block)).collect(),
            block_tokens: 16,
            ..RequestFacts::unknown(PoolId(0))
        }
    }

    #[test]
    fn a_block_that_several_requests_share_counts_once_until_the_last_ends() {
        let mut active = ActiveBlocks::default();
        let here = EndpointId(1);
        active.begin(RequestId(1), here, &facts(&[1, 2, 3]));
        active.begin(RequestId(2), here, &facts(&[1, 2, 4]));
        assert_eq!(active.tokens(here), 4 * 16);
        active.end(RequestId(1));
        assert_eq!(active.tokens(here), 3 * 16);
        active.end(RequestId(1));
        active.end(RequestId(2));
        assert_eq!((active.tokens(here), active.users.len(), active.requests.len()), (0, 0, 0));
    }

    #[test]
    fn a_prompt_without_hashes_shares_nothing() {
        let mut active = ActiveBlocks::default();
        let whole = RequestFacts { prompt_tokens: 100, ..facts(&[]) };
        active.begin(RequestId(1), EndpointId(0), &whole);
        active.begin(RequestId(2), EndpointId(0), &whole);
        assert_eq!(active.tokens(EndpointId(0)), 200);
    }

    #[test]
    fn a_request_that_moves_is_counted_where_it_went() {
        let mut active = ActiveBlocks::default();
        active.begin(RequestId(1), EndpointId(0), &facts(&[1, 2]));
        active.begin(RequestId(1), EndpointId(7), &facts(&[1, 2]));
        assert_eq!((active.tokens(EndpointId(0)), active.tokens(EndpointId(7))), (0, 32));
    }
}
