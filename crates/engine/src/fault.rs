//! Fault injection, to test routers. Each fault is one that real engines have shown.
//!
//! An injection is written `KIND[,key=value]…`: on the command line, in the `x-pointsman-fault` header of one request
//! and in the body of `POST /fault`; `DELETE /fault` ends all of them. Example: `error-event,after-tokens=3,count=2`.

use std::str::FromStr;
use std::time::Duration;

use pointsman_core::Rng;
use thiserror::Error;

/// A failure of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The port is closed for a time, and requests on open connections are cut off.
    Refuse { duration: Duration },
    /// Requests are accepted and never answered.
    Hang,
    /// The response is an error with this status, 500 to 599.
    Status { code: u16 },
    /// Engine steps take `factor` times as long.
    Slow { factor: f64 },
    /// A stream fails after this many tokens, a non-streaming response when it would begin.
    Response { failure: ResponseFailure, after_tokens: u32 },
}

/// The failure of a response that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFailure {
    /// The connection is reset.
    Reset,
    /// An `error` event inside a 200 stream, followed by `[DONE]`: vLLM when its engine core dies.
    ErrorEvent,
    /// `finish_reason: "abort"` and `[DONE]`: vLLM at shutdown.
    Abort,
    /// The stream ends cleanly without `[DONE]`: vLLM when its API server is killed.
    Truncate,
    /// The stream stalls: no more bytes and no close. vLLM at shutdown, sometimes.
    Silence,
}

/// A fault with the requests that it strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultInjection {
    pub(crate) fault: Fault,
    /// Number of requests after which the injection ends; unbounded when absent.
    count: Option<u32>,
    /// Probability that a request is struck, 0 to 1.
    probability: f64,
}

/// The reason why a fault cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// The kind is unknown.
    #[error(
        "no fault is called {0:?}; there are refuse, hang, reset, status, slow, error-event, abort, truncate, silence"
    )]
    Kind(String),
    /// The fault has no such setting, or its value is out of range.
    #[error("invalid setting {0:?} for this fault")]
    Setting(String),
    /// The number of injections is at its bound.
    #[error("too many fault injections are active")]
    TooMany,
}

impl FromStr for FaultInjection {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut parts = text.trim().split(',').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let mut settings = Settings(parts.map(str::to_owned).collect());
        let response = |settings: &mut Settings, failure| {
            Ok(Fault::Response { failure, after_tokens: settings.take("after-tokens", 1)? })
        };
        let fault = match kind {
            "refuse" => {
                Fault::Refuse { duration: Duration::from_millis(settings.take("milliseconds", 1_000)?) }
            }
            "hang" => Fault::Hang,
            "status" => Fault::Status { code: settings.take("code", 503)? },
            "slow" => Fault::Slow { factor: settings.take("factor", 2.0)? },
            "reset" => response(&mut settings, ResponseFailure::Reset)?,
            "error-event" => response(&mut settings, ResponseFailure::ErrorEvent)?,
            "abort" => response(&mut settings, ResponseFailure::Abort)?,
            "truncate" => response(&mut settings, ResponseFailure::Truncate)?,
            "silence" => response(&mut settings, ResponseFailure::Silence)?,
            other => return Err(FaultError::Kind(other.to_owned())),
        };
        let mut injection = Self { fault, count: None, probability: 1.0 };
        match fault {
            Fault::Status { code } if !(500..=599).contains(&code) => {
                return Err(FaultError::Setting(format!("code={code}")));
            }
            Fault::Slow { factor } if !factor.is_finite() || factor <= 0.0 => {
                return Err(FaultError::Setting(format!("factor={factor}")));
            }
            // Both affect the whole server, so they have no count and no probability.
            Fault::Refuse { .. } | Fault::Slow { .. } => {}
            Fault::Hang | Fault::Status { .. } | Fault::Response { .. } => {
                injection.count = settings.take("count", 0_u32).map(|count| (count > 0).then_some(count))?;
                injection.probability = settings.take("probability", 1.0_f64)?;
            }
        }
        if !(0.0..=1.0).contains(&injection.probability) {
            return Err(FaultError::Setting(format!("probability={}", injection.probability)));
        }
        match settings.0.pop() {
            Some(left) => Err(FaultError::Setting(left)),
            None => Ok(injection),
        }
    }
}

/// The settings of an injection that are not parsed yet.
struct Settings(Vec<String>);

impl Settings {
    fn take<T: FromStr>(&mut self, key: &str, default: T) -> Result<T, FaultError> {
        let prefix = format!("{key}=");
        let position = self.0.iter().position(|setting| setting.starts_with(&prefix));
        let Some(position) = position else { return Ok(default) };
        let setting = self.0.swap_remove(position);
        setting[prefix.len()..].parse().map_err(|_| FaultError::Setting(setting))
    }
}

/// Upper bound of active injections.
const MAX_INJECTIONS: usize = 64;

/// The active injections of a server.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    active: Vec<FaultInjection>,
    rng: Rng,
}

impl FaultInjector {
    pub(crate) fn new(seed: u64) -> Self {
        Self { active: Vec::new(), rng: Rng::seeded(seed) }
    }

    pub(crate) fn add(&mut self, injection: FaultInjection) -> Result<(), FaultError> {
        if self.active.len() >= MAX_INJECTIONS {
            return Err(FaultError::TooMany);
        }
        self.active.push(injection);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    /// The fault of the next request: that of the first injection whose probability is drawn.
    pub(crate) fn next_fault(&mut self) -> Option<Fault> {
        for injection in &mut self.active {
            if self.rng.unit() >= injection.probability || injection.count == Some(0) {
                continue;
            }
            if let Some(count) = &mut injection.count {
                *count -= 1;
            }
            let fault = injection.fault;
            self.active.retain(|injection| injection.count != Some(0));
            return Some(fault);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_parse() {
        fn check(text: &str, fault: Fault, count: Option<u32>, probability: f64) {
            assert_eq!(text.parse(), Ok(FaultInjection { fault, count, probability }), "{text}");
        }
        let reset = Fault::Response { failure: ResponseFailure::Reset, after_tokens: 5 };
        check("hang", Fault::Hang, None, 1.0);
        check("reset, after-tokens=5, count=2", reset, Some(2), 1.0);
        check("status,code=502,probability=0.5", Fault::Status { code: 502 }, None, 0.5);
        check("slow,factor=1.6", Fault::Slow { factor: 1.6 }, None, 1.0);
        check("refuse,milliseconds=20", Fault::Refuse { duration: Duration::from_millis(20) }, None, 1.0);
    }

    #[test]
    fn unknown_kinds_and_settings_are_refused() {
        for text in ["", "explode", "hang,after-tokens=1", "slow,factor=0", "slow,count=1", "status,code=200"]
        {
            assert!(text.parse::<FaultInjection>().is_err(), "{text}");
        }
        for text in ["hang,count", "hang,count=x", "hang,probability=2", "reset,after-tokens=-1"] {
            assert!(matches!(text.parse::<FaultInjection>(), Err(FaultError::Setting(_))), "{text}");
        }
    }

    #[test]
    fn count_and_probability_bound_the_struck_requests() {
        let mut injector = FaultInjector::new(1);
        injector.add("hang,count=2".parse().unwrap()).unwrap();
        assert_eq!(
            [injector.next_fault(), injector.next_fault(), injector.next_fault()],
            [Some(Fault::Hang), Some(Fault::Hang), None]
        );
        injector.add("hang,probability=0.25".parse().unwrap()).unwrap();
        let struck = (0..4_000).filter(|_| injector.next_fault().is_some()).count();
        assert!((900..1_100).contains(&struck), "{struck}");
        injector.clear();
        assert_eq!(injector.next_fault(), None);
    }
}
