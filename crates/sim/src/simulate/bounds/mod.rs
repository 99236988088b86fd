//! Bounds: what no router can be, to measure the rest against. None of them knows a network delay, so that what it sees
//! of the engines is true.

mod central;
mod clairvoyant;
mod pooled;
mod shared_cache;

pub(super) use central::Central;
pub(super) use clairvoyant::Clairvoyant;
pub(super) use pooled::pooled_server;
pub(super) use shared_cache::SharedCache;
