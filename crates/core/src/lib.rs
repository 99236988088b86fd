//! The placement core: a pure pool state machine.
