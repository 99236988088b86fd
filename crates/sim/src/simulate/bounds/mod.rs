//! Bounds: idealized balancers to compare placements with. They have no network delay, so they see the engines' true
//! state.

mod central;
mod clairvoyant;
mod pooled;
mod shared_cache;

pub(super) use central::Central;
pub(super) use clairvoyant::Clairvoyant;
pub(super) use pooled::pooled_server;
pub(super) use shared_cache::SharedCache;
