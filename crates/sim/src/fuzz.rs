//! Shapes of load to search for one on which a policy does badly.
//!
//! A [`Shape`] is a point in a space of fleets and workloads; it can be drawn, changed a little, and written as an
//! experiment. Who searches decides which shapes to keep: the search itself needs nothing but ratios.

use std::fmt::Write as _;

use pointsman_core::Rng;

/// A fleet and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    replicas: u32,
    engine: Engine,
    /// How many engines are slower than the others, and how much.
    slow: (u32, f64),
    /// Offered work over what the fleet can do, estimated.
    load: f64,
    /// Deviation of a gap between requests over its mean.
    cv: f64,
    /// Groups of prompts that begin alike; none where 0.
    groups: u32,
    zipf: f64,
    /// Tokens of a group's common head.
    head: u32,
    /// Mean tokens of what a prompt has of its own.
    prompt: u32,
    /// Deviation over mean of prompt and output.
    spread: f64,
    /// Mean tokens of the answer.
    output: u32,
    /// Share of requests whose prompt is many times longer.
    giants: f64,
    /// Share of replies that are streams.
    streamed: f64,
    /// Milliseconds between two readings of an engine's gauges.
    scrape: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// Llama-2-7B on an H100: a cache that is full soon.
    Mha,
    /// Llama-3-8B on an H100: four times as many tokens fit.
    Gqa,
}

impl Engine {
    const fn profile(self) -> &'static str {
        match self {
            Self::Mha => "llama-2-7b-h100",
            Self::Gqa => "long",
        }
    }

    const fn longest(self) -> u32 {
        match self {
            Self::Mha => 4_096,
            Self::Gqa => 16_384,
        }
    }

    /// Tokens that fit its cache, and nanoseconds to read one in a step.
    const fn cache(self) -> (f64, f64) {
        match self {
            Self::Mha => (118_400.0, 165.0),
            Self::Gqa => (448_000.0, 41.3),
        }
    }
}

/// How many times longer a giant's prompt is.
const GIANT: u32 = 20;
/// Share of common heads that are taken to be missed where the fleet's capacity is estimated.
const MISSED: f64 = 0.15;
/// Requests of a run, about: enough for a p90.
const REQUESTS: f64 = 8_000.0;

impl Shape {
    /// One at random.
    #[must_use]
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut shape = Self {
            replicas: 4,
            engine: Engine::Gqa,
            slow: (0, 1.0),
            load: 0.8,
            cv: 1.0,
            groups: 0,
            zipf: 0.0,
            head: 1_000,
            prompt: 500,
            spread: 1.0,
            output: 200,
            giants: 0.0,
            streamed: 1.0,
            scrape: 2_000,
        };
        for trait_of_it in 0..Self::TRAITS {
            shape.redraw(trait_of_it, rng);
        }
        shape.possible()
    }

    /// The same with one or two of its traits drawn anew.
    #[must_use]
    pub fn mutated(&self, rng: &mut Rng) -> Self {
        let mut shape = *self;
        for _ in 0..=rng.below(2) {
            shape.redraw(rng.below(Self::TRAITS), rng);
        }
        shape.possible()
    }

    const TRAITS: usize = 13;

    fn redraw(&mut self, which: usize, rng: &mut Rng) {
        match which {
            0 => self.replicas = [2, 3, 4, 6, 8, 10, 16][rng.below(7)],
            1 => self.engine = if rng.below(3) == 0 { Engine::Mha } else { Engine::Gqa },
            2 => {
                let slower = rng.below(2) == 0;
                self.slow = if slower { (1, rounded(1.2 + 2.8 * unit(rng))) } else { (0, 1.0) };
            }
            3 => self.load = rounded(0.3 + 0.75 * unit(rng)),
            4 => self.cv = [1.0, 1.0, 3.0, 6.0, 13.0][rng.below(5)],
            5 => self.groups = [0, 1, 10, 40, 100, 400, 1_000, 2_000][rng.below(8)],
            6 => self.zipf = [0.0, 0.5, 1.0, 1.5][rng.below(4)],
            7 => self.head = [200, 500, 1_000, 2_000, 4_000, 6_000, 10_000][rng.below(7)],
            8 => self.prompt = [30, 100, 300, 800, 2_000][rng.below(5)],
            9 => self.spread = [0.2, 0.7, 1.5][rng.below(3)],
            10 => self.output = [5, 20, 50, 150, 300, 600, 1_200][rng.below(7)],
            11 => self.giants = [0.0, 0.0, 0.02, 0.1][rng.below(4)],
            _ => {
                self.streamed = [1.0, 1.0, 0.0][rng.below(3)];
                self.scrape = [200, 2_000, 2_000, 10_000][rng.below(4)];
            }
        }
    }

    /// Fits lengths to what the model allows.
    fn possible(mut self) -> Self {
        let longest = self.engine.longest();
        self.output = self.output.min(longest / 8);
        self.prompt = self.prompt.min(longest / 8);
        self.head = if self.groups == 0 { 0 } else { self.head.max(200).min(longest / 2) };
        self.slow.0 = self.slow.0.min(self.replicas - 1);
        self
    }

    /// Requests per second: the load times an estimate of what the fleet can do, from what an engine's steps cost.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let (fits, per_context) = self.engine.cache();
        let giants = 1.0 + self.giants * f64::from(GIANT - 1);
        let prompt = f64::from(self.prompt) * giants;
        let (head, output) = (f64::from(self.head), f64::from(self.output));
        let context = head + prompt + output / 2.0;
        let batch = (fits / context).clamp(1.0, 256.0);
        let step = 7e-3 + batch * (23e-6 + context * per_context * 1e-9);
        let seconds = (prompt + MISSED * head) * 21e-6 + output * step / batch;
        let engines = f64::from(self.replicas - self.slow.0) + f64::from(self.slow.0) / self.slow.1;
        rounded(self.load * engines / seconds).max(0.01)
    }

    /// Seconds of arrivals.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on both sides")]
        let seconds = (REQUESTS / self.rate()).clamp(30.0, 300.0) as u32;
        seconds
    }

    /// The experiment, with these policies.
    #[must_use]
    pub fn yaml(&self, title: &str, policies: &[&str]) -> String {
        let Self { replicas, engine, slow, cv, groups, zipf, head, scrape, .. } = self;
        let (profile, seconds) = (engine.profile(), self.seconds());
        let mut text = format!(
            "title: {title}\n\
             description: Found by a search for shapes of load on which a policy does badly.\n"
        );
        if *engine == Engine::Gqa {
            text.push_str("profiles:\n  long: {base: llama-3-8b-h100, maxModelLen: 16384}\n");
        }
        let _ = writeln!(text, "fleet:\n  - {{profile: {profile}, count: {}}}", replicas - slow.0);
        if slow.0 > 0 {
            let _ = writeln!(text, "  - {{profile: {profile}, count: {}, slowness: {}}}", slow.0, slow.1);
        }
        text.push_str("workload:\n");
        if *cv > 1.0 {
            let _ = writeln!(text, "  arrivals: {{kind: gamma, cv: {cv}}}");
        }
        text.push_str("  classes:\n");
        let prefixes = match groups {
            0 => String::new(),
            1 => format!("      prefixes: {{groups: 1, tokens: {head}}}\n"),
            _ => format!("      prefixes: {{groups: {groups}, zipf: {zipf}, tokens: {head}}}\n"),
        };
        self.class(&mut text, 1.0 - self.giants, self.prompt, &prefixes);
        if self.giants > 0.0 {
            self.class(&mut text, self.giants, self.giant(), "");
        }
        // A cut that cuts nothing is a mistake. Lengths go up to ten deviations above their mean.
        let most = |mean: u32| f64::from(mean) + 10.0 * rounded(f64::from(mean) * self.spread);
        let giant = if self.giants > 0.0 { self.giant() } else { 0 };
        let longest = most(self.output) + f64::max(f64::from(*head) + most(self.prompt), most(giant));
        if longest > f64::from(engine.longest()) {
            let _ = writeln!(text, "  cutAt: {}", engine.longest());
        }
        let _ =
            writeln!(text, "information: {{scrapeEvery: {scrape}ms}}\npolicies: [{}]", policies.join(", "));
        let _ = writeln!(
            text,
            "rates: [{}]\nduration: {seconds}s\nwarmUp: {}s\ndrain: 1200s",
            self.rate(),
            seconds / 4
        );
        text
    }

    /// Mean tokens of a giant's prompt.
    fn giant(&self) -> u32 {
        (self.prompt * GIANT).min(self.engine.longest() / 2)
    }

    fn class(&self, text: &mut String, weight: f64, prompt: u32, prefixes: &str) {
        let lengths = |mean: u32| {
            let mean = f64::from(mean);
            format!("{{kind: lognormal, mean: {mean}, sd: {}}}", rounded(mean * self.spread))
        };
        let (prompt, output) = (lengths(prompt), lengths(self.output));
        let _ =
            writeln!(text, "    - weight: {weight}\n      lengths: {{prompt: {prompt}, output: {output}}}");
        text.push_str(prefixes);
        if self.streamed < 1.0 {
            let _ = writeln!(text, "      streamed: {}", self.streamed);
        }
    }
}

/// To two digits behind the point, so that what is written is what was run.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use pointsman_config::SourceText;

    use super::*;
    use crate::experiment;

    #[test]
    fn every_shape_is_an_experiment() {
        let mut rng = Rng::seeded(1);
        let mut shape = Shape::drawn(&mut rng);
        for round in 0..300 {
            shape = if round % 10 == 0 { Shape::drawn(&mut rng) } else { shape.mutated(&mut rng) };
            let text = shape.yaml("a shape", &["pointsman", "round-robin"]);
            let source = SourceText::new("shape.yaml", text.as_str());
            if let Err(problems) = experiment::load(&source, &|_: &str| Err("no files here".to_owned())) {
                panic!("{problems:?}\n{text}");
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_shapes() {
        let shapes = |seed| {
            let mut rng = Rng::seeded(seed);
            (0..20).map(|_| Shape::drawn(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(shapes(7), shapes(7));
        assert_ne!(shapes(7), shapes(8));
    }
}
