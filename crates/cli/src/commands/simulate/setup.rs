//! The setup of a sweep, from an experiment's file and the arguments.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pointsman_config::SourceText;
use pointsman_report as report;
use pointsman_report::SeedResult;
use pointsman_report::sweep::Role;
use pointsman_sim::experiment::{Arm, Experiment, Files, load};
use pointsman_sim::{Routing, simulate_checked};
use pointsman_workload::{Job, Jobs, Lengths, RecordedRequest, Workload};

use super::cell::Cell;
use super::command::CommandLine;
use super::recorded;
use super::summary::{RunParameters, summarize};
use crate::args::simulate::SimulateArgs;

/// Events between two checks of the core's invariants: often enough to report the seed of a bug, rarely enough to cost
/// nothing.
const CHECK_EVERY: u64 = 100_000;

/// Simulates a cell and adds its simulated requests to a counter as it proceeds.
type RunCell = dyn Fn(&Cell, &AtomicU64) -> Result<SeedResult> + Send + Sync;

/// The setup of a sweep.
pub(super) struct Setup {
    /// Facts about the experiment for the report.
    pub(super) about: report::Experiment,
    /// The experiment's text and hashes of the files that it names.
    pub(super) identity: String,
    /// Names and roles of the arms.
    pub(super) arms: Arc<[(String, Role)]>,
    pub(super) cells: Vec<Cell>,
    /// Length of the arrival period.
    pub(super) duration: Duration,
    pub(super) run: Arc<RunCell>,
}

impl Setup {
    /// Index of the arm of this name.
    pub(super) fn arm(&self, name: &str) -> Option<usize> {
        self.arms.iter().position(|(known, _)| known == name)
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.cells.iter().map(|cell| cell.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// The results of these cells, in the order of the cells.
    pub(super) fn sorted(&self, cells: &[Cell], results: &[SeedResult]) -> Vec<SeedResult> {
        cells.iter().filter_map(|cell| results.iter().find(|run| self.is_of(cell, run)).cloned()).collect()
    }

    pub(super) fn is_of(&self, cell: &Cell, run: &SeedResult) -> bool {
        let (name, role) = &self.arms[cell.arm];
        *name == run.policy && *role == run.role && cell.rate == run.rate && cell.seed == run.seed
    }
}

/// Reads the experiment and applies the arguments. `None` where it has mistakes, which are printed.
pub(super) fn of(file: &Path, args: &SimulateArgs, command: &CommandLine) -> Result<Option<Setup>> {
    let name = file.display().to_string();
    let text: Arc<str> = std::fs::read_to_string(file).with_context(|| name.clone())?.into();
    let path = file.parent().unwrap_or(Path::new("")).to_owned();
    let folder = Folder { path, read: RefCell::default() };
    let mut experiment = match load(&SourceText::new(name, Arc::clone(&text)), &folder) {
        Ok(experiment) => experiment,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return Ok(None);
        }
    };
    change(&mut experiment, args)?;
    let experiment = Arc::new(experiment);
    Ok(Some(Setup {
        about: about(&experiment, &text, command),
        identity: format!("{text}\n{}", folder.read.take()),
        arms: experiment.arms.iter().map(named).collect(),
        cells: cells(&experiment),
        duration: experiment.duration,
        run: Arc::new(runner(Arc::clone(&experiment))),
    }))
}

/// The experiment's folder. Records hashes of the files read: a sweep is not resumed with other files.
struct Folder {
    path: PathBuf,
    read: RefCell<String>,
}

impl Folder {
    fn record(&self, path: &str, parts: impl IntoIterator<Item = impl Hash>) {
        let mut hasher = DefaultHasher::new();
        parts.into_iter().for_each(|part| part.hash(&mut hasher));
        // Writing to a String cannot fail.
        let _ = writeln!(self.read.borrow_mut(), "{path}: {:016x}", hasher.finish());
    }
}

impl Files for Folder {
    fn text(&self, path: &str) -> Result<Arc<str>, String> {
        let text = std::fs::read_to_string(self.path.join(path)).map_err(|error| error.to_string())?;
        self.record(path, [&text]);
        Ok(text.into())
    }

    fn recorded(&self, path: &str) -> Result<Vec<RecordedRequest>, String> {
        let requests = recorded::read(&self.path, path).map_err(|error| crate::one_line(&error))?;
        let part = |request: &RecordedRequest| {
            (request.at, request.prompt_tokens, request.output_tokens, request.blocks.clone())
        };
        self.record(path, requests.iter().map(part));
        Ok(requests)
    }
}

fn change(experiment: &mut Experiment, args: &SimulateArgs) -> Result<()> {
    if !args.placement.is_empty() {
        experiment.select(&args.placement).context("--placement")?;
    }
    if !args.rate.is_empty() {
        for rate in &args.rate {
            ensure!(rate.is_finite() && *rate > 0.0, "--rate {rate}: a rate is above 0 requests per second");
        }
        experiment.rates.clone_from(&args.rate);
        experiment.rates.sort_by(f64::total_cmp);
        experiment.rates.dedup();
    }
    if let Some(seeds) = args.seeds {
        experiment.set_seeds(usize::try_from(seeds.get())?);
    }
    if !args.seed.is_empty() {
        experiment.seeds.clone_from(&args.seed);
        experiment.seeds.sort_unstable();
        experiment.seeds.dedup();
    }
    Ok(())
}

fn named(arm: &Arm) -> (String, Role) {
    let role = match arm.routing {
        Routing::Bound(_) => Role::Bound,
        Routing::Pool(_) | Routing::ServicePerConnection | Routing::ServicePerRequest => Role::Policy,
    };
    (arm.name.to_string(), role)
}

/// Every arm at every rate with every seed.
fn cells(experiment: &Experiment) -> Vec<Cell> {
    let mut cells = Vec::new();
    for arm in 0..experiment.arms.len() {
        for &rate in &experiment.rates {
            let cell = |&seed| Cell::new(arm, rate, seed, experiment.duration);
            cells.extend(experiment.seeds.iter().map(cell));
        }
    }
    cells
}

fn runner(experiment: Arc<Experiment>) -> impl Fn(&Cell, &AtomicU64) -> Result<SeedResult> + Send + Sync {
    let endpoints = endpoints(&experiment);
    let shares_prefixes = shares_prefixes(&experiment.workload);
    // Reports show the engines' load for the first seed only.
    let shown = experiment.seeds.iter().copied().min();
    move |cell, progress| {
        let arm = &experiment.arms[cell.arm];
        let mut jobs = Counted { jobs: experiment.jobs(cell.rate, cell.seed), left: cell.requests, progress };
        let scenario = experiment.scenario(arm);
        let outcome = simulate_checked(&scenario, &arm.routing, &mut jobs, cell.seed, CHECK_EVERY)?;
        progress.fetch_add(jobs.left, Ordering::Relaxed);
        let (policy, role) = named(arm);
        let of = RunParameters {
            policy: &policy,
            role,
            rate: cell.rate,
            seed: cell.seed,
            warm_up: experiment.warm_up,
            duration: experiment.duration,
            shares_prefixes,
            endpoints: if Some(cell.seed) == shown { &endpoints } else { &[] },
        };
        Ok(summarize(&of, &outcome))
    }
}

/// Counts jobs for the progress, up to the expected number.
struct Counted<'a, J> {
    jobs: J,
    left: u64,
    progress: &'a AtomicU64,
}

impl<J: Jobs> Jobs for Counted<'_, J> {
    fn next_job(&mut self) -> Option<Job> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        self.jobs.next_job()
    }

    fn follow_up(&mut self, ended: &Job, at: pointsman_core::Time) -> Option<Job> {
        self.jobs.follow_up(ended, at)
    }
}

/// Whether prompts share prefixes.
fn shares_prefixes(workload: &Workload) -> bool {
    workload.classes.iter().any(|class| {
        let recorded = match &class.lengths {
            Lengths::Rows(trace) => trace.block_tokens() > 0,
            Lengths::Drawn { .. } | Lengths::Pairs(_) => false,
        };
        recorded || class.prefixes.is_some() || class.sessions.is_some()
    })
}

fn endpoints(experiment: &Experiment) -> Vec<String> {
    let name = |(place, member): (usize, &pointsman_sim::EngineSpec)| match member.slowness {
        slowness if slowness > 1.0 => format!("engine {} ({slowness}x slower)", place + 1),
        _ => format!("engine {}", place + 1),
    };
    experiment.fleet.iter().enumerate().map(name).collect()
}

fn about(experiment: &Experiment, text: &str, command: &CommandLine) -> report::Experiment {
    let mut profiles: Vec<(&str, usize)> = Vec::new();
    for member in &experiment.fleet {
        match profiles.iter_mut().find(|(name, _)| *name == member.profile.name) {
            Some((_, count)) => *count += 1,
            None => profiles.push((&member.profile.name, 1)),
        }
    }
    let engines: Vec<String> = profiles.iter().map(|(name, count)| format!("{count} x {name}")).collect();
    let [duration, warm_up] =
        [experiment.duration, experiment.warm_up].map(|span| format!("{} s", span.as_secs_f64()));
    let fact = |name: &str, value: String| (name.to_owned(), value);
    report::Experiment {
        origin: report::sweep::Origin::Simulated,
        title: experiment.title.clone(),
        description: experiment.description.clone(),
        model: profiles.first().map(|(name, _)| (*name).to_owned()).unwrap_or_default(),
        baseline: experiment.arms.get(experiment.baseline).map(|arm| arm.name.to_string()),
        facts: vec![
            fact("engines", engines.join(", ")),
            fact("arrivals", format!("{duration}, of which {warm_up} are warm-up")),
            fact("seeds", experiment.seeds.len().to_string()),
        ],
        source: Some(text.to_owned()),
        command: command.of_sweep(),
        version: crate::VERSION.to_owned(),
    }
}
