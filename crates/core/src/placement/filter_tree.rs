//! The filter tree of the Gateway API Inference Extension v0.3.0: `pkg/epp/scheduling/scheduler.go` and
//! `filter.go` with the defaults of `config.go`.
//!
//! It reads the engines' gauges as last scraped, however old; a gauge that was never scraped is zero. One deviation, since
//! only sheddable requests may be rejected: where the tree would drop another request, the critical branch takes it
//! (v0.3.0 knew only Critical and not critical).

use super::scraped::{has_room, kv_use, runs_target, waiting};
use super::{Candidate, View, random, to_front};
use pointsman_random::Rng;

/// `QUEUING_THRESHOLD_LORA`: a low-latency candidate has fewer waiting requests.
const LOW_QUEUE: u32 = 128;
/// `QUEUE_THRESHOLD_CRITICAL`: most waiting requests at which a sheddable request is accepted.
const SHEDDABLE_QUEUE: u32 = 5;
/// `KV_CACHE_THRESHOLD`: highest KV use at which a sheddable request is accepted.
const SHEDDABLE_KV_USE: f64 = 0.8;
/// `LORA_AFFINITY_THRESHOLD`, in thousandths.
const LORA_AFFINITY: usize = 999;

pub(super) fn weigh(view: &View<'_>, rng: &mut Rng, candidates: &mut [Candidate]) -> Option<usize> {
    let mut tree = Tree { view, rng, candidates };
    let kept = if view.facts.priority > 0 {
        tree.low_latency()
    } else {
        match tree.sheddable() {
            Some(kept) => kept,
            None if view.facts.sheddable() => return None,
            None => tree.low_latency(),
        }
    };
    // The final pick is random.
    Some(random::weigh(rng, &mut candidates[..kept]))
}

/// The remaining candidates are at the front. Each filter takes their number and returns the number it keeps; a filter
/// that would keep none keeps its input.
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

    /// Keeps the queues in the lowest *n*-th of their range, with *n* candidates.
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

    /// Keeps those that run the adapter, or with a small probability those with a free slot for it, so that load spreads.
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
