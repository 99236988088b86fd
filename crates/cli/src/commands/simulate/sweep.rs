//! A sweep: all runs of an experiment, kept as they finish, and what is printed of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pointsman_report::sweep::{Role, sweep_json, sweep_table};
use pointsman_report::{Experiment, Random, SeedResult, Sweep};

use super::cells::{self, Cell, Done, Progress, Working};
use super::command::CommandLine;

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
    /// Its file, verbatim.
    pub(super) text: Arc<str>,
    /// The names of policies and bounds, in the order of the file.
    pub(super) arms: Arc<[(String, Role)]>,
    pub(super) cells: Vec<Cell>,
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
    let known = std::mem::take(&mut keeping.results);
    let left: Vec<Cell> =
        setup.cells.iter().filter(|cell| !known.iter().any(|run| setup.is_of(cell, run))).copied().collect();
    let bar = bar(&setup.cells, &left);
    let simulate = Arc::clone(&setup.run);
    let threads = args.threads.map_or_else(std::thread::available_parallelism, Ok).map_or(1, usize::from);
    let mut working = cells::start(left, threads, move |cell, progress| simulate(cell, progress));
    keeping.results = known;
    let ending = tokio::select! {
        ending = collect(&mut working, &mut keeping, &bar, &setup, command) => ending?,
        () = stop.cancelled() => Ending::Interrupted,
    };
    drop(working);
    bar.finish_and_clear();
    finish(&setup, args, command, keeping, &ending)
}

impl Setup {
    fn is_of(&self, cell: &Cell, run: &SeedResult) -> bool {
        let (name, role) = &self.arms[cell.arm];
        *name == run.policy && *role == run.role && cell.rate == run.rate && cell.seed == run.seed
    }

    /// The runs in the order of the experiment, whatever order they finished in.
    fn sorted(&self, results: &[SeedResult]) -> Vec<SeedResult> {
        let of_cell = |cell: &Cell| results.iter().find(|run| self.is_of(cell, run)).cloned();
        self.cells.iter().filter_map(of_cell).collect()
    }
}

/// Takes in results until all are there or one failed.
async fn collect(
    working: &mut Working,
    keeping: &mut Keeping,
    bar: &ProgressBar,
    setup: &Setup,
    command: &CommandLine,
) -> Result<Ending> {
    let start = bar.position();
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
                    bar.set_message(format!("{} of {} runs", keeping.results.len(), setup.cells.len()));
                }
                Some(Done { cell, result: Err(error) }) => {
                    bar.suspend(|| {
                        eprintln!("error: {}", crate::one_line(&error));
                        eprintln!("repeat exactly this run with:\n  {}", command.of_cell(&setup.arms[cell.arm].0, &cell));
                    });
                    return Ok(Ending::Failed);
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
) -> Result<ExitCode> {
    let results = setup.sorted(&keeping.results);
    let sweep = Sweep::new(setup.about.clone(), &results, &mut Random::new(RESAMPLES));
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
        let mut state = State::new(place, &setup.text);
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
