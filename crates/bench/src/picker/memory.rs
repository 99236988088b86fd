//! The picker's memory under sustained load: it must not grow.

use std::sync::Arc;
use std::time::Duration;

use pointsman_report::{Table, count, mebibytes, median};
use serde::Serialize;
use tokio::task::JoinSet;

use super::PickerCommands;
use super::arms::PickerStack;
use crate::client::Client;
use crate::measurement::load::{IN_FLIGHT, answered_or_paused, small_request, stub_streams, stub_workload};
use crate::measurement::{MeasurementError, until_signal};
use crate::run::{LoadOptions, Progress, run_plan};
use crate::workload::{OfferedLoad, Plan};

/// Engines behind Envoy.
const ENGINES: u16 = 10;
/// Period in which the slow streams start.
const START: Duration = Duration::from_secs(10);
/// Events of a slow stream, and the interval between them.
const SLOW_EVENTS: u32 = 40;
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Rate of 1 MB prompts, and their length in tokens.
const PROMPTS_PER_SECOND: f64 = 5.0;
const LONG: u32 = 250_000;
/// Sampling interval of the memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// Time between the end of a load and the last sample.
const SETTLE: Duration = Duration::from_secs(3);
/// Limit of the picker's memory without the prefix index: 40 MiB.
const BASE: u64 = 40 << 20;
/// Limit of a pool's prefix index.
const INDEX: u64 = 64 << 20;
/// Growth in the second half of a load that counts as noise.
const NOISE: u64 = 2 << 20;

/// A sustained load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryLoad {
    /// Number of concurrent streams with one token per second.
    SlowStreams(u32),
    /// 1 MB prompts, five per second, for this time.
    LongPrompts(Duration),
    /// Number of small requests with different prompts, 64 in flight.
    SmallRequests(u64),
}

/// Resident memory of the picker under one load, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryRow {
    /// The load.
    pub load: MemoryLoad,
    /// Requests with a complete response.
    pub completed: u64,
    /// All other requests.
    pub failed: u64,
    /// Before the load.
    pub before: u64,
    /// Median of the third quarter.
    pub third_quarter: u64,
    /// Median of the last quarter.
    pub last_quarter: u64,
    /// Maximum.
    pub highest: u64,
    /// Some seconds after the load.
    pub after: u64,
    /// Limit of the maximum: the base and, where prompts differ, the prefix index.
    pub limit: u64,
}

/// The rows of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryReport {
    /// One per load.
    pub rows: Vec<MemoryRow>,
}

/// Runs these loads one after the other, each through a new Envoy and a new picker that receives all bodies. Blocks; it runs its
/// own single-threaded runtime. `on_step` receives the load and its number of finished requests.
///
/// # Errors
/// See [`MeasurementError`]. Started servers are stopped in any case.
pub fn run_memory(
    commands: &PickerCommands,
    loads: &[MemoryLoad],
    mut on_step: impl FnMut(MemoryLoad, u64),
) -> Result<MemoryReport, MeasurementError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_signal(async {
        let mut rows = Vec::new();
        for load in loads {
            rows.push(measure(commands, *load, &mut on_step).await?);
        }
        Ok(MemoryReport { rows })
    }))
}

async fn measure(
    commands: &PickerCommands,
    load: MemoryLoad,
    on_step: &mut impl FnMut(MemoryLoad, u64),
) -> Result<MemoryRow, MeasurementError> {
    let interval = if let MemoryLoad::SlowStreams(_) = load { Some(SLOW_INTERVAL) } else { None };
    let stack = PickerStack::start(commands, ENGINES, interval).await?;
    let before = stack.picker.resident()?;
    let progress = Arc::<Progress>::default();
    let mut running = std::pin::pin!(run(load, Arc::clone(&stack.client), Arc::clone(&progress)));
    let (mut seen, mut looks) = (Vec::new(), tokio::time::interval(SAMPLE_INTERVAL));
    loop {
        tokio::select! {
            ended = running.as_mut() => break ended?,
            _ = looks.tick() => {
                seen.push(stack.picker.resident()?);
                on_step(load, progress.finished.get());
            }
        }
    }
    tokio::time::sleep(SETTLE).await;
    let (third_quarter, last_quarter) = quarters(&seen);
    Ok(MemoryRow {
        load,
        completed: progress.finished.get().saturating_sub(progress.failed.get()),
        failed: progress.failed.get(),
        before,
        third_quarter,
        last_quarter,
        highest: seen.iter().copied().max().unwrap_or(before),
        after: stack.picker.resident()?,
        limit: load.limit(),
    })
}

async fn run(load: MemoryLoad, client: Arc<Client>, progress: Arc<Progress>) -> Result<(), MeasurementError> {
    let plan = match load {
        MemoryLoad::SlowStreams(streams) => {
            stub_streams(f64::from(streams) / START.as_secs_f64(), START, SLOW_EVENTS).plan(1)?
        }
        MemoryLoad::LongPrompts(span) => {
            stub_workload(OfferedLoad::constant(PROMPTS_PER_SECOND), span, LONG).plan(1)?
        }
        MemoryLoad::SmallRequests(requests) => {
            closed_loop(&client, Arc::new(small_request()?), requests, &progress).await;
            return Ok(());
        }
    };
    run_plan(&Arc::new(plan), &client, LoadOptions::default(), &progress).await?;
    Ok(())
}

/// Sends the plan's first request `requests` times, each time with another prompt.
async fn closed_loop(client: &Arc<Client>, plan: Arc<Plan>, requests: u64, progress: &Arc<Progress>) {
    let mut workers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, plan, progress) = (Arc::clone(client), Arc::clone(&plan), Arc::clone(progress));
        workers.spawn(async move {
            let Some(request) = plan.requests.first() else { return };
            loop {
                let number = progress.sent.add(1);
                if number >= requests {
                    return;
                }
                let success = answered_or_paused(&client, plan.body(request, number)).await;
                progress.finished.add(1);
                progress.failed.add(u64::from(!success));
            }
        });
    }
    while workers.join_next().await.is_some() {}
}

/// The medians of the third and of the last quarter.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes stay far below 2^53"
)]
fn quarters(seen: &[u64]) -> (u64, u64) {
    let values: Vec<f64> = seen.iter().map(|bytes| *bytes as f64).collect();
    let (half, three) = (values.len() / 2, values.len() * 3 / 4);
    let of = |part: &[f64]| median(part).unwrap_or(0.0) as u64;
    (of(&values[half..three]), of(&values[three..]))
}

impl MemoryLoad {
    /// The label in tables.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::SlowStreams(streams) => format!("{} slow streams", count(streams.into())),
            Self::LongPrompts(span) => format!("1 MB prompts for {} s", span.as_secs()),
            Self::SmallRequests(requests) => format!("{} small requests", count(requests)),
        }
    }

    /// Number of requests.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    pub fn requests(self) -> u64 {
        match self {
            Self::SlowStreams(streams) => streams.into(),
            Self::LongPrompts(span) => (span.as_secs_f64() * PROMPTS_PER_SECOND) as u64,
            Self::SmallRequests(requests) => requests,
        }
    }

    const fn limit(self) -> u64 {
        match self {
            Self::SlowStreams(_) => BASE,
            Self::LongPrompts(_) | Self::SmallRequests(_) => BASE + INDEX,
        }
    }
}

/// The verdict on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryVerdict {
    /// Memory stayed within its limit and did not grow in the second half.
    Flat,
    /// It did not grow in the second half, but exceeded its limit.
    OverLimit,
    /// It still grew in the last half.
    Grows,
    /// Not every request was answered, so the rest shows nothing.
    Failed,
}

impl MemoryVerdict {
    const fn label(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::OverLimit => "flat, but over the limit",
            Self::Grows => "grows",
            Self::Failed => "failed",
        }
    }
}

impl MemoryRow {
    /// The verdict on this row.
    #[must_use]
    pub const fn verdict(&self) -> MemoryVerdict {
        if self.failed > 0 {
            MemoryVerdict::Failed
        } else if self.last_quarter > self.third_quarter + self.third_quarter / 20 + NOISE {
            MemoryVerdict::Grows
        } else if self.highest > self.limit {
            MemoryVerdict::OverLimit
        } else {
            MemoryVerdict::Flat
        }
    }
}

impl MemoryReport {
    /// Whether memory stayed flat and within its limit under every load.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.rows.iter().all(|row| row.verdict() == MemoryVerdict::Flat)
    }

    /// One row per load.
    #[must_use]
    pub fn table(&self) -> Table {
        let headings =
            ["", "answered", "failed", "before", "3rd quarter", "4th quarter", "most", "after", "limit", ""];
        let mut table = Table::new(headings);
        for row in &self.rows {
            let size = |bytes: u64| mebibytes(Some(bytes));
            table.row([
                row.load.label(),
                count(row.completed),
                count(row.failed),
                size(row.before),
                size(row.third_quarter),
                size(row.last_quarter),
                size(row.highest),
                size(row.after),
                size(row.limit),
                row.verdict().label().to_owned(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seen: &[u64]) -> MemoryRow {
        let seen: Vec<u64> = seen.iter().map(|mebibytes| mebibytes << 20).collect();
        let (third_quarter, last_quarter) = quarters(&seen);
        MemoryRow {
            load: MemoryLoad::SlowStreams(2_000),
            completed: 2_000,
            failed: 0,
            before: seen[0],
            third_quarter,
            last_quarter,
            highest: seen.iter().copied().max().unwrap(),
            after: seen[0],
            limit: MemoryLoad::SlowStreams(2_000).limit(),
        }
    }

    fn check(seen: &[u64], expected: MemoryVerdict) {
        assert_eq!(row(seen).verdict(), expected, "{seen:?}");
    }

    #[test]
    fn memory_may_grow_at_first_and_not_at_the_end() {
        check(&[10, 20, 30, 35, 38, 38, 38, 38], MemoryVerdict::Flat);
        check(&[10, 12, 14, 16, 20, 22, 26, 28], MemoryVerdict::Grows);
        check(&[10, 20, 41, 30, 30, 30, 30, 30], MemoryVerdict::OverLimit);
        assert_eq!(MemoryRow { failed: 1, ..row(&[10; 8]) }.verdict(), MemoryVerdict::Failed);
        assert!(!MemoryReport { rows: vec![row(&[10; 8]), row(&[41; 8])] }.is_flat());
    }

    #[test]
    fn the_table_has_a_row_for_each_load() {
        let mut long = row(&[10; 8]);
        long.load = MemoryLoad::LongPrompts(Duration::from_secs(600));
        let text = MemoryReport { rows: vec![row(&[41; 8]), long] }.table().render(200);
        assert!(text.contains("2,000 slow streams") && text.contains("over the limit"), "{text}");
        assert!(text.contains("1 MB prompts for 600 s"), "{text}");
        assert_eq!(MemoryLoad::LongPrompts(Duration::from_secs(600)).requests(), 3_000);
    }
}
