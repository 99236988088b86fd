//! `pointsman bench`: load generator and overhead measurements.

mod load;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pointsman_bench::{bare_picker, bare_proxy, stub};
use tokio::net::TcpListener;

use crate::args::{BenchArgs, BenchCommand};
use crate::commands::{overhead, picker_bench};

pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    match args.command {
        None => crate::block_on(load::run(args.load)),
        Some(BenchCommand::Overhead { quick, json }) => overhead::run(quick, json),
        Some(BenchCommand::Epp(args)) => picker_bench::run(&args),
        Some(BenchCommand::BarePicker { listen, endpoint }) => crate::block_on_one_thread(async move {
            bare_picker::serve(bind(listen).await?, endpoint).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Some(BenchCommand::Stub { listen, count, interval_ms }) => crate::block_on_one_thread(async move {
            let stubs = stub::Stubs::bind(listen, count, Duration::from_millis(interval_ms)).await?;
            for address in stubs.addresses()? {
                println!("http://{address}");
            }
            stubs.serve().await?;
            Ok(ExitCode::SUCCESS)
        }),
        Some(BenchCommand::BareProxy { listen, endpoint }) => crate::block_on(async move {
            let listener = bind(listen).await?;
            println!("http://{}", listener.local_addr()?);
            let endpoints = endpoint.iter().map(|endpoint| Ok(endpoint.parse()?)).collect::<Result<_>>()?;
            bare_proxy::serve(listener, endpoints).await?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
