//! Many conversations at the same time with one picker.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pointsman_config::ClientTimeouts;
use pointsman_extproc::PickerOptions;

use crate::call::hold;
use crate::outcomes;
use crate::running::{Running, options, world};
use crate::script::Conversation;

/// Time in which nothing may remain after the last gateway has gone.
const QUIET: Duration = Duration::from_secs(15);
/// Endpoints: so many that failures in the scripts do not eject all of them.
const ENDPOINTS: u16 = 40;

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Holds the conversations, all at the same time, and returns what was wrong, with how to repeat it.
pub async fn run_batch(all: &[Conversation]) -> Vec<String> {
    let _alone = ONE_AT_A_TIME.lock().await;
    outcomes::collect();
    let mut world = world(&(1..=ENDPOINTS).collect::<Vec<_>>());
    world.gateway.max_body_bytes = 100_000;
    world.gateway.client_timeouts = ClientTimeouts {
        body: Duration::from_millis(900),
        body_idle: Duration::from_millis(400),
        ..ClientTimeouts::default()
    };
    let options =
        PickerOptions { pick_timeout: Duration::from_millis(500), handover: Duration::ZERO, ..options() };
    let lines_before = outcomes::lines("default/pool");
    let picker = Running::with(world, options).await;
    let seen = join_all(all.iter().map(|conversation| hold(conversation, picker.grpc))).await;

    let mut faults = Vec::new();
    for (conversation, seen) in all.iter().zip(&seen) {
        for (script, seen) in conversation.calls.iter().zip(seen) {
            if !seen.faults.is_empty() {
                let lines = seen.faults.join("\n  ");
                faults.push(format!(
                    "FUZZ_SEED={} {script:?} of {conversation:?}\n  {lines}",
                    conversation.seed
                ));
            }
        }
    }
    let mut together = quiet(&picker).await;
    let lines = outcomes::lines("default/pool") - lines_before;
    let total: f64 = counted(&picker, "pointsman_requests_total{", "");
    let heads: usize = seen.iter().flatten().map(|seen| seen.heads).sum();
    if total as usize != lines || lines > heads {
        together.push(format!("{heads} requests, {total} outcomes, {lines} log lines"));
    }
    picker.stop.cancel();
    if tokio::time::timeout(QUIET, picker.task).await.is_err() {
        together.push("the picker does not stop".into());
    }
    picker.fleet.stop().await;
    together.extend(outcomes::panics().into_iter().map(|place| format!("a panic at {place}")));
    if !together.is_empty() {
        let seeds: Vec<String> = all.iter().map(|one| one.seed.to_string()).collect();
        faults.push(format!("FUZZ_SEED={} all together\n  {}", seeds.join(","), together.join("\n  ")));
    }
    faults
}

/// Waits until nothing remains of the conversations; says what does.
async fn quiet(picker: &Running) -> Vec<String> {
    const GAUGES: [&str; 4] = [
        "pointsman_requests_in_flight ",
        "pointsman_held_body_bytes ",
        "pointsman_streams_in_flight{",
        "inference_objective_running_requests{",
    ];
    let end = Instant::now() + QUIET;
    loop {
        let mut left: Vec<String> = GAUGES
            .iter()
            .filter_map(|gauge| {
                let value = counted(picker, gauge, "");
                (value > 0.0).then(|| format!("{gauge}is {value} after the last stream has gone"))
            })
            .collect();
        let reserved = picker.fleet.in_flight();
        if reserved > 0 {
            left.push(format!("{reserved} requests stay reserved"));
        }
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn counted(picker: &Running, start: &str, label: &str) -> f64 {
    let page = picker.page();
    let lines = page.lines().filter(|line| line.starts_with(start) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
