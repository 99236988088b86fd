//! A sweep: all runs of an experiment, kept as they finish, and what is printed of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_report::sweep::{Knee, Role, sweep_json, sweep_table};
use pointsman_report::{Experiment, Random, SeedResult, Sweep};
use tokio_util::sync::CancellationToken;

use super::cells::{self, Cell, Done, Progress, Working};
use super::command::CommandLine;
use super::knee::Search;

use super::state::State;
use crate::args::simulate::SimulateArgs;
use crate::{reports, shutdown};

/// Fixes the resamples of the intervals: equal results print equal reports.
const RESAMPLES: u64 = 1;
/// What a shell calls a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Simulates one run.
pub(super) type RunCell = dyn Fn(&Cell, &Progress) -> Result<SeedResult> + Send + Sync;

/// An experiment, ready to run.
pub(super) struct Setup {
    /// What it is about, for the report.
    pub(super) about: Experiment,
    /// Its file, verbatim, and which state of the files beside it was read.
    pub(super) identity: String,
    /// The names of policies and bounds, in the order of the file.
    pub(super) arms: Arc<[(String, Role)]>,
    pub(super) cells: Vec<Cell>,
    /// For how long requests arrive.
    pub(super) duration: Duration,
    pub(super) run: Arc<RunCell>,
}

/// How a sweep ended.
enum Ending {
    Complete,
    Interrupted,
    Failed,
}

pub(super) async fn run(setup: Setup, args: &SimulateArgs, command: &CommandLine) -> Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    let mut keeping = Keeping::open(&setup, args)?;
    let sweeping = Sweeping {
        setup: &setup,
        command,
        threads: args.threads.map_or_else(std::thread::available_parallelism, Ok).map_or(1, usize::from),
        stop,
    };
    let mut ending = sweeping.work(&setup.cells, &mut keeping).await?;
    let mut knees = Vec::new();
    if args.knee && matches!(ending, Ending::Complete) {
        let mut search = Search::new(&setup, &keeping.results);
        while matches!(ending, Ending::Complete) {
            let cells = search.cells();
            if cells.is_empty() {
                break;
            }
            ending = sweeping.work(&cells, &mut keeping).await?;
            search.learn(&keeping.results);
        }
        knees = search.into_knees();
    }
    finish(&setup, args, command, keeping, &ending, knees)
}

impl Setup {
    /// The policy or bound of that name.
    pub(super) fn arm(&self, name: &str) -> Option<usize> {
        self.arms.iter().position(|(known, _)| known == name)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; about as many will do"
    )]
    pub(super) fn cell(&self, arm: usize, rate: f64, seed: u64) -> Cell {
        let requests = (rate * self.duration.as_secs_f64()).round() as u64;
        Cell { arm, rate, seed, requests }
    }

    pub(super) fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.cells.iter().map(|cell| cell.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// The runs of these cells in their order, whatever order they finished in.
    pub(super) fn sorted(&self, cells: &[Cell], results: &[SeedResult]) -> Vec<SeedResult> {
        cells.iter().filter_map(|cell| results.iter().find(|run| self.is_of(cell, run)).cloned()).collect()
    }

    fn is_of(&self, cell: &Cell, run: &SeedResult) -> bool {
        let (name, role) = &self.arms[cell.arm];
        *name == run.policy && *role == run.role && cell.rate == run.rate && cell.seed == run.seed
    }
}

/// What all parts of a sweep have in common.
struct Sweeping<'a> {
    setup: &'a Setup,
    command: &'a CommandLine,
    threads: usize,
    stop: CancellationToken,
}

impl Sweeping<'_> {
    /// Simulates those of the cells that are not known yet.
    async fn work(&self, cells: &[Cell], keeping: &mut Keeping) -> Result<Ending> {
        let is_known = |cell: &Cell| keeping.results.iter().any(|run| self.setup.is_of(cell, run));
        let left: Vec<Cell> = cells.iter().filter(|cell| !is_known(cell)).copied().collect();
        let bar = bar(cells, &left);
        let simulate = Arc::clone(&self.setup.run);
        let mut working = cells::start(left, self.threads, move |cell, progress| simulate(cell, progress));
        let ending = tokio::select! {
            ending = self.collect(&mut working, keeping, &bar, cells.len()) => ending?,
            () = self.stop.cancelled() => Ending::Interrupted,
        };
        bar.finish_and_clear();
        Ok(ending)
    }

    /// Takes in results until all are there or one failed.
    async fn collect(
        &self,
        working: &mut Working,
        keeping: &mut Keeping,
        bar: &ProgressBar,
        wanted: usize,
    ) -> Result<Ending> {
        let start = bar.position();
        let mut there = wanted - working.cells;
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    bar.set_position(start + working.progress.requests());
                }
                done = working.done.recv() => match done {
                    None => return Ok(Ending::Complete),
                    Some(Done { result: Ok(result), .. }) => {
                        keeping.add(result)?;
                        there += 1;
                        bar.set_message(format!("{there} of {wanted} runs"));
                    }
                    Some(Done { cell, result: Err(error) }) => {
                        let (name, _) = &self.setup.arms[cell.arm];
                        bar.suspend(|| {
                            eprintln!("error: {}", crate::one_line(&error));
                            eprintln!("repeat exactly this run with:\n  {}", self.command.of_cell(name, &cell));
                        });
                        return Ok(Ending::Failed);
                    }
                }
            }
        }
    }
}

/// Prints what there is, and says how to go on.
fn finish(
    setup: &Setup,
    args: &SimulateArgs,
    command: &CommandLine,
    mut keeping: Keeping,
    ending: &Ending,
    knees: Vec<Knee>,
) -> Result<ExitCode> {
    let results = setup.sorted(&setup.cells, &keeping.results);
    let sweep = Sweep::new(setup.about.clone(), &results, &mut Random::new(RESAMPLES)).with_knees(knees);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&sweep_json(&sweep))?);
    } else if !results.is_empty() {
        print!("{}", sweep_table(&sweep, crate::width()));
    }
    match ending {
        Ending::Complete => {
            if let Some(report) = &args.report {
                reports::write(report, &sweep)?;
            }
            keeping.finished();
            Ok(ExitCode::SUCCESS)
        }
        Ending::Interrupted | Ending::Failed => {
            if !results.is_empty() {
                keeping.keep()?;
                eprintln!(
                    "stopped after {} of {} runs, which are kept in {}; go on with:\n  {}",
                    results.len(),
                    setup.cells.len(),
                    keeping.state.path().display(),
                    command.resumed()
                );
            }
            Ok(match ending {
                Ending::Interrupted => ExitCode::from(INTERRUPTED),
                Ending::Complete | Ending::Failed => ExitCode::FAILURE,
            })
        }
    }
}

/// The results so far, and where they are kept.
struct Keeping {
    results: Vec<SeedResult>,
    state: State,
    /// Whether each result is written down as it comes: where the user named a place for results.
    always: bool,
}

impl Keeping {
    fn open(setup: &Setup, args: &SimulateArgs) -> Result<Self> {
        let file = args.file.as_deref().unwrap_or(Path::new("experiment"));
        let place = place(args.state.as_deref(), args.report.as_deref(), file);
        let mut state = State::new(place, &setup.identity);
        let results = if args.resume { state.read().context("--resume")? } else { Vec::new() };
        let always = args.state.is_some() || args.report.is_some();
        if always {
            state.begin(&results)?;
        }
        Ok(Self { results, state, always })
    }

    fn add(&mut self, result: SeedResult) -> Result<()> {
        self.state.add(&result)?;
        self.results.push(result);
        Ok(())
    }

    /// Writes everything down.
    fn keep(&mut self) -> Result<()> {
        if self.always { Ok(()) } else { self.state.begin(&self.results) }
    }

    /// A file that nobody asked for goes when it is no longer needed.
    fn finished(self) {
        if !self.always {
            let _ = std::fs::remove_file(self.state.path());
        }
    }
}

/// Where a sweep is kept: where the user says, else beside its report, else in the working directory.
fn place(given: Option<&Path>, report: Option<&Path>, file: &Path) -> PathBuf {
    match (given, report) {
        (Some(given), _) => given.to_owned(),
        (None, Some(page)) if reports::is_page(page) => page.with_extension("sweep.jsonl"),
        (None, Some(folder)) => folder.join("sweep.jsonl"),
        (None, None) => Path::new(file.file_name().unwrap_or_default()).with_extension("sweep.jsonl"),
    }
}

/// A bar over requests, since runs differ in length; hidden where standard error is no terminal.
fn bar(all: &[Cell], left: &[Cell]) -> ProgressBar {
    let requests = |cells: &[Cell]| cells.iter().map(|cell| cell.requests).sum::<u64>();
    let bar = ProgressBar::new(requests(all)).with_position(requests(all) - requests(left));
    let template = "{bar:40} {percent}% {msg}  {elapsed}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.reset_eta();
    bar.set_message(format!("{} of {} runs", all.len() - left.len(), all.len()));
    bar
}
