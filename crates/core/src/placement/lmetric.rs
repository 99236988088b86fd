//! LMETRIC: the product of prefill work and batch size, `argmin (P + u)·(B + 1)`.
//!
//! Source: "LMetric: Simple is Better - Multiplication May Be All You Need for LLM Request Scheduling" (OSDI 2026,
//! arXiv 2603.15202): new prefill tokens if routed there, times the batch size. With the present batch size
//! an idle endpoint would cost 0 whatever it has cached, and a decoding one would cost as little as an idle one where
//! nothing is to be prefilled. Both public ports therefore count this request in (`requests + 1` in llm-d-router
//! `scorer/lmetric/lmetric.go` at `1fee9c80`, `load + 1` in sglang `policies/lmetric.rs` at `acaa759a`), and so does this
//! one. Ties go to the fewest requests as in the latter.

use super::{Candidate, View, affinity};

pub(super) fn weigh(view: &View<'_>, candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        let batch = f64::from(candidate.in_flight) + 1.0;
        candidate.cost = affinity::tokens_with(view, candidate) * batch;
    }
    candidates.len()
}
