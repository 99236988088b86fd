//! The endpoints of a large fleet that one decision compares: a random sample, and those that have most of the prompt.
//!
//! The default rule compares every endpoint of a small fleet. With thousands, the time of a decision would grow with them, and
//! most of it be spent on endpoints that are as good as others. The best of more than a hundred random endpoints is among the best few
//! percent of all with near certainty, and the endpoints that have the prompt's prefix are known from the index. Likewise, whether
//! a pool is saturated is asked of a few of its endpoints.

use super::Scheduler;
use super::cache::PrefixCaches;
use crate::endpoints::{Endpoints, Stride};
use crate::ids::{EndpointId, PoolId};
use crate::prefix::PrefixMatch;
use pointsman_random::Rng;

/// Endpoints up to which all are compared.
const LARGE: usize = 512;
/// Endpoints that are drawn at random, some of them twice.
const DRAWN: usize = 128;
/// Most endpoints that are compared because they have the prompt's prefix: those with most of it.
const HOLDERS: usize = 64;
/// Fewest candidates in a sample; with fewer, all endpoints are compared.
pub(super) const FEWEST: usize = 16;

/// Draws endpoints into an empty sample.
pub(super) fn draw(sample: &mut Vec<usize>, endpoints: &Endpoints, rng: &mut Rng) {
    sample.extend((0..DRAWN).map(|_| rng.below(endpoints.all.len())));
}

impl Scheduler {
    /// Whether decisions that may compare a sample do.
    pub(super) const fn samples(&self) -> bool {
        self.endpoints.all.len() > LARGE && !self.compares_all
    }

    /// The endpoints to look at for the state of a pool: of a large fleet at least as many as a decision draws, from a random
    /// one on, unless few of those are the pool's.
    pub(super) fn stride(&mut self, pool: PoolId) -> Stride {
        if !self.samples() {
            return Stride::ALL;
        }
        let step = (self.endpoints.all.len() / DRAWN).max(1);
        let stride = Stride { first: self.rng.below(step), step };
        if self.endpoints.ready_among(pool, stride).take(FEWEST).count() < FEWEST {
            return Stride::ALL;
        }
        stride
    }
}

impl PrefixCaches {
    /// Adds the endpoints with most of the prompt to a sample.
    pub(super) fn add_holders(&mut self, matched: &mut PrefixMatch, endpoints: &Endpoints, rng: &mut Rng) {
        let slots = matched.blocks.len();
        let first = rng.below(slots.max(1));
        // From a random slot on: of many equal ones, other decisions take others.
        let order = (first..slots).chain(0..first);
        self.holders.clear();
        self.holders.extend(order.map(|slot| (matched.blocks[slot], slot)).filter(|(blocks, _)| *blocks > 0));
        if self.holders.len() > HOLDERS {
            self.holders.select_nth_unstable_by_key(HOLDERS, |(blocks, _)| std::cmp::Reverse(*blocks));
            self.holders.truncate(HOLDERS);
        }
        let owner = |slot: usize| self.owners.get(slot).copied().flatten();
        let owners = self.holders.iter().filter_map(|(_, slot)| endpoints.index(owner(*slot)?));
        matched.sample.extend(owners);
    }

    /// Notes which endpoint has a holder's slot.
    pub(super) fn own(&mut self, slot: usize, endpoint: EndpointId) {
        if self.owners.len() <= slot {
            self.owners.resize(slot + 1, None);
        }
        self.owners[slot] = Some(endpoint);
    }
}
