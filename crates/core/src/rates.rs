//! The engines' speeds: prefill rates and step times, learned from running requests.
//!
//! The model has as many parameters as few measurements can determine. All endpoints share one linear step time (seconds
//! per step = base + requests·per-request + context·per-token + prompt tokens in the step·per-token) and one linear prefill
//! time (seconds = prompts·start + tokens·per-token). Each endpoint has two factors on them, one for decoding and one for
//! prefill, since accelerators differ more in one than in the other. A factor is known after seconds of traffic at any
//! load; an endpoint without recent measurements counts as fast as the mean of all.

mod factor;
mod fit;

pub(crate) use factor::Factor;
pub use factor::Source;
use fit::Fit;

use crate::prefill::PrefillMeasurement;
use crate::time::Time;

/// An answer that is this many times as fast as the mean of all endpoints is suspicious.
const SUSPICIOUS_SPEED: f64 = 10.0;
/// Priors: Llama-2-7B on H100, fitted to Vidur's published profiles. They matter until the first responses.
const STEP_PRIOR: [f64; 4] = [6.5e-3, 23e-6, 0.15e-6, 22e-6];
const PREFILL_PRIOR: [f64; 2] = [15e-3, 22e-6];
/// Prior of the uncached prompt tokens per request.
const PROMPT_PRIOR: f64 = 200.0;
/// Prior of the output tokens per request.
const OUTPUT_PRIOR: f64 = 200.0;
/// Prior of the seconds to load an adapter.
const ADAPTER_LOAD_PRIOR: f64 = 1.0;

/// The rates that all endpoints share.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    step: Fit<4>,
    prefill: Fit<2>,
    decode: Factor,
    prompts: Factor,
    prompt: Mean,
    output: Mean,
    adapter_load: Mean,
}

/// The factors of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    /// On the step time.
    pub(crate) decode: Factor,
    /// On the prefill time.
    pub(crate) prefill: Factor,
}

/// A measurement of one stream's decoding at one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeMeasurement {
    /// Output tokens.
    pub(crate) tokens: f64,
    /// Seconds they took.
    pub(crate) seconds: f64,
    /// Requests in the engine.
    pub(crate) requests: f64,
    /// Tokens of context in the engine.
    pub(crate) context: f64,
    /// Prompt tokens prefilled there per output token.
    pub(crate) prefilled: f64,
}

/// A measurement of a non-streaming response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseMeasurement {
    pub(crate) seconds: f64,
    /// Prompt tokens prefilled until its first token: those ahead of it and its own.
    pub(crate) prompt: f64,
    pub(crate) output: f64,
    pub(crate) requests: f64,
    pub(crate) context: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            step: Fit::new(STEP_PRIOR),
            prefill: Fit::new(PREFILL_PRIOR),
            decode: Factor::default(),
            prompts: Factor::default(),
            prompt: Mean::new(PROMPT_PRIOR),
            output: Mean::new(OUTPUT_PRIOR),
            adapter_load: Mean::new(ADAPTER_LOAD_PRIOR),
        }
    }
}

impl Rates {
    /// The rates at one moment.
    pub(crate) fn current(&self, now: Time) -> CurrentRates {
        let [base, per_request, per_context, beside] = self.step.coefficients();
        let [_, per_prompt_token] = self.prefill.coefficients();
        CurrentRates {
            now,
            base,
            // Each request's prompt is prefilled once during its output steps.
            per_request: per_request + beside * self.prompt.mean / self.output.mean.max(1.0),
            per_context,
            per_prompt_token,
            decode: self.decode.value(now, 1.0),
            prefill: self.prompts.value(now, 1.0),
            output: self.output.mean,
            adapter_load: self.adapter_load.mean,
        }
    }

    /// Takes in a measurement of prefill.
    pub(crate) fn prefilled(&mut self, now: Time, speed: &mut Speed, measured: PrefillMeasurement) {
        let terms = [measured.prompts, measured.tokens];
        let expected = self.prefill.predict(terms);
        speed.prefill.observe(now, measured.seconds, expected, Source::Stream);
        self.prompts.observe(now, measured.seconds, expected, Source::Stream);
        let relative = self.current(now).slowness_of_prefill(speed);
        self.prefill.observe(now, terms, measured.seconds / relative);
    }

    /// Takes in a measurement of decoding.
    pub(crate) fn decoded(&mut self, now: Time, speed: &mut Speed, m: DecodeMeasurement, source: Source) {
        let terms = [1.0, m.requests, m.context, m.prefilled];
        let expected = m.tokens * self.step.predict(terms);
        speed.decode.observe(now, m.seconds, expected, source);
        self.decode.observe(now, m.seconds, expected, source);
        if m.tokens > 0.0 {
            let relative = self.current(now).slowness_of_decode(speed);
            self.step.observe(now, terms, m.seconds / m.tokens / relative);
        }
    }

    /// Takes in a non-streaming response: its duration less the estimate of the smaller of prefill and decoding. One that
    /// came suspiciously fast for what it claims teaches nothing about its endpoint: canned answers must not attract requests.
    /// Where all endpoints are that fast, the mean of all follows, and then each.
    pub(crate) fn responded(&mut self, now: Time, speed: &mut Speed, m: ResponseMeasurement) {
        let rates = self.current(now);
        let prefill = self.prefill.predict([1.0, m.prompt]);
        let decode = m.output * rates.line(m.requests, m.context);
        if m.seconds * SUSPICIOUS_SPEED < prefill * rates.prefill + decode * rates.decode {
            let (factor, expected) =
                if decode > prefill { (&mut self.decode, decode) } else { (&mut self.prompts, prefill) };
            factor.observe(now, m.seconds, expected, Source::Response);
            return;
        }
        if decode > prefill {
            let measured = m.seconds - prefill * speed.prefill.value(now, rates.prefill);
            speed.decode.observe(now, measured, decode, Source::Response);
            self.decode.observe(now, measured, decode, Source::Response);
        } else {
            let measured = m.seconds - decode * speed.decode.value(now, rates.decode);
            speed.prefill.observe(now, measured, prefill, Source::Response);
            self.prompts.observe(now, measured, prefill, Source::Response);
        }
    }

    /// Takes in prompt tokens and prefill seconds from the engine's counters.
    pub(crate) fn scraped_prefill(&mut self, now: Time, speed: &mut Speed, tokens: f64, seconds: f64) {
        let [_, per_token] = self.prefill.coefficients();
        speed.prefill.observe(now, seconds, tokens * per_token, Source::Scrape);
        self.prompts.observe(now, seconds, tokens * per_token, Source::Scrape);
    }

    /// Takes in the uncached prompt tokens of a request that was served.
    pub(crate) fn prompted_with(&mut self, prompt_tokens: u32) {
        self.prompt.add(f64::from(prompt_tokens));
    }

    /// Takes in the output tokens of a request that ended.
    pub(crate) fn ended_with(&mut self, output_tokens: u32) {
        self.output.add(f64::from(output_tokens));
    }

    /// Takes in the seconds by which an adapter load delayed a first token.
    pub(crate) fn adapter_loaded(&mut self, seconds: f64) {
        self.adapter_load.add(seconds.clamp(0.0, 60.0));
    }

    /// Expected seconds from dispatch to first token at an endpoint that prefills this number of prompt tokens first.
    pub(crate) fn first_token_after(&self, now: Time, speed: &Speed, tokens: f64) -> f64 {
        self.prefill.predict([1.0, tokens]) * speed.prefill.value(now, self.prompts.value(now, 1.0))
    }
}

/// The rates at one moment, computed once per decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentRates {
    pub(crate) now: Time,
    pub(crate) base: f64,
    /// The prefill of its prompt included, spread over its steps.
    pub(crate) per_request: f64,
    pub(crate) per_context: f64,
    pub(crate) per_prompt_token: f64,
    pub(crate) decode: f64,
    pub(crate) prefill: f64,
    /// Running mean of the output length: *Ô*.
    pub(crate) output: f64,
    pub(crate) adapter_load: f64,
}

impl CurrentRates {
    /// *1/R* of an endpoint.
    pub(crate) fn seconds_per_prompt_token(&self, speed: &Speed) -> f64 {
        self.per_prompt_token * speed.prefill.value(self.now, self.prefill)
    }

    /// *s* of an endpoint with this number of requests and tokens of context.
    pub(crate) fn step(&self, speed: &Speed, requests: f64, context: f64) -> f64 {
        self.line(requests, context) * speed.decode.value(self.now, self.decode)
    }

    /// The part of *s* that does not depend on load.
    pub(crate) fn empty_step(&self, speed: &Speed) -> f64 {
        self.base * speed.decode.value(self.now, self.decode)
    }

    /// The same for an endpoint of mean speed.
    pub(crate) fn empty_step_of_fleet(&self) -> f64 {
        self.base * self.decode
    }

    fn line(&self, requests: f64, context: f64) -> f64 {
        self.base + requests * self.per_request + context * self.per_context
    }

    /// Ratio of the endpoint's decode times to the mean of all.
    pub(crate) fn slowness_of_decode(&self, speed: &Speed) -> f64 {
        speed.decode.value(self.now, self.decode) / self.decode
    }

    /// Ratio of the endpoint's prefill times to the mean of all.
    pub(crate) fn slowness_of_prefill(&self, speed: &Speed) -> f64 {
        speed.prefill.value(self.now, self.prefill) / self.prefill
    }
}

/// A running mean over about the last few hundred values that starts at a prior. A single value moves it by a few percent
/// at most once it has as many: counts come from engines, and from clients through them.
#[derive(Clone, Copy, Debug)]
struct Mean {
    mean: f64,
    count: f64,
}

impl Mean {
    /// Weight of the prior, in values.
    const PRIOR: f64 = 4.0;
    /// Upper bound of the count, so that old values fade.
    const MAX_COUNT: f64 = 512.0;
    /// A value counts as at most this multiple of the mean. Of outputs and prompts as they are, fewer than one in a thousand
    /// is longer.
    const MAX_RATIO: f64 = 16.0;

    const fn new(prior: f64) -> Self {
        Self { mean: prior, count: Self::PRIOR }
    }

    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count = (self.count + 1.0).min(Self::MAX_COUNT);
            self.mean += (value.min(self.mean.max(1.0) * Self::MAX_RATIO) - self.mean) / self.count;
        }
    }
}
