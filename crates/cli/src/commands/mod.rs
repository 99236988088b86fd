//! One module per command.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod engine;
pub(crate) mod envoy;
pub(crate) mod epp;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod overhead;
mod own_command;
pub(crate) mod picker_bench;
pub(crate) mod replay;
pub(crate) mod simulate;
