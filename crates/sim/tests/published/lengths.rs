//! ShareGPT's lengths as the load generator of upstream's benchmark filters them.

use pointsman_workload::{Draw, LengthTable};

/// Prompt and output tokens, drawn independently.
pub(crate) fn lengths(draw: &mut Draw) -> (u32, u32) {
    (LengthTable::ShareGpt.prompt().tokens(draw), LengthTable::ShareGpt.output().tokens(draw))
}
