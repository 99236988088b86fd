//! `pointsman simulate fuzz`: a search for the workload on which a placement does worst.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::ProgressBar;
use pointsman_config::SourceText;
use pointsman_core::Rng;
use pointsman_report::{Level, Samples, Table, count};
use pointsman_sim::experiment::{Experiment, load};
use pointsman_sim::fuzz::FuzzCase;
use pointsman_sim::{End, Outcome, Routing, simulate};
use serde_json::json;

use super::workers;
use crate::args::simulate::FuzzArgs;
use crate::{progress, reports};

/// Default rivals: placements that are best on some workload, or the default of another router.
const RIVALS: [&str; 8] = [
    "least-request",
    "round-robin",
    "lpwl",
    "lmetric",
    "llm-d-blend",
    "sticky-until-saturated",
    "bounded-load-hash",
    "pointsman",
];

/// Cases per generation. Fixed, so that the number of threads does not change the result.
const BATCH: usize = 8;
/// Number of worst cases that mutations start from.
const ELITE: usize = 4;
/// Seeds of the confirmation; the search itself uses seed 1.
const FRESH: RangeInclusive<u64> = 9_001..=9_005;
/// Confirmed ratio above which a case is written.
const KEPT: f64 = 1.03;

/// An evaluated case.
#[derive(Clone, Debug)]
struct Found {
    case: FuzzCase,
    /// E2E p90 over that of the best placement, and the name of the best placement.
    ratio: f64,
    best: String,
    /// TTFT p90 over the lowest TTFT p90.
    ttft: f64,
}

pub(super) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let placements = placements(args)?;
    let threads = workers::threads(args.threads);
    ensure!(args.budget > 0, "--budget 0: no case to try");
    let mut rng = Rng::seeded(args.seed);
    let bar = ProgressBar::new(args.budget as u64);
    let bar = progress::styled(bar, "{bar:40} {pos}/{len} cases, {msg}  {elapsed}, {eta} to go");
    let mut worst: Vec<Found> = Vec::new();
    let mut tried = 0;
    while tried < args.budget {
        let batch: Vec<FuzzCase> = (0..BATCH.min(args.budget - tried))
            .map(|place| match worst.len() {
                0 => FuzzCase::random(&mut rng),
                _ if place % 4 == 0 => FuzzCase::random(&mut rng),
                some => worst[rng.below(some)].case.mutated(&mut rng),
            })
            .collect();
        let found = evaluate_all(batch.clone(), threads, &placements, 1..=1)?;
        worst.extend(found.into_iter().flatten());
        worst.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
        worst.dedup_by(|one, other| one.case == other.case);
        worst.truncate(ELITE.max(args.confirm));
        tried += batch.len();
        bar.set_position(tried as u64);
        bar.set_message(worst.first().map(|found| format!("worst {:.3}", found.ratio)).unwrap_or_default());
    }
    bar.finish_and_clear();
    worst.truncate(args.confirm);
    let cases: Vec<FuzzCase> = worst.iter().map(|found| found.case).collect();
    let confirmed = evaluate_all(cases, threads, &placements, FRESH)?;
    let mut confirmed: Vec<Found> = confirmed.into_iter().flatten().collect();
    confirmed.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
    print(args, &placements, &confirmed)?;
    Ok(ExitCode::SUCCESS)
}

/// The attacked placement, then its rivals.
fn placements(args: &FuzzArgs) -> Result<Arc<[String]>> {
    let rivals: Vec<String> =
        if args.against.is_empty() { RIVALS.map(str::to_owned).to_vec() } else { args.against.clone() };
    let mut placements = vec![args.placement.clone()];
    placements.extend(rivals.into_iter().filter(|rival| *rival != args.placement));
    ensure!(placements.len() > 1, "--against: a placement is not compared with itself");
    for name in &placements {
        let known = Routing::named(name).filter(|routing| !matches!(routing, Routing::Bound(_)));
        known.with_context(|| {
            let others = Routing::all().filter(|routing| !matches!(routing, Routing::Bound(_)));
            let names: Vec<&str> = others.map(|routing| routing.name()).collect();
            format!("there is no placement {name:?}; there are {}", names.join(", "))
        })?;
    }
    Ok(placements.into())
}

fn evaluate_all(
    cases: Vec<FuzzCase>,
    threads: usize,
    placements: &Arc<[String]>,
    seeds: RangeInclusive<u64>,
) -> Result<Vec<Option<Found>>> {
    let placements = Arc::clone(placements);
    workers::start(cases, threads, move |case| evaluate(case, &placements, seeds.clone())).collect()
}

/// `None` where no placement serves the load.
fn evaluate(case: &FuzzCase, placements: &[String], seeds: RangeInclusive<u64>) -> Result<Option<Found>> {
    let experiment = experiment(case, placements)?;
    let rate = case.rate();
    let mut figures: Vec<(f64, f64)> = Vec::new();
    for arm in &experiment.arms {
        let scenario = experiment.scenario(arm);
        let (mut e2e, mut ttft) = (0.0, 0.0);
        for seed in seeds.clone() {
            let mut jobs = experiment.jobs(rate, seed);
            let outcome = simulate(&scenario, &arm.routing, &mut jobs, seed)?;
            let run = p90(&outcome);
            (e2e, ttft) = (e2e + run.0, ttft + run.1);
        }
        figures.push((e2e, ttft));
    }
    let best = figures.iter().zip(placements).min_by(|(one, _), (other, _)| one.0.total_cmp(&other.0));
    let Some((attacked, (best, name))) = figures.first().zip(best) else { return Ok(None) };
    if !best.0.is_finite() || best.0 <= 0.0 {
        return Ok(None);
    }
    let least_ttft = figures.iter().map(|figure| figure.1).min_by(f64::total_cmp).unwrap_or(attacked.1);
    Ok(Some(Found {
        case: *case,
        ratio: attacked.0 / best.0,
        best: name.clone(),
        ttft: attacked.1 / least_ttft,
    }))
}

fn experiment(case: &FuzzCase, placements: &[String]) -> Result<Experiment> {
    let names: Vec<&str> = placements.iter().map(String::as_str).collect();
    let source = SourceText::new("case.yaml", case.yaml("a case", &names));
    load(&source, &|_: &str| Err("cases name no files".to_owned())).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        anyhow!("invalid case: {first}")
    })
}

/// p90 of E2E and of TTFT, in milliseconds.
fn p90(outcome: &Outcome) -> (f64, f64) {
    let times = outcome.jobs.iter().map(|(_, end)| match *end {
        End::Answered { e2e_ms, ttft_ms, .. } => (f64::from(e2e_ms), f64::from(ttft_ms)),
        End::Rejected | End::Failed | End::Unfinished => (f64::INFINITY, f64::INFINITY),
    });
    let (e2e, ttft): (Vec<_>, Vec<_>) = times.unzip();
    let p90 = |times| Samples::new(times).quantile(Level::P90).unwrap_or(f64::INFINITY);
    (p90(e2e), p90(ttft))
}

fn print(args: &FuzzArgs, placements: &[String], found: &[Found]) -> Result<()> {
    let names: Vec<&str> = placements.iter().map(String::as_str).collect();
    for (place, one) in found.iter().enumerate().filter(|(_, one)| one.ratio > KEPT) {
        if let Some(folder) = &args.keep {
            let title = format!("{} against {}, found by search", args.placement, one.best);
            let name = format!("{}-{}-{}.yaml", args.placement, args.seed, place + 1);
            let path = folder.join(name);
            reports::put(&path, one.case.yaml(&title, &names).as_bytes())?;
            eprintln!("wrote {}", path.display());
        }
    }
    if args.json {
        let as_json = |one: &Found| {
            let experiment = one.case.yaml("a case", &names);
            json!({"e2e_p90": one.ratio, "ttft_p90": one.ttft, "best": one.best, "experiment": experiment})
        };
        let found: Vec<_> = found.iter().map(as_json).collect();
        println!("{}", json!({"policy": args.placement, "tried": args.budget, "found": found}));
        return Ok(());
    }
    let mut table = Table::new(["E2E p90 over the best", "TTFT p90 over the best", "best"]).with_text(&[2]);
    for one in found {
        table.row([format!("{:.3}", one.ratio), format!("{:.3}", one.ttft), one.best.clone()]);
    }
    let tried = count(args.budget as u64);
    println!("{tried} cases tried on {}; the worst with fresh seeds:\n", args.placement);
    print!("{}", table.render(100));
    if let Some(worst) = found.first() {
        println!("the worst:\n\n{}", worst.case.yaml("a case", &names));
    }
    Ok(())
}
