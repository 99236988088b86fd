//! The runs of a sweep, and the threads that work through them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use pointsman_report::SeedResult;
use tokio::sync::mpsc;

/// One run: an arm of the experiment at a rate with a seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// The arm, by its place in the experiment.
    pub(super) arm: usize,
    /// Requests per second.
    pub(super) rate: f64,
    pub(super) seed: u64,
    /// About how many requests it has.
    pub(super) requests: u64,
}

/// What became of a cell.
pub(super) struct Done {
    pub(super) cell: Cell,
    pub(super) result: Result<SeedResult>,
}

/// How far the threads are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Requests simulated so far, in cells finished and under way.
    requests: AtomicU64,
}

impl Progress {
    /// So many more.
    pub(super) fn add(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// What the threads share.
struct Work<R> {
    cells: Vec<Cell>,
    next: AtomicUsize,
    stop: AtomicBool,
    progress: Arc<Progress>,
    run: R,
}

/// Cells being worked on. Dropping it stops the threads at their next cell; nobody waits for those under way.
pub(super) struct Working {
    /// How many there are.
    pub(super) cells: usize,
    pub(super) done: mpsc::UnboundedReceiver<Done>,
    pub(super) progress: Arc<Progress>,
    stop: Box<dyn Fn() + Send>,
}

impl Drop for Working {
    fn drop(&mut self) {
        (self.stop)();
    }
}

/// Starts a thread per core, which take the longest cells first, so that no core ends with a long one alone. What a
/// cell comes to depends on the cell alone, so the number of threads and their order make no difference.
pub(super) fn start<R>(mut cells: Vec<Cell>, threads: usize, run: R) -> Working
where
    R: Fn(&Cell, &Progress) -> Result<SeedResult> + Send + Sync + 'static,
{
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.requests));
    let (count, threads) = (cells.len(), threads.min(cells.len()));
    let (report, done) = mpsc::unbounded_channel();
    let progress = Arc::new(Progress::default());
    let work = Arc::new(Work {
        cells,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        progress: Arc::clone(&progress),
        run,
    });
    for _ in 0..threads {
        let (work, report) = (Arc::clone(&work), report.clone());
        std::thread::spawn(move || work.take_cells(&report));
    }
    let stop = Box::new(move || work.stop.store(true, Ordering::Relaxed));
    Working { cells: count, done, progress, stop }
}

impl<R> Work<R>
where
    R: Fn(&Cell, &Progress) -> Result<SeedResult>,
{
    fn take_cells(&self, report: &mpsc::UnboundedSender<Done>) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(cell) = self.cells.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            // A fault in a policy ends this cell with its seed named, not the sweep without a word.
            let result = catch_unwind(AssertUnwindSafe(|| (self.run)(cell, &self.progress)))
                .unwrap_or_else(|_| Err(anyhow!("the simulation panicked; what it said stands above")));
            if report.send(Done { cell: *cell, result }).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(lengths: &[u64]) -> Vec<Cell> {
        lengths.iter().zip(0..).map(|(&requests, seed)| Cell { arm: 0, rate: 1.0, seed, requests }).collect()
    }

    fn work(lengths: &[u64], run: fn(&Cell)) -> Vec<(u64, Option<String>)> {
        let simulate = move |cell: &Cell, _: &Progress| -> Result<SeedResult> {
            run(cell);
            Err(anyhow!("seed {} says no", cell.seed))
        };
        let mut working = start(cells(lengths), 1, simulate);
        let done = std::iter::from_fn(|| working.done.blocking_recv());
        done.map(|done| (done.cell.seed, done.result.err().map(|error| error.to_string()))).collect()
    }

    #[test]
    fn the_longest_cells_come_first() {
        let seeds: Vec<u64> = work(&[5, 50, 1, 20], |_| ()).into_iter().map(|(seed, _)| seed).collect();
        assert_eq!(seeds, [1, 3, 0, 2]);
        assert!(work(&[], |_| ()).is_empty());
    }

    #[test]
    fn a_panic_is_an_error_of_its_cell_and_ends_no_other() {
        let done = work(&[2, 1], |cell| assert_ne!(cell.seed, 0, "a fault in a policy"));
        assert_eq!(done.len(), 2);
        assert!(done[0].1.as_ref().is_some_and(|error| error.contains("panicked")), "{done:?}");
        assert!(done[1].1.as_ref().is_some_and(|error| error.contains("seed 1")), "{done:?}");
    }
}
