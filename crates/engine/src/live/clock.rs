//! Simulated engine time against wall-clock time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pointsman_core::Time;
use tokio::time::Instant;

/// Engine time: zero at the start, `speed` times as fast as wall-clock time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    speed: f64,
}

impl Clock {
    pub(crate) fn start(speed: f64) -> Self {
        Self { started: Instant::now(), speed }
    }

    /// The current engine time.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed().mul_f64(self.speed)
    }

    /// The wall-clock instant of an engine time.
    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        self.started + self.real(time.since(Time::ZERO))
    }

    /// A duration of engine time in wall-clock time, which clients and metrics see.
    pub(crate) fn real(&self, duration: Duration) -> Duration {
        duration.div_f64(self.speed)
    }
}

/// The Unix time in seconds.
pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
