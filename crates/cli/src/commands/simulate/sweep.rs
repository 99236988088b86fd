//! A sweep: all runs of an experiment, saved as they finish, and its output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use pointsman_report::sweep::{Knee, sweep_json, sweep_table};
use pointsman_report::{Rng, SeedResult, Sweep};
use tokio_util::sync::CancellationToken;

use super::cell::Cell;
use super::command::CommandLine;
use super::knee::Search;
use super::setup::Setup;
use super::state::State;
use super::workers::{self, Done, Workers};
use crate::args::simulate::SimulateArgs;
use crate::{progress, reports, shutdown};

/// Seed of the intervals' bootstrap: equal results print equal reports.
const BOOTSTRAP_SEED: u64 = 1;
/// The exit status of a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// How a sweep ended.
enum Ending {
    Complete,
    Interrupted,
    Failed,
}

pub(super) async fn run(setup: Setup, args: &SimulateArgs, command: &CommandLine) -> Result<ExitCode> {
    let stop = shutdown::on_signal()?.token;
    let mut saved = SavedResults::open(&setup, args)?;
    let sweeping = Sweeping { setup: &setup, command, threads: workers::threads(args.threads), stop };
    let mut ending = sweeping.simulate(&setup.cells, &mut saved).await?;
    let mut knees = Vec::new();
    if args.knee && matches!(ending, Ending::Complete) {
        let mut search = Search::new(&setup, &saved.results);
        while matches!(ending, Ending::Complete) {
            let cells = search.cells();
            if cells.is_empty() {
                break;
            }
            ending = sweeping.simulate(&cells, &mut saved).await?;
            search.learn(&saved.results);
        }
        knees = search.knees;
    }
    finish(&setup, args, command, saved, &ending, knees)
}

/// The context of a sweep's steps.
struct Sweeping<'a> {
    setup: &'a Setup,
    command: &'a CommandLine,
    threads: usize,
    stop: CancellationToken,
}

impl Sweeping<'_> {
    /// Simulates the cells without results.
    async fn simulate(&self, cells: &[Cell], saved: &mut SavedResults) -> Result<Ending> {
        let is_known = |cell: &Cell| saved.results.iter().any(|run| self.setup.is_of(cell, run));
        let mut left: Vec<Cell> = cells.iter().filter(|cell| !is_known(cell)).copied().collect();
        let bar = bar(cells, &left);
        // The longest first, so that no thread ends with a long one alone.
        left.sort_by_key(|cell| std::cmp::Reverse(cell.requests));
        let finished = cells.len() - left.len();
        let (run, progress) = (Arc::clone(&self.setup.run), Arc::new(AtomicU64::new(0)));
        let shared = Arc::clone(&progress);
        let mut workers = workers::start(left, self.threads, move |cell| run(cell, &shared));
        let ending = tokio::select! {
            ending = self.collect(&mut workers, saved, &bar, (finished, cells.len()), &progress) => ending?,
            () = self.stop.cancelled() => Ending::Interrupted,
        };
        bar.finish_and_clear();
        Ok(ending)
    }

    /// Collects results until all are there or one failed.
    async fn collect(
        &self,
        workers: &mut Workers<Cell, SeedResult>,
        saved: &mut SavedResults,
        bar: &ProgressBar,
        (mut finished, wanted): (usize, usize),
        progress: &AtomicU64,
    ) -> Result<Ending> {
        let start = bar.position();
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    bar.set_position(start + progress.load(Ordering::Relaxed));
                }
                done = workers.done.recv() => match done {
                    None => return Ok(Ending::Complete),
                    Some(Done { result: Ok(result), .. }) => {
                        saved.state.add(&result)?;
                        saved.results.push(result);
                        finished += 1;
                        bar.set_message(format!("{finished} of {wanted} runs"));
                    }
                    Some(Done { item: cell, result: Err(error), .. }) => {
                        let (name, _) = &self.setup.arms[cell.arm];
                        bar.suspend(|| {
                            eprintln!("error: {}", crate::one_line(&error));
                            eprintln!("reproduce this run with:\n  {}", self.command.of_cell(name, &cell));
                        });
                        return Ok(Ending::Failed);
                    }
                }
            }
        }
    }
}

/// Prints the results and, for an incomplete sweep, how to resume it.
fn finish(
    setup: &Setup,
    args: &SimulateArgs,
    command: &CommandLine,
    mut saved: SavedResults,
    ending: &Ending,
    knees: Vec<Knee>,
) -> Result<ExitCode> {
    let results = setup.sorted(&setup.cells, &saved.results);
    let sweep = Sweep::new(setup.about.clone(), &results, &mut Rng::seeded(BOOTSTRAP_SEED)).with_knees(knees);
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
            // The user did not ask for this file.
            if !saved.always {
                let _ = std::fs::remove_file(&saved.state.path);
            }
            Ok(ExitCode::SUCCESS)
        }
        Ending::Interrupted | Ending::Failed => {
            if !results.is_empty() {
                if !saved.always {
                    saved.state.begin(&saved.results)?;
                }
                eprintln!(
                    "stopped after {} of {} runs, which are saved in {}; resume with:\n  {}",
                    results.len(),
                    setup.cells.len(),
                    saved.state.path.display(),
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

/// The results so far, in memory and on disk.
struct SavedResults {
    results: Vec<SeedResult>,
    state: State,
    /// Whether each result is written as it arrives: where the user named a place for results.
    always: bool,
}

impl SavedResults {
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
}

/// The path of a sweep's state: the one given, else beside the report, else in the working directory.
fn place(given: Option<&Path>, report: Option<&Path>, file: &Path) -> PathBuf {
    match (given, report) {
        (Some(given), _) => given.to_owned(),
        (None, Some(page)) if reports::is_page(page) => page.with_extension("sweep.jsonl"),
        (None, Some(folder)) => folder.join("sweep.jsonl"),
        (None, None) => Path::new(file.file_name().unwrap_or_default()).with_extension("sweep.jsonl"),
    }
}

/// A progress bar over requests, since runs differ in length; hidden where standard error is not a terminal.
fn bar(all: &[Cell], left: &[Cell]) -> ProgressBar {
    let requests = |cells: &[Cell]| cells.iter().map(|cell| cell.requests).sum::<u64>();
    let bar = ProgressBar::new(requests(all)).with_position(requests(all) - requests(left));
    let bar = progress::styled(bar, "{bar:40} {percent}% {msg}  {elapsed}, {eta} left");
    bar.reset_eta();
    bar.set_message(format!("{} of {} runs", all.len() - left.len(), all.len()));
    bar
}
