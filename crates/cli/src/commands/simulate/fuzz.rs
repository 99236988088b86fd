//! `pointsman simulate fuzz`: a search for the workload on which a policy does worst.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_config::SourceText;
use pointsman_core::Rng;
use pointsman_report::{Align, Level, Samples, Table, count};
use pointsman_sim::experiment::{Experiment, load};
use pointsman_sim::fuzz::Shape;
use pointsman_sim::{End, Outcome, Routing, simulate};

use crate::args::simulate::FuzzArgs;

/// Those that are best somewhere, or were a peer's default.
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

/// Shapes tried between two looks at what is worst. Fixed, so that the number of threads changes nothing.
const BATCH: usize = 8;
/// The worst shapes, from which others are made.
const ELITE: usize = 4;
/// Fresh seeds start here; the search itself uses seed 1.
const FRESH: std::ops::RangeInclusive<u64> = 9_001..=9_005;
/// A confirmed ratio above this is worth keeping.
const KEPT: f64 = 1.03;

/// A shape and what came of it.
#[derive(Clone, Debug)]
struct Found {
    shape: Shape,
    /// p90 of E2E over the best policy's, and which policy that is.
    ratio: f64,
    best: String,
    /// The same for TTFT.
    ttft: f64,
}

pub(super) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let policies = policies(args)?;
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    ensure!(args.budget > 0, "--budget 0: there is nothing to try");
    let mut rng = Rng::seeded(args.seed);
    let bar = bar(args.budget);
    let mut worst: Vec<Found> = Vec::new();
    let mut tried = 0;
    while tried < args.budget {
        let batch: Vec<Shape> = (0..BATCH.min(args.budget - tried))
            .map(|place| match worst.len() {
                0 => Shape::drawn(&mut rng),
                _ if place % 4 == 0 => Shape::drawn(&mut rng),
                some => worst[rng.below(some)].shape.mutated(&mut rng),
            })
            .collect();
        let found = in_parallel(threads, &batch, |shape| evaluate(shape, &policies, 1..=1))?;
        worst.extend(found.into_iter().flatten());
        worst.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
        worst.dedup_by(|one, other| one.shape == other.shape);
        worst.truncate(ELITE.max(args.confirm));
        tried += batch.len();
        bar.set_position(tried as u64);
        bar.set_message(worst.first().map(|found| format!("worst {:.3}", found.ratio)).unwrap_or_default());
    }
    bar.finish_and_clear();
    worst.truncate(args.confirm);
    let shapes: Vec<Shape> = worst.iter().map(|found| found.shape).collect();
    let confirmed = in_parallel(threads, &shapes, |shape| evaluate(shape, &policies, FRESH))?;
    let mut confirmed: Vec<Found> = confirmed.into_iter().flatten().collect();
    confirmed.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
    print(args, &policies, &confirmed)?;
    Ok(ExitCode::SUCCESS)
}

fn bar(shapes: usize) -> ProgressBar {
    let bar = ProgressBar::new(shapes as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} shapes, {msg}  {elapsed}, {eta} to go")
    {
        bar.set_style(style);
    }
    bar
}

/// The attacked policy first.
fn policies(args: &FuzzArgs) -> Result<Vec<String>> {
    let rivals: Vec<String> =
        if args.against.is_empty() { RIVALS.map(str::to_owned).to_vec() } else { args.against.clone() };
    let mut policies = vec![args.policy.clone()];
    policies.extend(rivals.into_iter().filter(|rival| *rival != args.policy));
    ensure!(policies.len() > 1, "--against: a policy is not compared with itself");
    for name in &policies {
        let known = Routing::named(name).filter(|routing| !matches!(routing, Routing::Bound(_)));
        known.with_context(|| {
            let policies = Routing::all().filter(|routing| !matches!(routing, Routing::Bound(_)));
            let names: Vec<&str> = policies.map(|routing| routing.name()).collect();
            format!("there is no policy {name:?}; there are {}", names.join(", "))
        })?;
    }
    Ok(policies)
}

/// None where no policy serves the load, or the attacked one is only as good as all.
fn evaluate(
    shape: &Shape,
    policies: &[String],
    seeds: std::ops::RangeInclusive<u64>,
) -> Result<Option<Found>> {
    let experiment = experiment(shape, policies)?;
    let rate = shape.rate();
    let mut figures: Vec<(f64, f64)> = Vec::new();
    for entrant in &experiment.entrants {
        let scenario = experiment.scenario(entrant);
        let (mut e2e, mut ttft) = (0.0, 0.0);
        for seed in seeds.clone() {
            let mut jobs = experiment.jobs(rate, seed);
            let outcome = simulate(&scenario, &entrant.routing, &mut jobs, seed)?;
            let (one, other) = p90(&outcome);
            (e2e, ttft) = (e2e + one, ttft + other);
        }
        figures.push((e2e, ttft));
    }
    let Some((attacked, best)) =
        figures.first().zip(figures.iter().min_by(|one, other| one.0.total_cmp(&other.0)))
    else {
        return Ok(None);
    };
    if !best.0.is_finite() || best.0 <= 0.0 {
        return Ok(None);
    }
    let name = figures.iter().position(|figure| figure.0 <= best.0).and_then(|at| policies.get(at)).cloned();
    let least_ttft = figures.iter().map(|figure| figure.1).min_by(f64::total_cmp).unwrap_or(attacked.1);
    Ok(Some(Found {
        shape: *shape,
        ratio: attacked.0 / best.0,
        best: name.unwrap_or_default(),
        ttft: attacked.1 / least_ttft,
    }))
}

fn experiment(shape: &Shape, policies: &[String]) -> Result<Experiment> {
    let names: Vec<&str> = policies.iter().map(String::as_str).collect();
    let source = SourceText::new("shape.yaml", shape.yaml("a shape", &names));
    load(&source, &|_: &str| Err("a shape names no files".to_owned())).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        anyhow!("a shape of the search is no experiment: {first}")
    })
}

/// p90 of E2E and of TTFT, in milliseconds.
fn p90(outcome: &Outcome) -> (f64, f64) {
    let times = |of: fn(&End) -> f64| {
        let samples = Samples::new(outcome.jobs.iter().map(|(_, end)| of(end)).collect());
        samples.quantile(Level::P90).unwrap_or(f64::INFINITY)
    };
    let e2e = times(|end| match end {
        End::Answered { e2e_ms, .. } => f64::from(*e2e_ms),
        End::Rejected | End::Failed | End::Unfinished => f64::INFINITY,
    });
    let ttft = times(|end| match end {
        End::Answered { ttft_ms, .. } => f64::from(*ttft_ms),
        End::Rejected | End::Failed | End::Unfinished => f64::INFINITY,
    });
    (e2e, ttft)
}

/// Maps `each` over `items` on so many threads; results in the items' order.
fn in_parallel<I: Sync, O: Send>(
    threads: usize,
    items: &[I],
    each: impl Fn(&I) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<O>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = each(item);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn print(args: &FuzzArgs, policies: &[String], found: &[Found]) -> Result<()> {
    let names: Vec<&str> = policies.iter().map(String::as_str).collect();
    for (place, one) in found.iter().enumerate().filter(|(_, one)| one.ratio > KEPT) {
        if let Some(folder) = &args.keep {
            let title = format!("{} beside {}, found by search", args.policy, one.best);
            let name = format!("{}-{}-{}.yaml", args.policy, args.seed, place + 1);
            write(folder, &name, &one.shape.yaml(&title, &names))?;
        }
    }
    if args.json {
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                let experiment = one.shape.yaml("a shape", &names);
                serde_json::json!({"e2e_p90": one.ratio, "ttft_p90": one.ttft, "best": one.best,
                    "experiment": experiment})
            })
            .collect();
        println!("{}", serde_json::json!({"policy": args.policy, "tried": args.budget, "found": found}));
        return Ok(());
    }
    let mut table = Table::new([
        ("E2E p90 over the best", Align::Right),
        ("TTFT p90 over the best", Align::Right),
        ("best", Align::Left),
    ]);
    for one in found {
        table.row([format!("{:.3}", one.ratio), format!("{:.3}", one.ttft), one.best.clone()]);
    }
    println!(
        "{} shapes tried on {}; the worst again, with fresh seeds:\n",
        count(args.budget as u64),
        args.policy
    );
    print!("{}", table.render(100));
    if let Some(worst) = found.first() {
        println!("the worst:\n\n{}", worst.shape.yaml("a shape", &names));
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
