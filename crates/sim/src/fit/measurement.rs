//! Measurements as weighted sums of step times.

use super::FitError;
use super::table::Table;
use crate::engine::StepTime;

/// The set of columns of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One row per step.
    Steps,
    /// One row per group of requests at a constant concurrency.
    Requests,
}

impl Form {
    pub(super) const fn columns(self) -> &'static str {
        match self {
            Self::Steps => "prompt_tokens, sequences, context_tokens, step_seconds (and cached_tokens)",
            Self::Requests => "prompt_tokens, output_tokens, concurrency, ttft_ms, tpot_ms",
        }
    }

    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Requests => "requests",
        }
    }

    /// The required columns and the optional ones.
    const fn names(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Steps => {
                (&["prompt_tokens", "sequences", "context_tokens", "step_seconds"], &["cached_tokens"])
            }
            Self::Requests => (&["prompt_tokens", "output_tokens", "concurrency", "ttft_ms", "tpot_ms"], &[]),
        }
    }
}

/// A batch with possibly averaged counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MeanBatch {
    pub(super) tokens: f64,
    pub(super) context: f64,
    pub(super) pairs: f64,
    pub(super) sequences: f64,
}

impl MeanBatch {
    fn decoding(sequences: f64, context: f64) -> Self {
        Self { tokens: sequences, context, pairs: 0.0, sequences }
    }

    fn with_prompts(self, prompts: f64, tokens: f64, cached: f64) -> Self {
        Self {
            tokens: self.tokens + prompts * tokens,
            pairs: self.pairs + prompts * tokens * (cached + tokens / 2.0),
            sequences: self.sequences + prompts,
            ..self
        }
    }

    pub(super) fn whole_tokens(&self) -> u32 {
        self.tokens.round() as u32
    }

    pub(super) fn nanos(&self, step: &StepTime) -> f64 {
        let covers = |up_to: u32| self.tokens <= f64::from(up_to);
        let piece = step.linear.iter().find(|piece| covers(piece.up_to_tokens)).or(step.linear.last());
        piece.map_or(0.0, |piece| piece.fixed_ns + piece.per_token_ns * self.tokens)
            + step.context_ns * self.context
            + step.attention_ns * self.pairs
            + step.sequence_ns * self.sequences
            + step.base_ns
    }
}

/// A measured time, and the batches whose weighted step times it is the sum of.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) line: usize,
    pub(super) nanos: f64,
    pub(super) parts: Vec<(f64, MeanBatch)>,
}

type Named<'a> = &'a dyn Fn(&str) -> f64;

pub(super) fn read(csv: &str) -> Result<(Form, Vec<Measurement>), FitError> {
    let table = Table::read(csv)?;
    let form = form_of(&table.names)?;
    let make = match form {
        Form::Steps => step,
        Form::Requests => requests,
    };
    let measurements = table.map(make)?;
    Ok((form, measurements.into_iter().flatten().collect()))
}

fn form_of(names: &[String]) -> Result<Form, FitError> {
    let has = |name: &str| names.iter().any(|known| known == name);
    let form = if has("step_seconds") { Form::Steps } else { Form::Requests };
    let (required, optional) = form.names();
    let known = |name: &&String| required.iter().chain(optional).any(|known| known == name);
    let unknown: Vec<_> = names.iter().filter(|name| !known(name)).map(String::as_str).collect();
    let missing: Vec<_> = required.iter().copied().filter(|name| !has(name)).collect();
    let twice = (1..names.len()).find(|at| names[..*at].contains(&names[*at]));
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems.push(format!("no column {}", missing.join(", ")));
    }
    if !unknown.is_empty() {
        problems.push(format!("unknown column {}", unknown.join(", ")));
    }
    problems.extend(twice.map(|at| format!("column {} twice", names[at])));
    if problems.is_empty() { Ok(form) } else { Err(FitError::Columns { problem: problems.join("; ") }) }
}

fn step(line: usize, value: Named<'_>) -> Result<Vec<Measurement>, String> {
    let (prompt, sequences) = (value("prompt_tokens"), value("sequences"));
    if prompt + sequences == 0.0 {
        return Err("a step without prompt_tokens and without sequences".to_owned());
    }
    let batch = MeanBatch::decoding(sequences, value("context_tokens"));
    let prompts = if prompt > 0.0 { 1.0 } else { 0.0 };
    let parts = vec![(1.0, batch.with_prompts(prompts, prompt, value("cached_tokens")))];
    Ok(vec![Measurement { line, nanos: positive(value("step_seconds") * 1e9, "step_seconds")?, parts }])
}

/// At concurrency 1, TTFT is the prompt's own step. TPOT is a decode step of all requests in flight; during one request's
/// output each of the others is replaced once, and its prefill lengthens a step.
fn requests(line: usize, value: Named<'_>) -> Result<Vec<Measurement>, String> {
    let (prompt, output) = (value("prompt_tokens"), value("output_tokens"));
    let concurrency = value("concurrency");
    if prompt < 1.0 || concurrency < 1.0 || output < 2.0 {
        return Err("prompt_tokens and concurrency start at 1, output_tokens at 2".to_owned());
    }
    let (ttft, tpot) = (positive(value("ttft_ms"), "ttft_ms")?, positive(value("tpot_ms"), "tpot_ms")?);
    let steps = output - 1.0;
    let decode = MeanBatch::decoding(concurrency, concurrency * (prompt + output / 2.0));
    let prompts_a_step = (concurrency - 1.0) / steps;
    let mixed_share = prompts_a_step.min(1.0);
    let mixed = decode.with_prompts(prompts_a_step.max(1.0), prompt, 0.0);
    let parts = vec![(1.0 - mixed_share, decode), (mixed_share, mixed)];
    let mut measured = vec![Measurement {
        line,
        nanos: tpot * 1e6,
        parts: parts.into_iter().filter(|(share, _)| *share > 0.0).collect(),
    }];
    if concurrency == 1.0 {
        let parts = vec![(1.0, MeanBatch::default().with_prompts(1.0, prompt, 0.0))];
        measured.push(Measurement { line, nanos: ttft * 1e6, parts });
    }
    Ok(measured)
}

fn positive(value: f64, name: &str) -> Result<f64, String> {
    if value > 0.0 { Ok(value) } else { Err(format!("{name} must be above 0")) }
}

/// Checks that there are at least two prompt lengths and two batch sizes.
pub(super) fn covers_both_sides(measurements: &[Measurement]) -> Result<(), FitError> {
    let different = |of: fn(&MeanBatch) -> Option<f64>| {
        let mut values =
            measurements.iter().flat_map(|measured| &measured.parts).filter_map(|(_, batch)| of(batch));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let prompts = |batch: &MeanBatch| (batch.pairs > 0.0).then_some(batch.pairs);
    let decodes = |batch: &MeanBatch| (batch.context > 0.0 && batch.pairs == 0.0).then_some(batch.sequences);
    let missing = if !different(prompts) {
        "what prompts cost: measure two lengths of prompts or more"
    } else if !different(decodes) {
        "what decoding costs: measure two numbers of sequences or more, without prompts in the step"
    } else {
        return Ok(());
    };
    Err(FitError::Open { missing })
}
