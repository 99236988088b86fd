//! How fast the engines are: prefill rates and step lines, learned while requests run.
//!
//! What can be told apart from few measurements decides the form. The fleet shares one step line (seconds per step =
//! base + requests·per-request + context·per-token + prompt tokens in the step·per-token) and one prefill line
//! (seconds = prompts·start + tokens·per-token); each endpoint has two factors on them, one for decoding and one for prefill, since accelerators differ more in the
//! one than in the other. A factor is known after seconds of traffic at any load, and an endpoint without
//! measurements, or with old ones, is taken to be as fast as the fleet.

mod factor;
mod fit;

pub(crate) use factor::Factor;
pub use factor::Source;
use fit::Fit;

use crate::prefill::PrefillMeasurement;
use crate::time::Time;

/// Priors: Llama-2-7B on H100, fitted to Vidur's published profiles. They matter until the first replies.
const STEP_PRIOR: [f64; 4] = [6.5e-3, 23e-6, 0.15e-6, 22e-6];
const PREFILL_PRIOR: [f64; 2] = [15e-3, 22e-6];
/// Prompt tokens to prefill per request before any are counted.
const PROMPT_PRIOR: f64 = 200.0;
/// Output tokens per request before any are counted.
const OUTPUT_PRIOR: f64 = 200.0;
/// Seconds to load an adapter before any load was seen.
const ADAPTER_LOAD_PRIOR: f64 = 1.0;

/// What the fleet shares.
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

/// What an endpoint has of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    /// On the step line.
    pub(crate) decode: Factor,
    /// On the prefill line.
    pub(crate) prefill: Factor,
}

/// A stretch of decoding at one endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeMeasurement {
    /// Output tokens of one stream.
    pub(crate) tokens: f64,
    /// Seconds they took.
    pub(crate) seconds: f64,
    /// Requests in the engine.
    pub(crate) requests: f64,
    /// Tokens of context in the engine.
    pub(crate) context: f64,
    /// Prompt tokens prefilled beside each of those output tokens.
    pub(crate) prefilled: f64,
}

/// A reply that came as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyMeasurement {
    pub(crate) seconds: f64,
    /// Prompt tokens that had to be prefilled, those ahead of it included.
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
    /// The figures of this moment, for many endpoints.
    pub(crate) fn current(&self, now: Time) -> CurrentRates {
        let [base, per_request, per_context, beside] = self.step.coefficients();
        let [_, per_prompt_token] = self.prefill.coefficients();
        CurrentRates {
            now,
            base,
            // Each request in the batch brings its prompt once in its life of so many steps.
            per_request: per_request + beside * self.prompt.value() / self.output.value().max(1.0),
            per_context,
            per_prompt_token,
            decode: self.decode.value(now, 1.0),
            prefill: self.prompts.value(now, 1.0),
            output: self.output.value(),
            adapter_load: self.adapter_load.value(),
        }
    }

    /// Prompts were prefilled without a pause.
    pub(crate) fn prefilled(&mut self, now: Time, speed: &mut Speed, measured: PrefillMeasurement) {
        let terms = [measured.prompts, measured.tokens];
        let expected = self.prefill.predict(terms);
        speed.prefill.observe(now, measured.seconds, expected, Source::Stream);
        self.prompts.observe(now, measured.seconds, expected, Source::Stream);
        let relative = self.current(now).slowness_of_prefill(speed);
        self.prefill.observe(now, terms, measured.seconds / relative);
    }

    /// Output tokens came.
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

    /// A reply came as a whole. Its duration is a sum of both; what is known of the lesser part is taken off.
    pub(crate) fn replied(&mut self, now: Time, speed: &mut Speed, m: ReplyMeasurement) {
        let rates = self.current(now);
        let prefill = self.prefill.predict([1.0, m.prompt]);
        let decode = m.output * rates.line(m.requests, m.context);
        if decode > prefill {
            let measured = m.seconds - prefill * speed.prefill.value(now, rates.prefill);
            speed.decode.observe(now, measured, decode, Source::Reply);
            self.decode.observe(now, measured, decode, Source::Reply);
        } else {
            let measured = m.seconds - decode * speed.decode.value(now, rates.decode);
            speed.prefill.observe(now, measured, prefill, Source::Reply);
            self.prompts.observe(now, measured, prefill, Source::Reply);
        }
    }

    /// The engine's page says that so many prompt tokens took so many seconds.
    pub(crate) fn scraped_prefill(&mut self, now: Time, speed: &mut Speed, tokens: f64, seconds: f64) {
        let [_, per_token] = self.prefill.coefficients();
        speed.prefill.observe(now, seconds, tokens * per_token, Source::Scrape);
        self.prompts.observe(now, seconds, tokens * per_token, Source::Scrape);
    }

    /// A request was sent with so many prompt tokens to prefill.
    pub(crate) fn sent_with(&mut self, prompt_tokens: u32) {
        self.prompt.add(f64::from(prompt_tokens));
    }

    /// A request ended with so many output tokens.
    pub(crate) fn ended_with(&mut self, output_tokens: u32) {
        self.output.add(f64::from(output_tokens));
    }

    /// A first token came after an adapter was loaded, this much later than it would have without.
    pub(crate) fn adapter_loaded(&mut self, seconds: f64) {
        self.adapter_load.add(seconds.clamp(0.0, 60.0));
    }

    /// Seconds from dispatch to first token for so many prompt tokens at an endpoint.
    pub(crate) fn first_token_after(&self, now: Time, speed: &Speed, tokens: f64) -> f64 {
        self.prefill.predict([1.0, tokens]) * speed.prefill.value(now, self.prompts.value(now, 1.0))
    }
}

/// The rates at one moment: what a decision over many endpoints needs, worked out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentRates {
    pub(crate) now: Time,
    pub(crate) base: f64,
    /// The share of prompts in each step included.
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

    /// *s* of an endpoint with so many requests and tokens of context.
    pub(crate) fn step(&self, speed: &Speed, requests: f64, context: f64) -> f64 {
        self.line(requests, context) * speed.decode.value(self.now, self.decode)
    }

    /// The part of *s* that is there without any load.
    pub(crate) fn empty_step(&self, speed: &Speed) -> f64 {
        self.base * speed.decode.value(self.now, self.decode)
    }

    /// The same, on an endpoint as fast as the fleet.
    pub(crate) fn empty_step_of_fleet(&self) -> f64 {
        self.base * self.decode
    }

    fn line(&self, requests: f64, context: f64) -> f64 {
        self.base + requests * self.per_request + context * self.per_context
    }

    /// How much slower than the fleet an endpoint decodes.
    pub(crate) fn slowness_of_decode(&self, speed: &Speed) -> f64 {
        speed.decode.value(self.now, self.decode) / self.decode
    }

    /// How much slower than the fleet an endpoint prefills.
    pub(crate) fn slowness_of_prefill(&self, speed: &Speed) -> f64 {
        speed.prefill.value(self.now, self.prefill) / self.prefill
    }
}

/// A running mean over about the last few hundred values, which starts at a prior.
#[derive(Clone, Copy, Debug)]
struct Mean {
    mean: f64,
    count: f64,
}

impl Mean {
    /// What the prior weighs, in values.
    const PRIOR: f64 = 4.0;
    /// Values are weighed as if there never were more.
    const MOST: f64 = 512.0;

    const fn new(prior: f64) -> Self {
        Self { mean: prior, count: Self::PRIOR }
    }

    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count = (self.count + 1.0).min(Self::MOST);
            self.mean += (value - self.mean) / self.count;
        }
    }

    const fn value(&self) -> f64 {
        self.mean
    }
}
