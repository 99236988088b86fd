//! The load generator: one run, or a run for each rate and seed.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use pointsman_bench::Outcome;
use pointsman_bench::client::{Client, Connections, Target};
use pointsman_bench::run::{LoadOptions, LoadResult, Progress, run_plan};
use pointsman_bench::workload::{
    GenerationApi, OfferedLoad, Plan, SharedPrefix, Source, WeightedModel, Workload,
};
use pointsman_config::SourceText;
use pointsman_report::sweep::{Origin, sweep_json, sweep_table};
use pointsman_report::{Experiment, Rng, Runs, SeedResult, Sweep, per_second, run_table};
use pointsman_workload::read_sharegpt;

use crate::args::{BenchApi, LoadArgs};
use crate::{progress, reports, shutdown};

/// One combination of rate and seed.
struct Cell {
    rate: f64,
    seed: u64,
    plan: Arc<Plan>,
}

pub(super) async fn run(args: LoadArgs) -> Result<ExitCode> {
    let cells = cells(&args)?;
    let first = args.target.first().map_or("", |target| target.authority());
    let name = args.name.clone().unwrap_or_else(|| first.to_owned());
    let mut runs = match &args.report {
        Some(report) => reports::earlier_runs(report)?,
        None => Vec::new(),
    };
    let several = cells.len() > 1;
    // A signal ends a single run; of several runs, it keeps the finished ones.
    let stop = if several { Some(shutdown::on_signal()?.token) } else { None };
    let mut answered = false;
    for cell in &cells {
        if several && std::io::stderr().is_terminal() {
            eprintln!("{} for {:?}, seed {}", per_second(Some(cell.rate)), cell.plan.duration, cell.seed);
        }
        let result = match &stop {
            None => perform(&args, &name, cell).await?,
            Some(stop) => tokio::select! {
                result = perform(&args, &name, cell) => result?,
                () = stop.cancelled() => break,
            },
        };
        answered |= result.outcome_counts().contains_key(&Outcome::Ok);
        if !several {
            print_one(&args, &result)?;
        }
        for warning in result.warnings(&cell.plan) {
            eprintln!("warning: {warning}");
        }
        let mut run = result.seed_result(&name, cell.rate, cell.seed, &cell.plan);
        if args.prefix_groups.is_none() && args.dataset.is_none() {
            // Random prompts share no prefixes, so a hit rate of 0 would be misleading.
            run.hit_tokens = None;
        }
        runs.retain(|other| (&other.policy, other.rate, other.seed) != (&run.policy, run.rate, run.seed));
        runs.push(run);
    }
    if several || args.report.is_some() {
        print_all(&args, &runs, several)?;
    }
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All plans are made before the first run, so that mistakes are reported at once.
fn cells(args: &LoadArgs) -> Result<Vec<Cell>> {
    let loads: Vec<OfferedLoad> = if args.rate.is_empty() {
        vec![args.arrivals]
    } else {
        args.rate.iter().map(|&rate| OfferedLoad::poisson(rate)).collect()
    };
    let mut workload = workload(args)?;
    let mut cells = Vec::new();
    for seed in (args.seed..).take(args.seeds) {
        for &offered in &loads {
            workload.offered = offered;
            cells.push(Cell { rate: offered.rate, seed, plan: Arc::new(workload.plan(seed)?) });
        }
    }
    Ok(cells)
}

async fn perform(args: &LoadArgs, name: &str, cell: &Cell) -> Result<LoadResult> {
    let connections =
        args.pinned.map_or(Connections::Pool, |count| Connections::Pinned { count, seed: cell.seed });
    let client = Client::new(&Target { endpoints: args.target.clone(), connections });
    let options = LoadOptions {
        max_in_flight: args.max_in_flight,
        timeout: args.timeout,
        record_gaps: args.report.is_some(),
        salt: salt(args, name, cell),
    };
    let progress = Arc::new(Progress::default());
    let bar = progress::bar(&progress, cell.plan.requests.len() as u64);
    let result = run_plan(&cell.plan, &client, options, &progress).await;
    bar.finish();
    Ok(result?)
}

/// A salt that keeps runs of one report from hitting each other's prompts in a prefix cache.
fn salt(args: &LoadArgs, name: &str, cell: &Cell) -> u64 {
    if args.report.is_none() && args.rate.len() < 2 {
        return 0;
    }
    let of_name = name.bytes().fold(cell.seed, |salt, byte| Rng::stream(salt, u64::from(byte)).next_u64());
    Rng::stream(of_name, cell.rate.to_bits()).next_u64()
}

fn print_one(args: &LoadArgs, result: &LoadResult) -> Result<()> {
    let report = result.report("load");
    if args.json {
        println!("{}", serde_json::to_string_pretty(&Runs { runs: vec![report] })?);
    } else {
        print!("{}", run_table(&report).render(crate::width()));
        print!("{}", result.outcome_table().render(crate::width()));
    }
    Ok(())
}

fn print_all(args: &LoadArgs, runs: &[SeedResult], several: bool) -> Result<()> {
    let first = runs.first().map(|run| run.policy.clone());
    let baseline = first.filter(|first| runs.iter().any(|run| run.policy != *first));
    let sweep = Sweep::new(experiment(args, baseline), runs, &mut Rng::seeded(args.seed));
    if several && args.json {
        println!("{:#}", sweep_json(&sweep));
    } else if several {
        print!("{}", sweep_table(&sweep, crate::width()));
    }
    let Some(report) = &args.report else { return Ok(()) };
    reports::keep_runs(report, runs)?;
    reports::write(report, &sweep)
}

fn experiment(args: &LoadArgs, baseline: Option<String>) -> Experiment {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let prompts = match &args.dataset {
        Some(file) => fact("conversations", file.display().to_string()),
        None => {
            fact("prompt and output tokens", format!("{} and {}", args.prompt_tokens, args.output_tokens))
        }
    };
    let prefixes = args.prefix_groups.zip(args.prefix_tokens);
    let prefixes =
        prefixes.map(|(groups, tokens)| fact("shared prefixes", format!("{groups} of {tokens} tokens")));
    let connections = args
        .pinned
        .map_or_else(|| "pooled".to_owned(), |count| format!("{count}, each bound to a target for life"));
    let mut facts = vec![
        fact("model", args.model.join(", ")),
        fact("arrivals", format!("open loop, {:?} for each rate", args.duration)),
        prompts,
        fact("connections", connections),
    ];
    facts.extend(prefixes);
    Experiment {
        origin: Origin::Measured,
        title: args.title.clone().unwrap_or_else(|| "Load test".to_owned()),
        description:
            "Real traffic, sent by an open loop: requests leave when their plan says, whatever became of \
                      the ones before, and latencies count from then."
                .to_owned(),
        model: args
            .model
            .first()
            .map(|model| model.split('=').next().unwrap_or(model).to_owned())
            .unwrap_or_default(),
        baseline,
        facts,
        source: None,
        command: command_line(std::env::args()),
        version: crate::VERSION.to_owned(),
    }
}

/// The arguments quoted for a shell.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let rest: Vec<String> = arguments.skip(1).map(|argument| crate::shell_quoted(&argument)).collect();
    format!("pointsman {}", rest.join(" "))
}

fn workload(args: &LoadArgs) -> Result<Workload> {
    let source = match &args.dataset {
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
            let conversations = read_sharegpt(&SourceText::new(name, text))
                .map_err(|problems| anyhow!(problems.iter().map(ToString::to_string).collect::<String>()))?;
            Source::Conversations(conversations)
        }
        None => Source::Generated {
            prompt: args.prompt_tokens.distribution(),
            output: args.output_tokens.distribution(),
            shared_prefix: args
                .prefix_groups
                .zip(args.prefix_tokens)
                .map(|(groups, tokens)| SharedPrefix { groups, tokens }),
        },
    };
    Ok(Workload {
        offered: args.arrivals,
        duration: args.duration,
        source,
        models: args.model.iter().map(|text| weighted_model(text)).collect::<Result<_>>()?,
        stream_share: args.stream_share,
        api: match args.api {
            BenchApi::Chat => GenerationApi::ChatCompletions,
            BenchApi::Completions => GenerationApi::Completions,
        },
        ignore_eos: !args.natural_lengths,
    })
}

fn weighted_model(text: &str) -> Result<WeightedModel> {
    let (name, weight) = match text.rsplit_once('=') {
        Some((name, weight)) => {
            (name, weight.parse().with_context(|| format!("--model {text}: `{weight}` is not a weight"))?)
        }
        None => (text, 1.0),
    };
    if name.is_empty() {
        bail!("--model {text}: the name is missing");
    }
    Ok(WeightedModel { name: name.into(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let arguments = ["/usr/bin/pointsman", "bench", "--rate", "5,10", "--title", "Bob's load", ""];
        let line = command_line(arguments.into_iter().map(str::to_owned));
        assert_eq!(line, r"pointsman bench --rate 5,10 --title 'Bob'\''s load' ''");
    }
}
