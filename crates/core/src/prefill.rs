//! The prompts that were sent to an endpoint and are not prefilled yet.

use std::collections::VecDeque;

use crate::cast::count;
use crate::ids::RequestId;
use crate::time::{Time, seconds};

/// A busy period is cut into measurements of at most this many seconds.
const LONGEST_MEASUREMENT: f64 = 1.0;

/// Prompts in the order they were sent. One whose first token can be seen leaves when it is seen. The others are
/// retired by a clock that prefills them in order at the endpoint's rate, since engines take prompts in order of
/// arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrefillLine {
    line: VecDeque<Prompt>,
    tokens: u64,
    /// Entries the clock retires.
    unseen: u32,
    /// Up to when the clock has run.
    clock: Time,
    /// Prompt tokens that ever left the line as prefilled.
    prefilled: u64,
    busy: Busy,
}

#[derive(Clone, Copy, Debug)]
struct Prompt {
    request: RequestId,
    tokens: u32,
    /// Tokens the clock has not retired; `None` where the first token will be seen.
    left: Option<f64>,
}

/// A measurement under way: what was prefilled since the line was last empty or last measured.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    since: Time,
    tokens: u64,
    prompts: u32,
    /// Whether something other than prefill was in the time: it measures nothing then.
    spoilt: bool,
}

/// So many prompts with so many tokens were prefilled in so many seconds, without a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PrefillMeasurement {
    pub(crate) prompts: f64,
    pub(crate) tokens: f64,
    pub(crate) seconds: f64,
}

impl PrefillLine {
    /// Prompt tokens in the line: *P* of the default placement.
    pub(crate) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The share of prompts in the line whose first token nobody will see, so that the clock guesses.
    pub(crate) fn unseen_share(&self) -> f64 {
        f64::from(self.unseen) / f64::from(self.len().max(1))
    }

    /// Prompts in the line.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.line.len()).unwrap_or(u32::MAX)
    }

    /// Prompt tokens prefilled so far; only differences mean anything.
    pub(crate) const fn prefilled(&self) -> u64 {
        self.prefilled
    }

    /// Whether the clock has something to retire.
    pub(crate) const fn needs_clock(&self) -> bool {
        self.unseen > 0
    }

    /// Adds a prompt at the end. `spoils` where its first token will be late for a reason other than prefill.
    pub(crate) fn push(&mut self, now: Time, request: RequestId, tokens: u32, seen: bool, spoils: bool) {
        if self.line.is_empty() {
            self.clock = now;
            self.busy = Busy { since: now, tokens: 0, prompts: 0, spoilt: false };
        }
        self.busy.spoilt |= spoils || !seen;
        self.unseen += u32::from(!seen);
        self.tokens += u64::from(tokens);
        self.line.push_back(Prompt { request, tokens, left: (!seen).then_some(f64::from(tokens)) });
    }

    /// Runs the clock to `now`. A prompt whose first token will be seen holds up those behind it.
    pub(crate) fn run_clock(&mut self, now: Time, tokens_per_second: f64) {
        let mut budget = seconds(now.since(self.clock)) * tokens_per_second;
        self.clock = self.clock.max(now);
        while let Some(Prompt { tokens, left: Some(left), .. }) = self.line.front_mut() {
            if *left > budget {
                *left -= budget;
                return;
            }
            budget -= *left;
            self.tokens -= u64::from(*tokens);
            self.prefilled += u64::from(*tokens);
            self.unseen -= 1;
            self.line.pop_front();
        }
    }

    /// The first token of a request was seen. Returns a measurement where one is complete.
    pub(crate) fn first_token(&mut self, now: Time, request: RequestId) -> Option<PrefillMeasurement> {
        let prompt = self.remove(request)?;
        self.prefilled += u64::from(prompt.tokens);
        self.busy.tokens += u64::from(prompt.tokens);
        self.busy.prompts += 1;
        let elapsed = seconds(now.since(self.busy.since));
        if !self.line.is_empty() && elapsed < LONGEST_MEASUREMENT {
            return None;
        }
        let Busy { tokens, prompts, spoilt, .. } = self.busy;
        let still_spoilt = spoilt && !self.line.is_empty();
        self.busy = Busy { since: now, tokens: 0, prompts: 0, spoilt: still_spoilt };
        let tokens = count(tokens);
        (!spoilt && tokens > 0.0 && elapsed > 0.0).then_some(PrefillMeasurement {
            prompts: f64::from(prompts),
            tokens,
            seconds: elapsed,
        })
    }

    /// A request ended or went elsewhere before its first token: what the engine did for it is not known.
    pub(crate) fn give_up(&mut self, request: RequestId) {
        if self.remove(request).is_some() {
            self.busy.spoilt = true;
        }
    }

    fn remove(&mut self, request: RequestId) -> Option<Prompt> {
        let position = self.line.iter().position(|prompt| prompt.request == request)?;
        let prompt = self.line.remove(position)?;
        self.tokens -= u64::from(prompt.tokens);
        self.unseen -= u32::from(prompt.left.is_some());
        Some(prompt)
    }

    /// The requests in the line, for the invariants.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, u32)> {
        self.line.iter().map(|prompt| (prompt.request, prompt.tokens))
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
        let mut line = PrefillLine::default();
        line.push(at(0), RequestId(1), 600, true, false);
        line.push(at(50), RequestId(2), 400, true, false);
        assert_eq!(line.tokens(), 1_000);
        assert_eq!(line.first_token(at(60), RequestId(1)), None, "one is still in the line");
        let measured = line.first_token(at(100), RequestId(2));
        assert_eq!(measured, Some(PrefillMeasurement { prompts: 2.0, tokens: 1_000.0, seconds: 0.1 }));
        assert_eq!((line.tokens(), line.len(), line.prefilled()), (0, 0, 1_000));
    }

    #[test]
    fn a_prompt_given_up_spoils_the_measurement_and_only_that() {
        let mut line = PrefillLine::default();
        line.push(at(0), RequestId(1), 600, true, false);
        line.push(at(0), RequestId(2), 600, true, false);
        line.give_up(RequestId(1));
        assert_eq!(line.first_token(at(100), RequestId(2)), None);
        line.push(at(200), RequestId(3), 600, true, false);
        assert!(line.first_token(at(300), RequestId(3)).is_some());
    }

    #[test]
    fn the_clock_retires_unseen_prompts_in_order_and_waits_behind_a_seen_one() {
        let mut line = PrefillLine::default();
        line.push(at(0), RequestId(1), 1_000, false, false);
        line.push(at(0), RequestId(2), 1_000, true, false);
        line.push(at(0), RequestId(3), 1_000, false, false);
        line.run_clock(at(50), 10_000.0);
        assert_eq!(line.tokens(), 3_000, "half of the first is done");
        line.run_clock(at(400), 10_000.0);
        assert_eq!(line.tokens(), 2_000, "the second is held until its token is seen");
        line.first_token(at(400), RequestId(2));
        line.run_clock(at(450), 10_000.0);
        assert_eq!(line.tokens(), 1_000);
        line.run_clock(at(500), 10_000.0);
        assert_eq!((line.tokens(), line.len(), line.needs_clock()), (0, 0, false));
    }

    #[test]
    fn a_clock_that_jumps_back_retires_nothing() {
        let mut line = PrefillLine::default();
        line.push(at(1_000), RequestId(1), 100, false, false);
        line.run_clock(at(0), 10_000.0);
        line.run_clock(at(1_005), 10_000.0);
        assert_eq!(line.tokens(), 100);
        line.run_clock(at(1_010), 10_000.0);
        assert_eq!(line.tokens(), 0);
    }
}
