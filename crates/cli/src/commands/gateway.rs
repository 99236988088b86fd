//! `pointsman gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Result;
use pointsman_config::{MetricsPage, Options, QuickOptions, print_manifests};

use crate::args::GatewayArgs;
use crate::manifests::{engine_access, read_world};
use crate::server::{self, DoorPlan, Plan};

/// The default address if endpoints are given instead of manifests.
const QUICK_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(args: GatewayArgs) -> Result<ExitCode> {
    let quick = quick_options(&args)?;
    if args.print_manifests {
        print!("{}", print_manifests(&args.endpoint, &quick)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (world, manifests) = read_world(&args.manifests, &args.endpoint, &quick, Options::default())?;
    let quick_listen = manifests.is_none().then_some(QUICK_LISTEN);
    server::serve(Plan {
        door: DoorPlan::Gateway(args.listen.or(quick_listen)),
        admin: args.admin,
        world,
        manifests,
        metrics: MetricsPage::default(),
        args: args.server,
    })
    .await
}

fn quick_options(args: &GatewayArgs) -> Result<QuickOptions> {
    Ok(QuickOptions {
        listen: args.listen.unwrap_or(QUICK_LISTEN),
        access: engine_access(&args.access, &args.endpoint)?,
        engine_host: args.quick.engine_host.clone(),
        first_byte_timeout: args.quick.first_byte_timeout,
        client_keep_alive: args.quick.client_keep_alive,
        max_body_bytes: args.quick.max_body_bytes,
    })
}
