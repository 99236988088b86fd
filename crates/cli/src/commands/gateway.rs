//! `pointsman gateway`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use pointsman_config::{MetricsPage, Options, QuickOptions, print_manifests};

use crate::args::GatewayArgs;
use crate::manifests::read_world;
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

/// Makes paths absolute, so that printed manifests mean the same wherever they are saved.
///
/// # Errors
/// Certificate authorities are given, and no endpoint is reached over TLS.
fn quick_options(args: &GatewayArgs) -> Result<QuickOptions> {
    if args.engine_ca.is_some() && !args.endpoint.iter().any(|url| url.starts_with("https://")) {
        bail!("--engine-ca has no effect: no --endpoint starts with https://");
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    Ok(QuickOptions {
        engine_ca: args.engine_ca.as_ref().map(absolute),
        engine_api_key_file: args.engine_api_key_file.as_ref().map(absolute),
        ..QuickOptions::default()
    })
}
