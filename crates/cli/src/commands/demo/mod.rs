//! `pointsman demo`: engines, gateway and load in one process, and a comparison with a Kubernetes Service.

mod fleet;
mod front;
mod live;
mod screen;
mod standing;
mod text;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use console::Term;
use pointsman_bench::client::{Connections, Target};
use pointsman_bench::run::{LoadOptions, Progress};
use pointsman_bench::slices::{Arm, PairedResult, SliceOptions, run_slices};
use pointsman_bench::workload::{GenerationApi, OfferedLoad, Source, WeightedModel, Workload};
use pointsman_report::{Runs, comparison_table, per_second};
use pointsman_workload::Distribution;

use self::fleet::Engines;
use self::front::Front;
use self::live::View;
use self::standing::{Figures, SetUp, Standing};
use self::text::{Block, Line, Tone};
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
    let set_up = set_up(&engines, &front, rate);
    if !args.json && !live::is_drawable(&Term::stderr()) {
        eprintln!("{}\n", set_up.lines.join("\n"));
    }
    let compare = compare(&engines, &front, rate, &set_up, &args);
    let result = tokio::select! {
        result = compare => Some(result?),
        () = stop.cancelled() => None,
    };
    let Some((result, figures)) = result else {
        front.stop().await;
        return Ok(ExitCode::FAILURE);
    };
    let stays = !args.exit && !args.json;
    print(
        args.json,
        &result,
        args.seed,
        set_up,
        figures,
        &if stays { try_it(front.address, front.server.admin_address) } else { Block::new() },
    )?;
    if stays {
        stop.cancelled().await;
    }
    front.stop().await;
    engines.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints the result: one screen on a terminal; JSON, or a table of every figure, elsewhere.
fn print(
    json: bool,
    result: &PairedResult,
    seed: u64,
    set_up: SetUp,
    figures: Figures,
    footer: &Block,
) -> Result<()> {
    let runs = result.runs(seed);
    let terminal = Term::stdout();
    let figures = figures.with_intervals(|statistic| runs[1].interval95.get(statistic));
    let colour = terminal.is_term() && terminal.features().colors_supported();
    let text =
        |block: &Block| block.iter().fold(String::new(), |text, line| text + &line.render(colour) + "\n");
    if json {
        println!("{}", serde_json::to_string_pretty(&Runs { runs: runs.into() })?);
    } else if let Some((height, width)) = terminal.size_checked() {
        let standing = Standing { set_up, figures, ..Standing::default() };
        print!("{}", text(&screen::result(&standing, footer, width.into(), height.into())));
    } else {
        println!("{}\n", screen::headline(&figures, "").render(false));
        print!("{}", comparison_table(&runs, &result.pairs.changes()).render(crate::width()));
        print!("\n{}", text(footer));
    }
    Ok(())
}

/// Prompt and output lengths, short enough for many requests in a minute.
fn lengths() -> (Distribution, Distribution) {
    // Medians of 300 and 40 tokens; standard deviations of 1 and 0.6 of the logarithms.
    let prompt = Distribution::LogNormal { mean: 495.0, deviation: 648.0, max: 3_000.0 };
    let output = Distribution::LogNormal { mean: 48.0, deviation: 31.5, max: 100.0 };
    (prompt, output)
}

async fn compare(
    engines: &Engines,
    front: &Front,
    rate: f64,
    set_up: &SetUp,
    args: &DemoArgs,
) -> Result<(PairedResult, Figures)> {
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
    let [baseline, candidate] = set_up.names.clone();
    let arms = [Arm { name: baseline, target: service }, Arm { name: candidate, target: gateway }];
    let options = SliceOptions {
        slices: SLICES,
        warm_up: true,
        settle: Duration::from_millis(100),
        load: LoadOptions { salt: args.seed, ..LoadOptions::default() },
    };
    let plan = workload.plan(args.seed)?;
    let progress = Arc::new(Progress::default());
    let view = View::start(set_up.clone(), SLICES, front, &progress);
    let result = run_slices(&arms, &plan, options, &progress, |event| view.follow(event)).await?;
    Ok((result, view.finish()))
}

fn set_up(engines: &Engines, front: &Front, rate: f64) -> SetUp {
    let names = ["kubernetes-service", "pointsman"];
    let lines = vec![
        format!("{}; load {:.0} %, {}", engines.describe(), LOAD * 100.0, per_second(Some(rate))),
        format!("  {:<18}  {CONNECTIONS} connections, each to a random engine, as by kube-proxy", names[0]),
        format!("  {:<18}  {}", names[1], front.describe()),
    ];
    SetUp { lines, names: names.map(str::to_owned) }
}

/// What to do with the gateway that keeps running, at most 80 characters a line.
fn try_it(gateway: SocketAddr, admin: SocketAddr) -> Block {
    let lines = [
        "The gateway keeps running; Ctrl-C ends it. Try it:".to_owned(),
        format!("curl {gateway}/v1/chat/completions -H 'content-type: application/json' \\"),
        format!(
            "  -d '{{\"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
        ),
        format!("OpenAI(base_url=\"http://{gateway}/v1\", api_key=\"none\")  # in Python"),
        format!("Metrics: http://{admin}/metrics   State: /debug/pools"),
    ];
    let tone = |index: usize| if index == 0 { Tone::Strong } else { Tone::Plain };
    lines.into_iter().enumerate().map(|(index, line)| Line::new(line, tone(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_a_terminal_of_80_columns() {
        let [gateway, admin] = [18_080, 19_090].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        for line in try_it(gateway, admin) {
            assert!(line.width() <= 80, "{line:?}");
        }
    }
}
