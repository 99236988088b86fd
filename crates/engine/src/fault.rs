//! Faults on order, for tests of whatever stands in front: each is something real servers were seen to do.
//!
//! An order is written `KIND[,key=value]…`, the same on a command line, in the `x-pointsman-fault` header of one
//! request and in the body of `POST /fault`; `DELETE /fault` ends all of them. Example:
//! `error-event,after-tokens=3,count=2`.

use std::str::FromStr;
use std::time::Duration;

use pointsman_core::Rng;
use thiserror::Error;

/// What goes wrong. Streams break after so many tokens; whole replies break where a stream would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The port is closed for a while, and requests on open connections are cut off.
    Refuse {
        /// How long.
        span: Duration,
    },
    /// Requests are taken and never answered.
    Hang,
    /// The connection is reset in the middle of the answer.
    Reset {
        /// Tokens before it.
        after_tokens: u32,
    },
    /// The answer is an error with this status.
    Status {
        /// 500, 502, 503 or 504.
        code: u16,
    },
    /// Steps take longer from now on.
    Slow {
        /// So many times as long.
        factor: f64,
    },
    /// An `error` event inside a 200 stream, followed by `[DONE]`, as vLLM's when its engine core dies.
    ErrorEvent {
        /// Tokens before it.
        after_tokens: u32,
    },
    /// `finish_reason: "abort"` and `[DONE]`, as vLLM's when it is told to stop.
    Abort {
        /// Tokens before it.
        after_tokens: u32,
    },
    /// The stream ends cleanly without `[DONE]`, as when vLLM's API server is killed.
    Truncate {
        /// Tokens before it.
        after_tokens: u32,
    },
    /// No more bytes and no close, as vLLM's sometimes when it is told to stop.
    Silence {
        /// Tokens before it.
        after_tokens: u32,
    },
}

/// A fault, how often and how likely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultOrder {
    /// What goes wrong.
    pub fault: Fault,
    /// For so many requests; for all when absent.
    pub count: Option<u32>,
    /// The share of requests it strikes, 0 to 1.
    pub probability: f64,
}

/// Why an order was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// There is no such kind.
    #[error(
        "no fault is called {0:?}; there are refuse, hang, reset, status, slow, error-event, abort, truncate, silence"
    )]
    Kind(String),
    /// The setting is not one of this fault's, or its value is no good.
    #[error("fault setting {0:?} is not understood here")]
    Setting(String),
    /// No more orders fit.
    #[error("too many fault orders in force")]
    TooMany,
}

impl FromStr for FaultOrder {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut parts = text.trim().split(',').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let mut settings = Settings(parts.map(str::to_owned).collect());
        let after_tokens = |settings: &mut Settings| settings.take("after-tokens", 1_u32);
        let fault = match kind {
            "refuse" => {
                Fault::Refuse { span: Duration::from_millis(settings.take("milliseconds", 1_000_u64)?) }
            }
            "hang" => Fault::Hang,
            "reset" => Fault::Reset { after_tokens: after_tokens(&mut settings)? },
            "status" => Fault::Status { code: settings.take("code", 503_u16)? },
            "slow" => Fault::Slow { factor: settings.take("factor", 2.0_f64)? },
            "error-event" => Fault::ErrorEvent { after_tokens: after_tokens(&mut settings)? },
            "abort" => Fault::Abort { after_tokens: after_tokens(&mut settings)? },
            "truncate" => Fault::Truncate { after_tokens: after_tokens(&mut settings)? },
            "silence" => Fault::Silence { after_tokens: after_tokens(&mut settings)? },
            other => return Err(FaultError::Kind(other.to_owned())),
        };
        let mut order = Self { fault, count: None, probability: 1.0 };
        match fault {
            Fault::Status { code } if !(500..=599).contains(&code) => {
                return Err(FaultError::Setting(format!("code={code}")));
            }
            Fault::Slow { factor } if !factor.is_finite() || factor <= 0.0 => {
                return Err(FaultError::Setting(format!("factor={factor}")));
            }
            // These strike the server, not a request.
            Fault::Refuse { .. } | Fault::Slow { .. } => {}
            Fault::Hang
            | Fault::Reset { .. }
            | Fault::Status { .. }
            | Fault::ErrorEvent { .. }
            | Fault::Abort { .. }
            | Fault::Truncate { .. }
            | Fault::Silence { .. } => {
                order.count = settings.take("count", 0_u32).map(|count| (count > 0).then_some(count))?;
                order.probability = settings.take("probability", 1.0_f64)?;
            }
        }
        if !(0.0..=1.0).contains(&order.probability) {
            return Err(FaultError::Setting(format!("probability={}", order.probability)));
        }
        match settings.0.pop() {
            Some(left) => Err(FaultError::Setting(left)),
            None => Ok(order),
        }
    }
}

/// The settings of an order that were not read yet.
struct Settings(Vec<String>);

impl Settings {
    fn take<T: FromStr>(&mut self, key: &str, otherwise: T) -> Result<T, FaultError> {
        let position =
            self.0.iter().position(|setting| setting.split_once('=').is_some_and(|(name, _)| name == key));
        let Some(position) = position else { return Ok(otherwise) };
        let setting = self.0.swap_remove(position);
        let value = setting.split_once('=').and_then(|(_, value)| value.parse().ok());
        value.ok_or(FaultError::Setting(setting))
    }
}

/// The orders in force.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    orders: Vec<FaultOrder>,
    rng: Rng,
}

impl FaultPlan {
    const LIMIT: usize = 64;

    pub(crate) fn new(seed: u64) -> Self {
        Self { orders: Vec::new(), rng: Rng::seeded(seed) }
    }

    pub(crate) fn add(&mut self, order: FaultOrder) -> Result<(), FaultError> {
        if self.orders.len() >= Self::LIMIT {
            return Err(FaultError::TooMany);
        }
        self.orders.push(order);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.orders.clear();
    }

    /// The fault that strikes the next request: the first order in force that the dice agree with.
    #[expect(clippy::cast_precision_loss, reason = "the upper 53 bits of a draw are exact in a float")]
    pub(crate) fn strike(&mut self) -> Option<Fault> {
        for order in &mut self.orders {
            let drawn = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            if drawn >= order.probability || order.count == Some(0) {
                continue;
            }
            if let Some(count) = &mut order.count {
                *count -= 1;
            }
            let fault = order.fault;
            self.orders.retain(|order| order.count != Some(0));
            return Some(fault);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_written() {
        fn check(text: &str, fault: Fault, count: Option<u32>, probability: f64) {
            assert_eq!(text.parse(), Ok(FaultOrder { fault, count, probability }), "{text}");
        }
        check("hang", Fault::Hang, None, 1.0);
        check("reset, after-tokens=5, count=2", Fault::Reset { after_tokens: 5 }, Some(2), 1.0);
        check("status,code=502,probability=0.5", Fault::Status { code: 502 }, None, 0.5);
        check("slow,factor=1.6", Fault::Slow { factor: 1.6 }, None, 1.0);
        check("refuse,milliseconds=20", Fault::Refuse { span: Duration::from_millis(20) }, None, 1.0);
    }

    #[test]
    fn what_an_order_cannot_mean_is_refused() {
        for text in ["", "explode", "hang,after-tokens=1", "slow,factor=0", "slow,count=1", "status,code=200"]
        {
            assert!(text.parse::<FaultOrder>().is_err(), "{text}");
        }
        for text in ["hang,count", "hang,count=x", "hang,probability=2", "reset,after-tokens=-1"] {
            assert!(matches!(text.parse::<FaultOrder>(), Err(FaultError::Setting(_))), "{text}");
        }
    }

    #[test]
    fn a_counted_order_strikes_so_often_and_a_likely_one_about_so_often() {
        let mut plan = FaultPlan::new(1);
        plan.add("hang,count=2".parse().unwrap()).unwrap();
        assert_eq!(
            [plan.strike(), plan.strike(), plan.strike()],
            [Some(Fault::Hang), Some(Fault::Hang), None]
        );
        plan.add("hang,probability=0.25".parse().unwrap()).unwrap();
        let struck = (0..4_000).filter(|_| plan.strike().is_some()).count();
        assert!((900..1_100).contains(&struck), "{struck}");
        plan.clear();
        assert_eq!(plan.strike(), None);
    }
}
