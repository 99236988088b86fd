//! The load that one request adds to its endpoint.

use crate::adapters::Residency;
use crate::ids::{EndpointId, ModelKey};
use crate::prefix::Holder;
use crate::time::Time;

/// The reservation of a dispatched request, and its progress. Token counts are estimates until the engine reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) endpoint: EndpointId,
    pub(crate) dispatched: Time,
    /// Prompt tokens to prefill there.
    pub(crate) uncached: u32,
    /// Prompt tokens expected in the prefix cache there.
    pub(crate) cached: u32,
    /// Tokens counted in the endpoint's context: the prompt and the output so far.
    pub(crate) context: u64,
    /// Whether its first token is still to be observed.
    pub(crate) prefilling: bool,
    /// Prompt tokens that were ahead of it in the prefill queue at dispatch.
    pub(crate) ahead: u64,
    /// Requests in flight there at dispatch, itself included.
    pub(crate) in_flight_at_dispatch: u32,
    pub(crate) adapter: Option<ModelKey>,
    /// Whether the adapter had to be loaded first.
    pub(crate) residency: Residency,
    /// Its prompt blocks in the prefix index.
    pub(crate) held: Option<HeldBlocks>,
    /// The latest observation of its output.
    pub(crate) pace: PaceMark,
}

/// The state at the latest observation of a request's output: the next one measures the difference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PaceMark {
    pub(crate) at: Time,
    /// Output tokens by then.
    pub(crate) output: u32,
    /// Prompt tokens that the endpoint had prefilled by then.
    pub(crate) prefilled: u64,
}

/// A request's prompt blocks in its endpoint's cache, according to the prefix index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBlocks {
    pub(crate) holder: Holder,
    /// Number of the prompt's blocks, from the first, that are in the index.
    pub(crate) blocks: u32,
    /// Tokens in them.
    pub(crate) tokens: u64,
    /// Whether they are pinned until the request ends.
    pub(crate) pinned: bool,
    /// Number of the prompt's first blocks that the endpoint had before.
    pub(crate) known: u32,
    /// Tokens in the others, while they evict nothing because it is not known whether the engine takes so long a prompt.
    pub(crate) unproven: u64,
    /// Prompt tokens that were expected to be cached at dispatch.
    pub(crate) expected: u32,
}
