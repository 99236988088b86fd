//! Random fleets and workloads, for a search for those on which a placement does badly.
//!
//! A [`FuzzCase`] is a point in a space of fleets and workloads. It can be drawn, mutated, and written as an experiment. The
//! caller decides which cases to keep.

use std::fmt::Write as _;

use pointsman_core::Rng;

/// A fleet and its workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FuzzCase {
    replicas: u32,
    engine: Engine,
    /// Number of slow engines and their slowness.
    slow: (u32, f64),
    /// Offered load over the fleet's estimated capacity.
    load: f64,
    /// Coefficient of variation of the gaps between arrivals.
    cv: f64,
    /// Number of prefix groups; 0 for none.
    groups: u32,
    zipf: f64,
    /// Tokens of a group's shared prefix.
    prefix: u32,
    /// Mean tokens of a prompt without its shared prefix.
    prompt: u32,
    /// Coefficient of variation of prompt and output lengths.
    spread: f64,
    /// Mean output tokens.
    output: u32,
    /// Share of requests with a long prompt.
    long_share: f64,
    /// Share of streamed responses.
    streamed: f64,
    /// Scrape interval in milliseconds.
    scrape: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// Llama-2-7B on an H100: multi-head attention, a small cache in tokens.
    Mha,
    /// Llama-3-8B on an H100: grouped-query attention, four times as many tokens.
    Gqa,
}

impl Engine {
    /// Name of the profile, and most tokens of a request.
    const fn profile(self) -> (&'static str, u32) {
        match self {
            Self::Mha => ("llama-2-7b-h100", 4_096),
            Self::Gqa => ("long", 16_384),
        }
    }

    /// Capacity of the KV cache in tokens, and nanoseconds to read one of them in a step.
    const fn cache(self) -> (f64, f64) {
        match self {
            Self::Mha => (118_400.0, 165.0),
            Self::Gqa => (448_000.0, 41.3),
        }
    }
}

/// Length of a long prompt over the mean of the others.
const LONG_FACTOR: u32 = 20;
/// Assumed share of prefix-cache misses in the estimate of the fleet's capacity.
const MISS_SHARE: f64 = 0.15;
/// Approximate requests of a run, enough for a p90.
const REQUESTS: f64 = 8_000.0;

impl FuzzCase {
    /// Draws a case.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let mut case = Self {
            replicas: 4,
            engine: Engine::Gqa,
            slow: (0, 1.0),
            load: 0.8,
            cv: 1.0,
            groups: 0,
            zipf: 0.0,
            prefix: 1_000,
            prompt: 500,
            spread: 1.0,
            output: 200,
            long_share: 0.0,
            streamed: 1.0,
            scrape: 2_000,
        };
        for dimension in 0..Self::DIMENSIONS {
            case.resample(dimension, rng);
        }
        case.clamped()
    }

    /// A copy with one or two dimensions drawn anew.
    #[must_use]
    pub fn mutated(&self, rng: &mut Rng) -> Self {
        let mut case = *self;
        for _ in 0..=rng.below(2) {
            case.resample(rng.below(Self::DIMENSIONS), rng);
        }
        case.clamped()
    }

    const DIMENSIONS: usize = 13;

    fn resample(&mut self, which: usize, rng: &mut Rng) {
        match which {
            0 => self.replicas = [2, 3, 4, 6, 8, 10, 16][rng.below(7)],
            1 => self.engine = if rng.below(3) == 0 { Engine::Mha } else { Engine::Gqa },
            2 => {
                let slower = rng.below(2) == 0;
                self.slow = if slower { (1, rounded(1.2 + 2.8 * rng.unit())) } else { (0, 1.0) };
            }
            3 => self.load = rounded(0.3 + 0.75 * rng.unit()),
            4 => self.cv = [1.0, 1.0, 3.0, 6.0, 13.0][rng.below(5)],
            5 => self.groups = [0, 1, 10, 40, 100, 400, 1_000, 2_000][rng.below(8)],
            6 => self.zipf = [0.0, 0.5, 1.0, 1.5][rng.below(4)],
            7 => self.prefix = [200, 500, 1_000, 2_000, 4_000, 6_000, 10_000][rng.below(7)],
            8 => self.prompt = [30, 100, 300, 800, 2_000][rng.below(5)],
            9 => self.spread = [0.2, 0.7, 1.5][rng.below(3)],
            10 => self.output = [5, 20, 50, 150, 300, 600, 1_200][rng.below(7)],
            11 => self.long_share = [0.0, 0.0, 0.02, 0.1][rng.below(4)],
            _ => {
                self.streamed = [1.0, 1.0, 0.0][rng.below(3)];
                self.scrape = [200, 2_000, 2_000, 10_000][rng.below(4)];
            }
        }
    }

    /// Clamps lengths to the limits of the model.
    fn clamped(mut self) -> Self {
        let (_, longest) = self.engine.profile();
        self.output = self.output.min(longest / 8);
        self.prompt = self.prompt.min(longest / 8);
        self.prefix = if self.groups == 0 { 0 } else { self.prefix.max(200).min(longest / 2) };
        self.slow.0 = self.slow.0.min(self.replicas - 1);
        self
    }

    /// Requests per second: the load times an estimate of the fleet's capacity from the engines' step times.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let (fits, per_context) = self.engine.cache();
        let long_share = 1.0 + self.long_share * f64::from(LONG_FACTOR - 1);
        let prompt = f64::from(self.prompt) * long_share;
        let (prefix, output) = (f64::from(self.prefix), f64::from(self.output));
        let context = prefix + prompt + output / 2.0;
        let batch = (fits / context).clamp(1.0, 256.0);
        let step = 7e-3 + batch * (23e-6 + context * per_context * 1e-9);
        let seconds = (prompt + MISS_SHARE * prefix) * 21e-6 + output * step / batch;
        let engines = f64::from(self.replicas - self.slow.0) + f64::from(self.slow.0) / self.slow.1;
        rounded(self.load * engines / seconds).max(0.01)
    }

    /// Length of the arrival period in seconds.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        (REQUESTS / self.rate()).clamp(30.0, 300.0) as u32
    }

    /// The experiment with these placements.
    #[must_use]
    pub fn yaml(&self, title: &str, placements: &[&str]) -> String {
        let Self { replicas, engine, slow, cv, groups, zipf, prefix, scrape, .. } = self;
        let ((profile, most_tokens), seconds) = (engine.profile(), self.seconds());
        let mut text = format!(
            "title: {title}\n\
             description: Found by a search for workloads on which a placement does badly.\n"
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
            1 => format!("      prefixes: {{groups: 1, tokens: {prefix}}}\n"),
            _ => format!("      prefixes: {{groups: {groups}, zipf: {zipf}, tokens: {prefix}}}\n"),
        };
        self.class(&mut text, 1.0 - self.long_share, self.prompt, &prefixes);
        if self.long_share > 0.0 {
            self.class(&mut text, self.long_share, self.long_prompt(), "");
        }
        // A cutAt without effect is a mistake. Lengths reach up to ten standard deviations above their mean.
        let most = |mean: u32| f64::from(mean) + 10.0 * rounded(f64::from(mean) * self.spread);
        let long_prompt = if self.long_share > 0.0 { self.long_prompt() } else { 0 };
        let longest = most(self.output) + f64::max(f64::from(*prefix) + most(self.prompt), most(long_prompt));
        if longest > f64::from(most_tokens) {
            let _ = writeln!(text, "  cutAt: {most_tokens}");
        }
        let _ = writeln!(text, "information: {{scrapeEvery: {scrape}ms}}");
        let _ = writeln!(text, "placements: [{}]\nrates: [{}]", placements.join(", "), self.rate());
        let _ = writeln!(text, "duration: {seconds}s\nwarmUp: {}s\ndrain: 1200s", seconds / 4);
        text
    }

    /// Mean tokens of a long prompt.
    fn long_prompt(&self) -> u32 {
        (self.prompt * LONG_FACTOR).min(self.engine.profile().1 / 2)
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

/// Rounds to two decimals, so that the YAML describes exactly the case that was run.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use pointsman_yaml::SourceText;

    use super::*;
    use crate::experiment;

    #[test]
    fn every_case_is_a_valid_experiment() {
        let mut rng = Rng::seeded(1);
        let mut case = FuzzCase::random(&mut rng);
        for round in 0..300 {
            case = if round % 10 == 0 { FuzzCase::random(&mut rng) } else { case.mutated(&mut rng) };
            let text = case.yaml("a case", &["pointsman", "round-robin"]);
            let source = SourceText::new("case.yaml", text.as_str());
            if let Err(problems) = experiment::load(&source, &|_: &str| Err("no files here".to_owned())) {
                panic!("{problems:?}\n{text}");
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_cases() {
        let cases = |seed| {
            let mut rng = Rng::seeded(seed);
            (0..20).map(|_| FuzzCase::random(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(cases(7), cases(7));
        assert_ne!(cases(7), cases(8));
    }
}
