//! Published figures, the model's figures, and their differences.

use std::fmt::Write as _;

use pointsman_sim::engine::{Batch, BuiltinProfile, EngineProfile};
use pointsman_workload::{Draw, Purpose};

use crate::fleet::{Run, mean, quantile, run};

use crate::lengths::lengths;

/// One published figure and the model's.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) published: f64,
    pub(crate) ours: f64,
    /// The model's figures under other conditions, one per column.
    pub(crate) others: Vec<f64>,
    pub(crate) digits: usize,
}

impl Row {
    pub(crate) fn miss(&self) -> f64 {
        self.ours / self.published - 1.0
    }
}

pub(crate) struct Table {
    pub(crate) header: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn render(&self) -> String {
        let columns = self.header.matches('|').count() - 1;
        let mut text = format!("{}\n|---|{}\n", self.header, "---:|".repeat(columns - 1));
        for row in &self.rows {
            let digits = row.digits;
            let _ = write!(
                text,
                "| {} | {:.digits$} | {:.digits$} | {:+.1} % |",
                row.what,
                row.published,
                row.ours,
                row.miss() * 100.0
            );
            for other in &row.others {
                let _ = write!(text, " {other:.digits$} |");
            }
            text.push('\n');
        }
        text
    }
}

fn row(what: impl Into<String>, published: f64, ours: f64, digits: usize) -> Row {
    Row { what: what.into(), published, ours, others: Vec::new(), digits }
}

fn milliseconds(profile: &EngineProfile, batch: &Batch) -> f64 {
    profile.step.of(batch).as_secs_f64() * 1e3
}

fn prompt(tokens: u32) -> Batch {
    let mut batch = Batch::default();
    batch.add_prefill(0, tokens);
    batch
}

/// A decode batch of `sequences` with this context each.
fn decode(sequences: u32, context: f64) -> Batch {
    Batch { tokens: sequences, sequences, context: whole(f64::from(sequences) * context), pairs: 0.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

pub(crate) fn step_times() -> Table {
    let mut rows = Vec::new();
    // Vidur profiled the layers only: host work and attention are excluded here as well.
    let mut linear = BuiltinProfile::Llama2H100.load().unwrap();
    (linear.step.base_ns, linear.step.sequence_ns) = (0.0, 0.0);
    for (tokens, published) in [(1, 5.63), (128, 6.43), (512, 12.1), (1024, 21.3), (2048, 40.9), (4096, 84.2)]
    {
        let ours = milliseconds(&linear, &Batch { tokens, ..Batch::default() });
        rows.push(row(format!("Llama-2-7B, H100, layers, {tokens} tokens, ms"), published, ours, 2));
    }
    for (builtin, accelerator, prompts, decodes) in [
        (
            BuiltinProfile::Llama70H100,
            "8 H100",
            [(512, 53.4), (1024, 77.9), (2048, 136.8)],
            [(1, 29.8), (16, 34.2), (32, 38.6), (64, 50.2)],
        ),
        (
            BuiltinProfile::Llama70A100,
            "8 A100",
            [(512, 94.3), (1024, 154.5), (2048, 274.2)],
            [(1, 44.8), (16, 50.4), (32, 53.0), (64, 71.6)],
        ),
    ] {
        let profile = builtin.load().unwrap();
        for (tokens, published) in prompts {
            let ours = milliseconds(&profile, &prompt(tokens));
            rows.push(row(format!("Llama-2-70B, {accelerator}, prompt of {tokens}, ms"), published, ours, 1));
        }
        for (sequences, published) in decodes {
            // 512 tokens of prompt and half of 128.
            let ours = milliseconds(&profile, &decode(sequences, 576.0));
            rows.push(row(
                format!("Llama-2-70B, {accelerator}, token, batch {sequences}, ms"),
                published,
                ours,
                1,
            ));
        }
    }
    rows.extend(qwen());
    Table { header: "| Figure | Published | Model | Miss |", rows }
}

fn qwen() -> [Row; 2] {
    let profile = BuiltinProfile::Qwen32H100.load().unwrap();
    let mut batch = Batch::default();
    for _ in 0..8 {
        batch.add_prefill(0, 1024);
    }
    let rate = 8192.0 / profile.step.of(&batch).as_secs_f64();
    let tokens = f64::from(profile.blocks) * f64::from(profile.block_size);
    [
        row("Qwen3-32B, 2 H100, peak prefill, tokens/s", 20_480.0, rate, 0),
        row("Qwen3-32B, 2 H100, KV cache, thousand tokens", 1_800.0 / 0.73 / 8.0, tokens / 1e3, 0),
    ]
}

/// Requests per second of one engine in overload.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn saturated(profile: &EngineProfile) -> f64 {
    let run = run(profile, 1, 1_000.0, 10_000, 1);
    run.e2e_s.len() as f64 / run.seconds
}

pub(crate) fn closed_form() -> Table {
    let mut draw = Draw::of(1, Purpose::Lengths, 0);
    let (mut prompts, mut outputs, mut held) = (0.0, 0.0, 0.0);
    for _ in 0..200_000 {
        let (prompt, output) = lengths(&mut draw);
        let (prompt, output) = (f64::from(prompt), f64::from(output));
        prompts += prompt;
        outputs += output;
        held += output * (prompt + output / 2.0);
    }
    let resident = held / outputs;
    let profile = BuiltinProfile::Llama2H100.load().unwrap();
    // The last block of a sequence is half full on average.
    let half_block = f64::from(profile.block_size) / 2.0;
    let capacity = f64::from(profile.blocks) * f64::from(profile.block_size);
    let sequences = capacity / (resident + half_block);
    let tokens = sequences * (1.0 + prompts / outputs);
    let batch = Batch {
        tokens: u32::try_from(whole(tokens)).unwrap(),
        sequences: u32::try_from(whole(sequences)).unwrap(),
        context: whole(sequences * resident),
        pairs: 0.0,
    };
    let step = milliseconds(&profile, &batch);
    let rate = sequences / (outputs / 200_000.0) / (step / 1e3);
    Table {
        header: "| Figure | Closed form | Model | Miss |",
        rows: vec![
            row("Context of a running sequence, tokens", 486.0, resident, 0),
            row("Sequences that the KV cache holds", 240.0, sequences, 0),
            row("Step with all of them, ms (33 to 38)", 35.5, step, 1),
            row("Requests/s of one engine, from these three (28 to 29)", 28.5, rate, 1),
            row("Requests/s of one engine, simulated in overload", 28.5, saturated(&profile), 1),
        ],
    }
}

/// The mean over three runs.
fn mean_of(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    mean(&runs.iter().map(figure).collect::<Vec<_>>())
}

type Measure = fn(&Run) -> f64;

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
const SAMPLE: [(&str, f64, Measure, usize); 11] = [
    ("requests/s", 158.9, |run| run.e2e_s.len() as f64 / run.seconds, 1),
    ("duration, s", 377.7, |run| run.seconds, 1),
    ("output tokens/s", 35_786.0, |run| run.output_tokens as f64 / run.seconds, 0),
    ("E2E mean, s", 13.5, |run| mean(&run.e2e_s), 1),
    ("E2E p50, s", 10.9, |run| quantile(&run.e2e_s, 0.5), 1),
    ("E2E p90, s", 28.7, |run| quantile(&run.e2e_s, 0.9), 1),
    ("E2E p99, s", 45.7, |run| quantile(&run.e2e_s, 0.99), 1),
    ("NTPOT mean, ms", 149.0, |run| mean(&run.ntpot_ms), 0),
    ("NTPOT p50, ms", 60.0, |run| quantile(&run.ntpot_ms, 0.5), 0),
    ("NTPOT p90, ms", 394.0, |run| quantile(&run.ntpot_ms, 0.9), 0),
    ("NTPOT p99, ms", 1_193.0, |run| quantile(&run.ntpot_ms, 0.99), 0),
];

pub(crate) fn sample() -> Table {
    let profile = BuiltinProfile::Llama2H100.load().unwrap();
    let runs = |rate| [1, 2, 3].map(|seed| run(&profile, 6, rate, 59_999, seed));
    let (offered, less) = (runs(200.0), runs(170.0));
    let rows = SAMPLE.map(|(what, published, figure, digits)| Row {
        others: vec![mean_of(&less, figure)],
        ..row(what, published, mean_of(&offered, figure), digits)
    });
    Table { header: "| Figure | Published | 200 offered | Miss | 170 offered |", rows: rows.into() }
}

pub(crate) fn second_implementation() -> Table {
    let profile = BuiltinProfile::Llama2H100.load().unwrap();
    let mut rows = Vec::new();
    for (rate, requests, e2e_s, ntpot_ms) in [
        (150.0, 30_000, 6.2, 12.4),
        (250.0, 50_000, 11.0, 23.0),
        (290.0, 58_000, 16.1, 35.6),
        (500.0, 100_000, 126.0, 3_900.0),
    ] {
        let runs = [1, 2, 3].map(|seed| run(&profile, 10, rate, requests, seed));
        let (e2e, ntpot) = (
            mean_of(&runs, |run| quantile(&run.e2e_s, 0.9)),
            mean_of(&runs, |run| quantile(&run.ntpot_ms, 0.9)),
        );
        rows.push(row(format!("{rate} QPS, E2E p90, s"), e2e_s, e2e, 1));
        rows.push(row(format!("{rate} QPS, NTPOT p90, ms"), ntpot_ms, ntpot, 1));
    }
    Table { header: "| Figure | Second implementation | Model | Miss |", rows }
}
