//! The core's random numbers: the state is data, so that a recorded run can be repeated.

pub use pointsman_random::Rng;
