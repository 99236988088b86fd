//! The prompts that were dispatched to an endpoint and are not prefilled yet.

use std::collections::VecDeque;

use crate::cast::count;
use crate::ids::RequestId;
use crate::time::{Time, seconds};

/// Longest measurement in seconds; longer busy periods are split.
const LONGEST_MEASUREMENT: f64 = 1.0;

/// Prompts in the order of dispatch. A prompt leaves when its first token is observed. Prompts whose first token cannot be
/// observed are retired by a clock that prefills them in order at the endpoint's rate, since engines take prompts in order
/// of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrefillQueue {
    queue: VecDeque<Prompt>,
    tokens: u64,
    /// Prompts that the clock retires.
    unobserved: u32,
    /// The time up to which the clock has run.
    clock: Time,
    prefilled: u64,
    busy: Busy,
}

#[derive(Clone, Copy, Debug)]
struct Prompt {
    request: RequestId,
    tokens: u32,
    /// Tokens that the clock has not retired; `None` if the first token will be observed.
    left: Option<f64>,
}

/// A measurement in progress: the prefill since the queue was last empty or last measured.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    since: Time,
    tokens: u64,
    prompts: u32,
    /// Whether the time includes anything but prefill, which makes the measurement invalid.
    disturbed: bool,
}

/// A number of prompts and tokens that were prefilled without a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PrefillMeasurement {
    pub(crate) prompts: f64,
    pub(crate) tokens: f64,
    pub(crate) seconds: f64,
}

impl PrefillQueue {
    /// Prompt tokens in the queue: *P* of the default rule.
    pub(crate) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Prompt tokens prefilled so far; only differences mean anything.
    pub(crate) const fn prefilled(&self) -> u64 {
        self.prefilled
    }

    /// Share of the prompts in the queue that the clock retires.
    pub(crate) fn unobserved_share(&self) -> f64 {
        f64::from(self.unobserved) / f64::from(self.len().max(1))
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    pub(crate) const fn needs_clock(&self) -> bool {
        self.unobserved > 0
    }

    /// Adds a prompt at the end. `disturbs` if something other than prefill will delay its first token.
    pub(crate) fn push(
        &mut self,
        now: Time,
        request: RequestId,
        tokens: u32,
        observed: bool,
        disturbs: bool,
    ) {
        if self.queue.is_empty() {
            self.clock = now;
            self.busy = Busy { since: now, tokens: 0, prompts: 0, disturbed: false };
        }
        self.busy.disturbed |= disturbs || !observed;
        self.unobserved += u32::from(!observed);
        self.tokens += u64::from(tokens);
        self.queue.push_back(Prompt { request, tokens, left: (!observed).then_some(f64::from(tokens)) });
    }

    /// Runs the clock up to `now`. A prompt whose first token will be observed blocks those behind it.
    pub(crate) fn run_clock(&mut self, now: Time, tokens_per_second: f64) {
        let mut budget = seconds(now.since(self.clock)) * tokens_per_second;
        self.clock = self.clock.max(now);
        while let Some(Prompt { tokens, left: Some(left), .. }) = self.queue.front_mut() {
            if *left > budget {
                *left -= budget;
                return;
            }
            budget -= *left;
            self.tokens -= u64::from(*tokens);
            self.prefilled += u64::from(*tokens);
            self.unobserved -= 1;
            self.queue.pop_front();
        }
    }

    /// Removes a request whose first token was observed. Returns a measurement if one is complete.
    pub(crate) fn first_token(&mut self, now: Time, request: RequestId) -> Option<PrefillMeasurement> {
        let prompt = self.remove(request)?;
        self.prefilled += u64::from(prompt.tokens);
        self.busy.tokens += u64::from(prompt.tokens);
        self.busy.prompts += 1;
        let elapsed = seconds(now.since(self.busy.since));
        if !self.queue.is_empty() && elapsed < LONGEST_MEASUREMENT {
            return None;
        }
        let Busy { tokens, prompts, disturbed, .. } = self.busy;
        let still_disturbed = disturbed && !self.queue.is_empty();
        self.busy = Busy { since: now, tokens: 0, prompts: 0, disturbed: still_disturbed };
        let tokens = count(tokens);
        (!disturbed && tokens > 0.0 && elapsed > 0.0).then_some(PrefillMeasurement {
            prompts: f64::from(prompts),
            tokens,
            seconds: elapsed,
        })
    }

    /// Removes a request that ended or moved before its first token. How much of its prompt was prefilled is not known.
    pub(crate) fn cancel(&mut self, request: RequestId) {
        if self.remove(request).is_some() {
            self.busy.disturbed = true;
        }
    }

    fn remove(&mut self, request: RequestId) -> Option<Prompt> {
        let position = self.queue.iter().position(|prompt| prompt.request == request)?;
        let prompt = self.queue.remove(position)?;
        self.tokens -= u64::from(prompt.tokens);
        self.unobserved -= u32::from(prompt.left.is_some());
        Some(prompt)
    }

    /// The requests in the queue, for the invariants.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, u32)> {
        self.queue.iter().map(|prompt| (prompt.request, prompt.tokens))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_busy_period_measures_what_was_prefilled_in_it() {
        let mut queue = PrefillQueue::default();
        queue.push(at(0), RequestId(1), 600, true, false);
        queue.push(at(50), RequestId(2), 400, true, false);
        assert_eq!(queue.tokens(), 1_000);
        assert_eq!(queue.first_token(at(60), RequestId(1)), None, "one is still in the queue");
        let measured = queue.first_token(at(100), RequestId(2));
        assert_eq!(measured, Some(PrefillMeasurement { prompts: 2.0, tokens: 1_000.0, seconds: 0.1 }));
        assert_eq!((queue.tokens(), queue.len(), queue.prefilled()), (0, 0, 1_000));
    }

    #[test]
    fn a_cancelled_prompt_invalidates_this_measurement_only() {
        let mut queue = PrefillQueue::default();
        queue.push(at(0), RequestId(1), 600, true, false);
        queue.push(at(0), RequestId(2), 600, true, false);
        queue.cancel(RequestId(1));
        assert_eq!(queue.first_token(at(100), RequestId(2)), None);
        queue.push(at(200), RequestId(3), 600, true, false);
        assert!(queue.first_token(at(300), RequestId(3)).is_some());
    }

    #[test]
    fn the_clock_retires_unobserved_prompts_in_order_and_stops_at_an_observed_one() {
        let mut queue = PrefillQueue::default();
        queue.push(at(0), RequestId(1), 1_000, false, false);
        queue.push(at(0), RequestId(2), 1_000, true, false);
        queue.push(at(0), RequestId(3), 1_000, false, false);
        queue.run_clock(at(50), 10_000.0);
        assert_eq!(queue.tokens(), 3_000, "half of the first is done");
        queue.run_clock(at(400), 10_000.0);
        assert_eq!(queue.tokens(), 2_000, "the second stays until its token is observed");
        queue.first_token(at(400), RequestId(2));
        queue.run_clock(at(450), 10_000.0);
        assert_eq!(queue.tokens(), 1_000);
        queue.run_clock(at(500), 10_000.0);
        assert_eq!((queue.tokens(), queue.len(), queue.needs_clock()), (0, 0, false));
    }

    #[test]
    fn a_clock_that_jumps_back_retires_nothing() {
        let mut queue = PrefillQueue::default();
        queue.push(at(1_000), RequestId(1), 100, false, false);
        queue.run_clock(at(0), 10_000.0);
        queue.run_clock(at(1_005), 10_000.0);
        assert_eq!(queue.tokens(), 100);
        queue.run_clock(at(1_010), 10_000.0);
        assert_eq!(queue.tokens(), 0);
    }
}
