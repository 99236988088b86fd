//! Engine profiles fitted to measurements.
//!
//! The step time is linear in its constants, so the fit is non-negative least squares in relative errors: Lawson and Hanson, *Solving Least Squares Problems*, 1974, chapter 23.

mod measurement;
mod solve;
mod table;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::engine::{EngineProfile, LinearPiece, ProfileError, StepTime};
use measurement::{Form, Measurement};

/// Breakpoints in tokens of the piecewise linear cost of the linear layers, as in published profiles.
const BREAKPOINTS: [u32; 2] = [256, 512];
/// Number of constants: fixed time and up to three slopes of the linear layers, KV read, attention, sequences.
const CONSTANTS: usize = 1 + (BREAKPOINTS.len() + 1) + 3;
/// Most mistakes reported in one run.
const MISTAKES: usize = 20;

/// Options of a fit.
#[derive(Clone, Debug)]
pub struct FitOptions<'a> {
    /// The name of the new profile.
    pub name: &'a str,
    /// Source of the measurements, recorded in the profile.
    pub source: &'a str,
    /// The profile to copy all but step times from: blocks, sequence slots, token budget.
    pub like: &'a EngineProfile,
}

/// A fitted profile and its residuals.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The profile.
    pub profile: EngineProfile,
    /// Measured and fitted times in the order of the lines.
    pub residuals: Vec<Residual>,
}

/// A measured and a fitted time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// The line of the measurement, from 1.
    pub line: usize,
    /// Measured milliseconds.
    pub measured_ms: f64,
    /// Fitted milliseconds.
    pub fitted_ms: f64,
}

impl Residual {
    /// Relative error of the fit.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.fitted_ms / self.measured_ms - 1.0
    }
}

impl Fit {
    /// Absolute values of the relative errors, ascending.
    #[must_use]
    pub fn absolute_errors(&self) -> Vec<f64> {
        let mut absolute_errors: Vec<f64> =
            self.residuals.iter().map(|residual| residual.relative_error().abs()).collect();
        absolute_errors.sort_unstable_by(f64::total_cmp);
        absolute_errors
    }

    /// The residual with the largest relative error.
    #[must_use]
    pub fn worst(&self) -> Option<Residual> {
        let error = |residual: &Residual| residual.relative_error().abs();
        self.residuals.iter().copied().max_by(|a, b| error(a).total_cmp(&error(b)))
    }
}

/// Why a fit failed.
#[derive(Debug, Error)]
pub enum FitError {
    /// The first line is not a known set of columns.
    #[error("line 1: {problem}; the columns are either {} or {}", Form::Steps.columns(), Form::Requests.columns())]
    Columns {
        /// The problem.
        problem: String,
    },
    /// Lines that cannot be read; at most twenty are named.
    #[error("{}", lines(.0))]
    Lines(Vec<Mistake>),
    /// The measurements do not determine a part of the step time.
    #[error("the measurements do not determine {missing}")]
    Open {
        /// The undetermined part and the measurements that determine it.
        missing: &'static str,
    },
    /// The fitted profile is invalid.
    #[error("the fit is not a valid engine: {0}")]
    Profile(#[from] ProfileError),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Fits the step time to measurements in CSV. The first line names the columns: either steps
/// (`prompt_tokens,sequences,context_tokens,step_seconds`, and `cached_tokens` where some were cached) or requests at
/// a steady number in flight (`prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms`).
///
/// # Errors
/// Unknown columns; every unreadable line with its number; measurements that do not determine the prefill or decode part of
/// the step time.
pub fn fit(csv: &str, options: &FitOptions<'_>) -> Result<Fit, FitError> {
    let (form, measurements) = measurement::read(csv)?;
    measurement::covers_both_sides(&measurements)?;
    let breakpoints = breakpoints(&measurements);
    let rows = measurements.iter().map(|measured| {
        let mut row = features(measured, &breakpoints);
        row.iter_mut().for_each(|value| *value /= measured.nanos);
        row
    });
    let constants = solve::non_negative(rows);
    let step = step_time(&constants, &breakpoints);
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

/// The breakpoints with at least two token counts on either side.
fn breakpoints(measurements: &[Measurement]) -> Vec<u32> {
    let mut counts: Vec<u32> = measurements
        .iter()
        .flat_map(|measured| &measured.parts)
        .map(|(_, batch)| batch.whole_tokens())
        .collect();
    counts.sort_unstable();
    counts.dedup();
    let mut kept = Vec::new();
    let mut from = 0;
    for breakpoint in BREAKPOINTS {
        let below = counts.iter().filter(|tokens| (from..=breakpoint).contains(*tokens)).count();
        let above = counts.iter().filter(|tokens| **tokens > breakpoint).count();
        if below >= 2 && above >= 2 {
            kept.push(breakpoint);
            from = breakpoint + 1;
        }
    }
    kept
}

/// The features of a measurement, one per constant: 1, the tokens in each piece, context, pairs, sequences.
fn features(measured: &Measurement, breakpoints: &[u32]) -> [f64; CONSTANTS] {
    let mut row = [0.0; CONSTANTS];
    for (share, batch) in &measured.parts {
        row[0] += share;
        let mut start = 0.0;
        for (piece_index, slot) in row[1..].iter_mut().take(breakpoints.len() + 1).enumerate() {
            let end = breakpoints.get(piece_index).map_or(f64::INFINITY, |breakpoint| f64::from(*breakpoint));
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

fn step_time(constants: &[f64; CONSTANTS], breakpoints: &[u32]) -> StepTime {
    let [fixed, .., context, pairs, sequences] = *constants;
    let slopes = &constants[1..=breakpoints.len() + 1];
    let (mut start, mut at_start) = (0.0, fixed);
    let pieces = slopes.iter().enumerate().map(|(piece_index, slope)| {
        let end = breakpoints.get(piece_index).copied().unwrap_or(u32::MAX);
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

/// Rounds to a picosecond: more digits would suggest a precision that the fit does not have.
fn rounded(nanos: f64) -> f64 {
    (nanos * 1e3).round() / 1e3
}

fn sources(fit: &Fit, form: Form, options: &FitOptions<'_>) -> std::collections::BTreeMap<String, String> {
    let absolute_errors = fit.absolute_errors();
    let at = |share: usize| {
        absolute_errors
            .get((absolute_errors.len() * share / 100).min(absolute_errors.len().saturating_sub(1)))
    };
    let percent = |share| at(share).map_or(0.0, |relative_error| relative_error * 100.0);
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
