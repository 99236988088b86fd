//! `pointsman simulate fit`: an engine profile from measurements.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pointsman_sim::fit::{Fit, FitOptions, fit};

use crate::args::simulate::FitArgs;
use crate::commands::engine;

pub(super) fn run(args: &FitArgs) -> Result<ExitCode> {
    let piped = args.csv.as_os_str() == "-";
    let source = if piped { "standard input".to_owned() } else { args.csv.display().to_string() };
    let csv = if piped {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(&args.csv)
    };
    let csv = csv.with_context(|| source.clone())?;
    let stem = args.csv.file_stem().filter(|_| !piped).and_then(|stem| stem.to_str());
    let name = args.name.as_deref().or(stem).unwrap_or("fitted");
    let like = engine::profile(&args.like).context("--like")?;
    let file = args.csv.file_name().and_then(|name| name.to_str()).unwrap_or(&source);
    let file = if piped { &source } else { file };
    let fit = match fit(&csv, &FitOptions { name, source: file, like: &like }) {
        Ok(fit) => fit,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("error: {source}: {line}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    println!("{}", serde_json::to_string_pretty(&fit.profile)?);
    describe(&fit);
    Ok(ExitCode::SUCCESS)
}

fn describe(fit: &Fit) {
    let errors = fit.absolute_errors();
    let percent = |share: usize| errors.get(errors.len() * share / 100).map_or(0.0, |miss| miss * 100.0);
    eprintln!(
        "{} times: half are fitted within {:.1} %, nine of ten within {:.1} %",
        errors.len(),
        percent(50),
        percent(90)
    );
    if let Some(worst) = fit.worst() {
        eprintln!(
            "largest error: line {}, measured {:.2} ms, fitted {:.2} ms ({:+.1} %)",
            worst.line,
            worst.measured_ms,
            worst.fitted_ms,
            worst.relative_error() * 100.0
        );
    }
}
