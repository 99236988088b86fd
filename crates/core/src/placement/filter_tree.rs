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
    let kept = if view.facts.priority > 0 {
        low_latency(view, rng, candidates)
    } else {
        match sheddable(view, rng, candidates) {
            Some(kept) => kept,
            None if view.facts.sheddable() => return None,
            None => low_latency(view, rng, candidates),
        }
    };
    // The final pick is random.
    Some(random::weigh(rng, &mut candidates[..kept]))
}

// Each filter moves the candidates that it keeps to the front and returns their number; where that is 0, it keeps all.

fn low_latency(view: &View<'_>, rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    let low_queue = to_front(candidates, |candidate| waiting(view, candidate) < LOW_QUEUE);
    let kept = if low_queue > 0 {
        let kept = lora_affinity(view, rng, &mut candidates[..low_queue]);
        least_queue(view, &mut candidates[..kept])
    } else {
        let kept = least_queue(view, candidates);
        lora_affinity(view, rng, &mut candidates[..kept])
    };
    least_kv_use(view, &mut candidates[..kept])
}

fn sheddable(view: &View<'_>, rng: &mut Rng, candidates: &mut [Candidate]) -> Option<usize> {
    let kept = to_front(candidates, |candidate| {
        waiting(view, candidate) <= SHEDDABLE_QUEUE && kv_use(view, candidate) <= SHEDDABLE_KV_USE
    });
    if kept == 0 {
        return None;
    }
    let kept = least_queue(view, &mut candidates[..kept]);
    let kept = lora_affinity(view, rng, &mut candidates[..kept]);
    Some(least_kv_use(view, &mut candidates[..kept]))
}

/// Keeps the queues in the lowest *n*-th of their range, with *n* candidates.
fn least_queue(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let queues = || candidates.iter().map(|candidate| waiting(view, candidate));
    let (least, most) = (queues().min().unwrap_or(0), queues().max().unwrap_or(0));
    let parts = u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
    let limit = least + (most - least) / parts;
    to_front(candidates, |candidate| waiting(view, candidate) <= limit)
}

/// Keeps the lowest *n*-th of the range of KV cache use, with *n* candidates.
fn least_kv_use(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    let uses = || candidates.iter().map(|candidate| kv_use(view, candidate));
    let (least, most) = (uses().fold(f64::MAX, f64::min), uses().fold(0.0, f64::max));
    let parts = f64::from(u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1));
    let limit = least + (most - least) / parts;
    to_front(candidates, |candidate| kv_use(view, candidate) <= limit)
}

/// Keeps those that run the adapter, or with a small probability those with a free slot for it, so that load spreads.
fn lora_affinity(view: &View<'_>, rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    let affine = candidates.iter().filter(|candidate| runs_target(view, candidate)).count();
    let room = |candidate: &Candidate| !runs_target(view, candidate) && has_room(view, candidate);
    let roomy = candidates.iter().filter(|candidate| room(candidate)).count();
    let stay = match (affine, roomy) {
        (0, 0) => return candidates.len(),
        (_, 0) => true,
        (0, _) => false,
        (_, _) => rng.below(1000) < LORA_AFFINITY,
    };
    to_front(candidates, |candidate| if stay { runs_target(view, candidate) } else { room(candidate) })
}
