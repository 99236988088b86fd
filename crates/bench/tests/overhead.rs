//! The overhead runner with real processes. This program is also the stub and both proxies, so the "gateway" is the bare proxy
//! again, and both must cost about the same.
//!
//! `cargo test --release -p pointsman-bench --test overhead -- --full` prints the table of a full run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking; the table is asked for"
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use pointsman_bench::overhead::{Figure, OverheadCommands, OverheadOptions, OverheadReport, Phase, run};
use pointsman_bench::stub::Stubs;
use pointsman_bench::{MeasurementError, bare_proxy};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("stub") => serve_stubs(&arguments),
        Some("bare-proxy") => serve_bare_proxy(&arguments),
        Some("--full" | "--quick") => {
            let quick = arguments.iter().any(|argument| argument == "--quick");
            let options = if quick { OverheadOptions::quick() } else { OverheadOptions::full() };
            let report = run(&commands(), options, |_| {}).unwrap();
            println!("direct p50, p99 in ms: {:?}", report.direct_ms);
            println!("{}", report.table().render(140));
        }
        Some("--list") => {}
        Some(_) | None => {
            every_figure_is_measured();
            a_server_that_does_not_start_is_an_error();
        }
    }
}

fn commands() -> OverheadCommands {
    let mode = |mode: &str| vec![std::env::current_exe().unwrap().into_os_string(), mode.into()];
    OverheadCommands { stub: mode("stub"), bare_proxy: mode("bare-proxy"), gateway: mode("bare-proxy") }
}

const SHORT: OverheadOptions = OverheadOptions {
    engines: 2,
    slices: 2,
    paced_slice: Duration::from_millis(100),
    saturated_slice: Duration::from_millis(50),
    large_slice: Duration::from_millis(210),
    stream_events: 5,
};

fn every_figure_is_measured() {
    let mut phases = Vec::new();
    let report: OverheadReport = run(&commands(), SHORT, |step| {
        assert_eq!((step.done, step.total), (phases.len(), 10));
        phases.push(step.phase);
    })
    .unwrap();
    assert_eq!(phases.len(), 10);
    assert_eq!(phases.last(), Some(&Phase::Streams));
    for row in &report.figures {
        let (bare, gateway) = (row.bare_proxy.unwrap(), row.gateway.unwrap());
        if row.figure == Figure::Failed {
            assert_eq!((bare.greatest, gateway.greatest), (0.0, 0.0));
        } else if !matches!(row.figure, Figure::AddedP50Ms | Figure::AddedP99Ms) {
            assert!(bare.median > 0.0 && gateway.median > 0.0, "{row:?}");
        }
    }
    assert!(report.direct_ms.iter().all(|value| value.is_some_and(|value| value > 0.0)));
}

fn a_server_that_does_not_start_is_an_error() {
    let gateway = ["sh", "-c", "echo bad flag >&2; exit 2"].map(OsString::from).to_vec();
    let error = run(&OverheadCommands { gateway, ..commands() }, SHORT, |_| {}).unwrap_err();
    assert!(matches!(error, MeasurementError::Start { server: "the gateway", .. }), "{error}");
    assert!(error.to_string().contains("bad flag"), "{error}");
}

fn values<'a>(arguments: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    arguments.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1].as_str())
}

fn listen(arguments: &[String]) -> SocketAddr {
    values(arguments, "--listen").next().unwrap().parse().unwrap()
}

fn serve_stubs(arguments: &[String]) {
    let count = values(arguments, "--count").next().unwrap().parse().unwrap();
    let serve = async {
        let stubs = Stubs::bind(listen(arguments), count, Duration::from_millis(10)).await.unwrap();
        stubs.serve().await.unwrap();
    };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
}

fn serve_bare_proxy(arguments: &[String]) {
    let endpoints = values(arguments, "--endpoint").map(|url| url.parse().unwrap()).collect();
    let serve = async {
        let listener = TcpListener::bind(listen(arguments)).await.unwrap();
        bare_proxy::serve(listener, endpoints).await.unwrap();
    };
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(serve);
}
