//! Engine profiles from measurements: the step time that misses the measured rows least.
//!
//! The step time is linear in its constants, so this is least squares in relative errors with constants that cannot
//! be negative: Lawson and Hanson, *Solving Least Squares Problems*, 1974, chapter 23.

mod measurement;
mod solve;
mod table;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::engine::{EngineProfile, LinearPiece, ProfileError, StepTime};
use measurement::{Form, Measurement};

/// Where the line of the linear layers may bend, in tokens. Fits to published profiles bend here.
const BENDS: [u32; 2] = [256, 512];
/// Constants: the layers' fixed time and up to three slopes, KV read, attention, sequences.
const CONSTANTS: usize = 1 + (BENDS.len() + 1) + 3;
/// Mistakes named in one run.
const MISTAKES: usize = 20;

/// What a fit needs beside the measurements.
#[derive(Clone, Debug)]
pub struct FitOptions<'a> {
    /// The name of the new profile.
    pub name: &'a str,
    /// Where the measurements come from, for the profile's sources.
    pub source: &'a str,
    /// Where everything comes from that is not a step time: blocks, seats, budget.
    pub like: &'a EngineProfile,
}

/// A fitted profile, and how well it fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The profile.
    pub profile: EngineProfile,
    /// How far each measured time is from the fitted one, in the order of the lines.
    pub residuals: Vec<Residual>,
}

/// One measured time and the fitted one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// The line of the measurement, from 1.
    pub line: usize,
    /// What was measured, in milliseconds.
    pub measured_ms: f64,
    /// What the fitted profile says, in milliseconds.
    pub fitted_ms: f64,
}

impl Residual {
    /// How far the fit is off, as a share of what was measured.
    #[must_use]
    pub fn miss(&self) -> f64 {
        self.fitted_ms / self.measured_ms - 1.0
    }
}

impl Fit {
    /// The misses without their signs, ascending.
    #[must_use]
    pub fn misses(&self) -> Vec<f64> {
        let mut misses: Vec<f64> = self.residuals.iter().map(|residual| residual.miss().abs()).collect();
        misses.sort_unstable_by(f64::total_cmp);
        misses
    }

    /// The time that is missed most.
    #[must_use]
    pub fn worst(&self) -> Option<Residual> {
        self.residuals.iter().copied().max_by(|a, b| a.miss().abs().total_cmp(&b.miss().abs()))
    }
}

/// Why measurements give no profile.
#[derive(Debug, Error)]
pub enum FitError {
    /// The first line names no known set of columns.
    #[error("line 1: {problem}; the columns are either {} or {}", Form::Steps.columns(), Form::Requests.columns())]
    Columns {
        /// What is wrong with them.
        problem: String,
    },
    /// Lines that cannot be read; at most twenty are named.
    #[error("{}", lines(.0))]
    Lines(Vec<Mistake>),
    /// The measurements leave a part of the step time open.
    #[error("the measurements do not tell {missing}")]
    Open {
        /// What is not told, and what would tell it.
        missing: &'static str,
    },
    /// What was fitted makes no engine.
    #[error("the fit makes no engine: {0}")]
    Profile(#[from] ProfileError),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Fits the step time to measurements in comma-separated values, whose first line names the columns: either steps
/// (`prompt_tokens,sequences,context_tokens,step_seconds`, and `cached_tokens` where some were cached) or requests at
/// a steady number in flight (`prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms`).
///
/// # Errors
/// Unknown columns; every line that cannot be read, with its number; measurements that leave the prompts' or the
/// decoding side of the step time open.
pub fn fit(csv: &str, options: &FitOptions<'_>) -> Result<Fit, FitError> {
    let (form, measurements) = measurement::read(csv)?;
    measurement::covers_both_sides(&measurements)?;
    let bends = bends(&measurements);
    let rows = measurements.iter().map(|measured| {
        let mut row = features(measured, &bends);
        row.iter_mut().for_each(|value| *value /= measured.nanos);
        row
    });
    let constants = solve::non_negative(rows);
    let step = step_time(&constants, &bends);
    let residual = |measured: &Measurement| Residual {
        line: measured.line,
        measured_ms: measured.nanos / 1e6,
        fitted_ms: measured.parts.iter().map(|(share, batch)| share * batch.nanos(&step)).sum::<f64>() / 1e6,
    };
    let mut fit = Fit {
        residuals: measurements.iter().map(residual).collect(),
        profile: EngineProfile { name: options.name.to_owned(), step, ..options.like.clone() },
    };
    fit.profile.sources = sources(&fit, form, options);
    fit.profile = fit.profile.checked()?;
    Ok(fit)
}

/// The bends with two token counts or more on either side, up to the next bend.
fn bends(measurements: &[Measurement]) -> Vec<u32> {
    let mut counts: Vec<u32> = measurements
        .iter()
        .flat_map(|measured| &measured.parts)
        .map(|(_, batch)| batch.whole_tokens())
        .collect();
    counts.sort_unstable();
    counts.dedup();
    let mut kept = Vec::new();
    let mut from = 0;
    for bend in BENDS {
        let below = counts.iter().filter(|tokens| (from..=bend).contains(*tokens)).count();
        let above = counts.iter().filter(|tokens| **tokens > bend).count();
        if below >= 2 && above >= 2 {
            kept.push(bend);
            from = bend + 1;
        }
    }
    kept
}

/// What each constant is multiplied with in this measurement: 1, the tokens in each stretch between bends, context,
/// pairs, sequences.
fn features(measured: &Measurement, bends: &[u32]) -> [f64; CONSTANTS] {
    let mut row = [0.0; CONSTANTS];
    for (share, batch) in &measured.parts {
        row[0] += share;
        let mut start = 0.0;
        for (stretch, slot) in row[1..].iter_mut().take(bends.len() + 1).enumerate() {
            let end = bends.get(stretch).map_or(f64::INFINITY, |bend| f64::from(*bend));
            *slot += share * (batch.tokens.min(end) - start).max(0.0);
            start = end;
        }
        let [.., context, pairs, sequences] = &mut row;
        *context += share * batch.context;
        *pairs += share * batch.pairs;
        *sequences += share * batch.sequences;
    }
    row
}

fn step_time(constants: &[f64; CONSTANTS], bends: &[u32]) -> StepTime {
    let [fixed, .., context, pairs, sequences] = *constants;
    let slopes = &constants[1..=bends.len() + 1];
    let (mut start, mut at_start) = (0.0, fixed);
    let pieces = slopes.iter().enumerate().map(|(stretch, slope)| {
        let end = bends.get(stretch).copied().unwrap_or(u32::MAX);
        let piece = LinearPiece {
            up_to_tokens: end,
            fixed_ns: (at_start - slope * start).round(),
            per_token_ns: rounded(*slope),
        };
        at_start += slope * (f64::from(end) - start);
        start = f64::from(end);
        piece
    });
    StepTime {
        linear: pieces.collect(),
        context_ns: rounded(context),
        attention_ns: rounded(pairs),
        sequence_ns: rounded(sequences),
        base_ns: 0.0,
    }
}

/// To a picosecond; more digits only look precise.
fn rounded(nanos: f64) -> f64 {
    (nanos * 1e3).round() / 1e3
}

fn sources(fit: &Fit, form: Form, options: &FitOptions<'_>) -> std::collections::BTreeMap<String, String> {
    let misses = fit.misses();
    let at = |share: usize| misses.get((misses.len() * share / 100).min(misses.len().saturating_sub(1)));
    let percent = |share| at(share).map_or(0.0, |miss| miss * 100.0);
    let (median, p90) = (percent(50), percent(90));
    let fitted = format!(
        "Fitted to {} times of {} in {}: half are within {median:.1} %, nine of ten within {p90:.1} %.",
        fit.residuals.len(),
        form.what(),
        options.source,
    );
    let step = ["step.linear", "step.context_ns", "step.attention_ns", "step.sequence_ns"];
    let step = step.map(|field| (field.to_owned(), fitted.clone()));
    let base = ("step.base_ns".to_owned(), "In the fixed part of step.linear.".to_owned());
    let kept = options.like.sources.iter().filter(|(field, _)| !field.starts_with("step."));
    let kept = kept.map(|(field, source)| (field.clone(), format!("As {}: {source}", options.like.name)));
    step.into_iter().chain([base]).chain(kept).collect()
}
