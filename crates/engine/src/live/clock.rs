//! The engine's time against the machine's.

use std::time::Duration;

use pointsman_core::Time;
use tokio::time::Instant;

/// Engine time runs `speed` times as fast as the machine's, from zero at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    speed: f64,
}

impl Clock {
    pub(crate) fn start(speed: f64) -> Self {
        Self { started: Instant::now(), speed }
    }

    /// The engine's time now.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed().mul_f64(self.speed)
    }

    /// When the machine's clock will show this engine time.
    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        self.started + self.real(time.since(Time::ZERO))
    }

    /// How long a span of engine time really takes: what clients see, and what the metrics say.
    pub(crate) fn real(&self, span: Duration) -> Duration {
        span.div_f64(self.speed)
    }
}
