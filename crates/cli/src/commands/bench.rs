//! `pointsman bench`: load, and what the gateway costs.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pointsman_bench::client::{Client, Connections, Target};
use pointsman_bench::run::{LoadOptions, Progress, run_plan};
use pointsman_bench::workload::{
    Arrivals, GenerationApi, SharedPrefix, Source, WeightedModel, Workload, parse_sharegpt,
};
use pointsman_bench::{Outcome, bare_proxy, stub};
use pointsman_report::{Runs, run_table};
use tokio::net::TcpListener;

use crate::args::{BenchApi, BenchArgs, BenchCommand, LoadArgs};
use crate::commands::overhead;
use crate::progress;

/// Events of a stub's stream come this far apart.
const STUB_EVENT_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    match args.command {
        None => crate::block_on(load(args.load)),
        Some(BenchCommand::Overhead { quick, json }) => overhead::run(quick, json),
        Some(BenchCommand::Stub { listen, count }) => crate::block_on_one_thread(async move {
            let stubs = stub::Stubs::bind(listen, count, STUB_EVENT_INTERVAL).await?;
            for address in stubs.addresses()? {
                println!("http://{address}");
            }
            stubs.serve().await?;
            Ok(ExitCode::SUCCESS)
        }),
        Some(BenchCommand::BareProxy { listen, endpoint }) => crate::block_on(async move {
            let listener =
                TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            println!("http://{}", listener.local_addr()?);
            let endpoints = endpoint.iter().map(|endpoint| Ok(endpoint.parse()?)).collect::<Result<_>>()?;
            bare_proxy::serve(listener, endpoints).await?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

async fn load(args: LoadArgs) -> Result<ExitCode> {
    let plan = Arc::new(workload(&args)?.plan(args.seed)?);
    let connections =
        args.pinned.map_or(Connections::Pool, |count| Connections::Pinned { count, seed: args.seed });
    let client = Client::new(&Target { endpoints: args.target, connections });
    let options =
        LoadOptions { max_in_flight: args.max_in_flight, timeout: args.timeout, ..LoadOptions::default() };
    let progress = Arc::new(Progress::default());
    let bar = progress::bar(&progress, plan.requests.len() as u64);
    let result = run_plan(&plan, &client, options, &progress).await;
    bar.finish();
    let result = result?;
    let report = result.report("load");
    if args.json {
        println!("{}", serde_json::to_string_pretty(&Runs { runs: vec![report] })?);
    } else {
        print!("{}", run_table(&report).render(crate::width()));
        print!("{}", result.outcome_table().render(crate::width()));
    }
    for warning in result.warnings(&plan) {
        eprintln!("warning: {warning}");
    }
    let answered = result.tally().contains_key(&Outcome::Ok);
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workload(args: &LoadArgs) -> Result<Workload> {
    let source = match &args.dataset {
        Some(file) => {
            let text = std::fs::read(file).with_context(|| file.display().to_string())?;
            Source::Conversations(parse_sharegpt(&text).with_context(|| file.display().to_string())?)
        }
        None => Source::Generated {
            prompt: args.prompt_tokens.clone(),
            output: args.output_tokens.clone(),
            shared_prefix: args
                .prefix_groups
                .zip(args.prefix_tokens)
                .map(|(groups, tokens)| SharedPrefix { groups, tokens }),
        },
    };
    Ok(Workload {
        arrivals: args.rate.map_or(args.arrivals, |rate| Arrivals::Poisson { rate }),
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
            (name, weight.parse().with_context(|| format!("--model {text}: `{weight}` is no weight"))?)
        }
        None => (text, 1.0),
    };
    if name.is_empty() {
        bail!("--model {text}: the name is missing");
    }
    Ok(WeightedModel { name: name.into(), weight })
}
