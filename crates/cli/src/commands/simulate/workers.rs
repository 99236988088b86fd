//! Worker threads that map a function over items, for sweeps and searches.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use tokio::sync::mpsc;

/// A processed item.
pub(super) struct Done<I, O> {
    index: usize,
    pub(super) item: I,
    pub(super) result: Result<O>,
}

/// Running worker threads. Dropping it stops them at their next item, without waiting for those in progress.
pub(super) struct Workers<I, O> {
    pub(super) done: mpsc::UnboundedReceiver<Done<I, O>>,
    stop: Arc<AtomicBool>,
}

impl<I, O> Drop for Workers<I, O> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The number of threads asked for, or one per core.
pub(super) fn threads(wanted: Option<NonZeroUsize>) -> usize {
    wanted.map_or_else(std::thread::available_parallelism, Ok).map_or(1, usize::from)
}

/// Starts threads that take the items in order. Results arrive as they finish; each depends on its item alone, so the
/// number of threads makes no difference.
pub(super) fn start<I, O>(
    items: Vec<I>,
    threads: usize,
    run: impl Fn(&I) -> Result<O> + Send + Sync + 'static,
) -> Workers<I, O>
where
    I: Copy + Send + Sync + 'static,
    O: Send + 'static,
{
    let (report, done) = mpsc::unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let threads = threads.min(items.len());
    let work = Arc::new((items, AtomicUsize::new(0), run));
    for _ in 0..threads {
        let (work, stop, report) = (Arc::clone(&work), Arc::clone(&stop), report.clone());
        std::thread::spawn(move || {
            let (items, next, run) = &*work;
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(&item) = items.get(index) else { break };
                // A panic fails its item, with the seed named, and not the whole sweep.
                let result = catch_unwind(AssertUnwindSafe(|| run(&item)))
                    .unwrap_or_else(|_| Err(anyhow!("the simulation panicked; see the message above")));
                if report.send(Done { index, item, result }).is_err() {
                    break;
                }
            }
        });
    }
    Workers { done, stop }
}

impl<I, O> Workers<I, O> {
    /// Waits for all results, in the order of the items. Blocks.
    ///
    /// # Errors
    /// The first error in the order of the items.
    pub(super) fn collect(mut self) -> Result<Vec<O>> {
        let mut done: Vec<Done<I, O>> = std::iter::from_fn(|| self.done.blocking_recv()).collect();
        done.sort_by_key(|done| done.index);
        done.into_iter().map(|done| done.result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() -> Result<()> {
        let doubled = start(vec![5, 50, 1, 20], 3, |item: &u64| Ok(item * 2)).collect()?;
        assert_eq!(doubled, [10, 100, 2, 40]);
        assert!(start(Vec::new(), 4, |item: &u64| Ok(*item)).collect()?.is_empty());
        Ok(())
    }

    #[test]
    fn a_panic_fails_its_item_and_no_other() {
        let mut workers = start(vec![0, 1], 1, |item: &u64| -> Result<()> {
            assert_ne!(*item, 0, "a bug in a placement");
            Err(anyhow!("item {item} fails"))
        });
        let done: Vec<Done<u64, ()>> = std::iter::from_fn(|| workers.done.blocking_recv()).collect();
        let errors: Vec<String> =
            done.iter().filter_map(|done| done.result.as_ref().err()).map(ToString::to_string).collect();
        assert!(errors.len() == 2 && errors[0].contains("panicked") && errors[1].contains("item 1"));
    }
}
