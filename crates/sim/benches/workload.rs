//! Cost of generating jobs, which must be small against the simulator's target of 100,000 requests per second and core.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pointsman_sim::experiment::load;
use pointsman_workload::Jobs;
use pointsman_yaml::SourceText;

const JOBS: usize = 10_000;

fn main() {
    divan::main();
}

/// Ten thousand jobs of a workload.
#[divan::bench(args = [
    "{lengths: sharegpt}",
    "{lengths: sharegpt, arrivals: {kind: gamma, cv: 13}, criticality: {critical: 1, standard: 1}, adapters: {count: 15}}",
    "{lengths: {prompt: 1200, output: 300}, prefixes: {groups: 400, tokens: 6000}}",
])]
fn jobs(bencher: Bencher<'_, '_>, workload: &str) {
    let text = format!(
        "profiles: {{long: {{base: llama-3-8b-h100, maxModelLen: 16384}}}}\n\
         fleet: [{{profile: long}}]\nrates: [10000]\nduration: 100s\nworkload: {workload}"
    );
    let nothing = |_: &str| Err::<Arc<str>, String>("there are no files".to_owned());
    let experiment = load(&SourceText::new("bench.yaml", text), &nothing).unwrap_or_else(|p| panic!("{p:?}"));
    bencher.counter(ItemsCount::new(JOBS)).with_inputs(|| experiment.jobs(10_000.0, 1)).bench_local_values(
        |mut jobs| {
            for _ in 0..JOBS {
                black_box(jobs.next_job());
            }
        },
    );
}
