//! The filter tree of the Gateway API Inference Extension v0.3.0, as it was: `pkg/epp/scheduling/scheduler.go` and
//! `filter.go` with the defaults of `config.go`.
//!
//! It reads the engines' gauges as last scraped, however old; a gauge that was never read is zero. One deviation, in
//! favour of what a pool promises: where the tree would drop a request that is not sheddable, the critical branch
//! takes it (v0.3.0 knew only Critical and not).

use super::random::lot;
use super::scraped::{has_room, kv_use, runs_target, waiting};
use super::{Candidate, Dropped, View, to_front};
use crate::rng::Rng;

/// `QUEUING_THRESHOLD_LORA`: the queue of a low-latency candidate is shorter.
const LOW_QUEUE: u32 = 128;
/// `QUEUE_THRESHOLD_CRITICAL`: the longest queue at which a sheddable request is taken.
const SHEDDABLE_QUEUE: u32 = 5;
/// `KV_CACHE_THRESHOLD`: the most KV use at which a sheddable request is taken.
const SHEDDABLE_KV_USE: f64 = 0.8;
/// `LORA_AFFINITY_THRESHOLD`, in thousandths.
const LORA_AFFINITY: usize = 999;

pub(super) fn weigh(view: &View<'_>, rng: &mut Rng, candidates: &mut [Candidate]) -> Result<usize, Dropped> {
    let mut tree = Tree { view, rng, candidates };
    let kept = if view.facts.priority > 0 {
        tree.low_latency()
    } else {
        match tree.sheddable() {
            Some(kept) => kept,
            None if view.facts.sheddable() => return Err(Dropped),
            None => tree.low_latency(),
        }
    };
    // The final pick is random.
    for candidate in &mut candidates[..kept] {
        candidate.cost = lot(rng);
    }
    Ok(kept)
}

/// The candidates that are left are at the front; each filter takes how many, and returns how many it leaves. A
/// filter that leaves none passes its input on.
struct Tree<'a, 'v> {
    view: &'a View<'v>,
    rng: &'a mut Rng,
    candidates: &'a mut [Candidate],
}

impl Tree<'_, '_> {
    fn low_latency(&mut self) -> usize {
        let view = self.view;
        let all = self.candidates.len();
        let low_queue = to_front(self.candidates, |candidate| waiting(view, candidate) < LOW_QUEUE);
        if low_queue > 0 {
            let kept = self.lora_affinity(low_queue);
            let kept = self.least_queue(kept);
            self.least_kv_use(kept)
        } else {
            let kept = self.least_queue(all);
            let kept = self.lora_affinity(kept);
            self.least_kv_use(kept)
        }
    }

    fn sheddable(&mut self) -> Option<usize> {
        let view = self.view;
        let kept = to_front(self.candidates, |candidate| {
            waiting(view, candidate) <= SHEDDABLE_QUEUE && kv_use(view, candidate) <= SHEDDABLE_KV_USE
        });
        if kept == 0 {
            return None;
        }
        let kept = self.least_queue(kept);
        let kept = self.lora_affinity(kept);
        Some(self.least_kv_use(kept))
    }

    /// Those in the first of as many equal parts of the range of queues as there are candidates.
    fn least_queue(&mut self, input: usize) -> usize {
        let view = self.view;
        let candidates = &mut self.candidates[..input];
        let queues = || candidates.iter().map(|candidate| waiting(view, candidate));
        let (least, most) = (queues().min().unwrap_or(0), queues().max().unwrap_or(0));
        let parts = u32::try_from(input).unwrap_or(u32::MAX).max(1);
        let limit = least + (most - least) / parts;
        to_front(candidates, |candidate| waiting(view, candidate) <= limit)
    }

    fn least_kv_use(&mut self, input: usize) -> usize {
        let view = self.view;
        let candidates = &mut self.candidates[..input];
        let uses = || candidates.iter().map(|candidate| kv_use(view, candidate));
        let (least, most) = (uses().fold(f64::MAX, f64::min), uses().fold(0.0, f64::max));
        let parts = f64::from(u32::try_from(input).unwrap_or(u32::MAX).max(1));
        let limit = least + (most - least) / parts;
        to_front(candidates, |candidate| kv_use(view, candidate) <= limit)
    }

    /// Those that run the adapter, nearly always; now and then those with room for it, so that load spreads.
    fn lora_affinity(&mut self, input: usize) -> usize {
        let view = self.view;
        let candidates = &mut self.candidates[..input];
        let affine = candidates.iter().filter(|candidate| runs_target(view, candidate)).count();
        let room = |candidate: &Candidate| !runs_target(view, candidate) && has_room(view, candidate);
        let roomy = candidates.iter().filter(|candidate| room(candidate)).count();
        let stay = match (affine, roomy) {
            (0, 0) => return input,
            (_, 0) => true,
            (0, _) => false,
            (_, _) => self.rng.below(1000) < LORA_AFFINITY,
        };
        to_front(candidates, |candidate| if stay { runs_target(view, candidate) } else { room(candidate) })
    }
}
