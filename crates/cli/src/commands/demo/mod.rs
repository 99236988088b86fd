//! `pointsman demo`: engines, gateway and load in one process, and a comparison with a Kubernetes Service.

mod fleet;
mod front;
mod live;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pointsman_bench::client::{Connections, Target};
use pointsman_bench::run::{LoadOptions, Progress};
use pointsman_bench::slices::{Arm, PairedResult, SliceOptions, run_slices};
use pointsman_bench::workload::{GenerationApi, OfferedLoad, Source, WeightedModel, Workload};
use pointsman_report::{Runs, comparison_table, per_second};
use pointsman_workload::Distribution;

use self::fleet::Engines;
use self::front::Front;
use crate::args::DemoArgs;
use crate::shutdown;

/// The public name of the demo's model.
const MODEL: &str = "llama";
/// Offered load as a share of the engines' capacity.
const LOAD: f64 = 0.8;
/// Number of windows; each arm runs each of them.
const SLICES: usize = 8;
/// Length of a window.
const WINDOW: Duration = Duration::from_millis(1_700);
/// Number of keep-alive connections to the Kubernetes Service.
const CONNECTIONS: usize = 64;

pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let stop = shutdown::on_signal()?.token;
    let engines = Engines::start(MODEL, args.seed).await?;
    let front = Front::start(engines.urls(), &args).await?;
    let rate = LOAD * engines.capacity(&lengths());
    if !args.json {
        introduce(&engines, &front, rate);
    }
    let compare = compare(&engines, &front, rate, &args);
    let result = tokio::select! {
        result = compare => Some(result?),
        () = stop.cancelled() => None,
    };
    let Some(result) = result else {
        front.stop().await;
        return Ok(ExitCode::FAILURE);
    };
    let runs = result.runs(args.seed);
    let table = comparison_table(&runs, &result.pairs.changes());
    crate::print(args.json, &Runs { runs: runs.into() }, &table)?;
    if !args.exit && !args.json {
        println!("{}", try_it(&front));
        stop.cancelled().await;
    }
    front.stop().await;
    engines.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Prompt and output lengths, short enough for many requests in a minute.
fn lengths() -> (Distribution, Distribution) {
    // Medians of 300 and 40 tokens; standard deviations of 1 and 0.6 of the logarithms.
    let prompt = Distribution::LogNormal { mean: 495.0, deviation: 648.0, max: 3_000.0 };
    let output = Distribution::LogNormal { mean: 48.0, deviation: 31.5, max: 100.0 };
    (prompt, output)
}

async fn compare(engines: &Engines, front: &Front, rate: f64, args: &DemoArgs) -> Result<PairedResult> {
    let (prompt, output) = lengths();
    let workload = Workload {
        offered: OfferedLoad::poisson(rate),
        duration: WINDOW * u32::try_from(SLICES)?,
        source: Source::Generated { prompt, output, shared_prefix: None },
        models: vec![WeightedModel { name: MODEL.into(), weight: 1.0 }],
        stream_share: 1.0,
        api: GenerationApi::ChatCompletions,
        ignore_eos: true,
    };
    let service = Target {
        endpoints: engines.addresses().map(Into::into).collect(),
        connections: Connections::Pinned { count: CONNECTIONS, seed: args.seed },
    };
    let gateway = Target { endpoints: vec![front.address.into()], connections: Connections::Pool };
    let arms = [
        Arm { name: "kubernetes-service".into(), target: service },
        Arm { name: "pointsman".into(), target: gateway },
    ];
    let options = SliceOptions {
        slices: SLICES,
        warm_up: true,
        settle: Duration::from_millis(100),
        load: LoadOptions { salt: args.seed, ..LoadOptions::default() },
    };
    let plan = workload.plan(args.seed)?;
    let progress = Arc::new(Progress::default());
    let view = live::View::start(engines, front, &progress);
    let result = run_slices(&arms, &plan, options, &progress, |start| view.announce(start)).await;
    view.finish();
    Ok(result?)
}

fn introduce(engines: &Engines, front: &Front, rate: f64) {
    eprintln!("{}", engines.describe());
    eprintln!(
        "The load: {} (80 % of their capacity), the same arrivals, interleaved, through\n\
         \x20 kubernetes-service  {CONNECTIONS} keep-alive connections, each bound to a random engine for life, as kube-proxy does\n\
         \x20 pointsman           {}\n",
        per_second(Some(rate)),
        front.describe()
    );
}

fn try_it(front: &Front) -> String {
    let (gateway, admin) = (front.address, front.server.admin_address);
    format!(
        "\nThe gateway keeps running. Try it:\n\n\
         curl http://{gateway}/v1/chat/completions -H 'content-type: application/json' \\\n\
         \x20 -d '{{\"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}], \"stream\": true}}'\n\n\
         from openai import OpenAI\n\
         client = OpenAI(base_url=\"http://{gateway}/v1\", api_key=\"none\")\n\
         print(client.chat.completions.create(model=\"{MODEL}\", messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}]))\n\n\
         Metrics: http://{admin}/metrics   State: http://{admin}/debug/pools   Stop: Ctrl-C"
    )
}
