//! `pointsman epp`: the endpoint picker for Envoy and the gateways built on it.

mod setup;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use pointsman_config::ObjectName;
use pointsman_extproc::{
    Destinations, EnvoyOptions, PickerLink, PickerOptions, ResponseBodies, Security, SessionOptions,
    envoy_config,
};

use self::setup::{Setup, pair_in};
use crate::args::epp::{Bodies, EppArgs};
use crate::server::{self, DoorPlan, Plan};

pub(crate) async fn run(args: EppArgs) -> Result<ExitCode> {
    let setup = Setup::read(&args)?;
    if args.envoy.print_envoy_config {
        let options = envoy_options(&args, setup.world.gateway.max_body_bytes)?;
        print!("{}", envoy_config(setup.spec()?, &options)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Setup { world, manifests, pool, security } = setup;
    server::serve(Plan {
        door: DoorPlan::Picker(Box::new(picker_options(&args, pool, security)?)),
        admin: SocketAddr::new(args.bind, args.metrics_port),
        world,
        manifests,
        metrics: args.metrics_page(),
        args: args.server,
    })
    .await
}

fn picker_options(args: &EppArgs, pool: ObjectName, security: Security) -> Result<PickerOptions> {
    Ok(PickerOptions {
        pool: Some(pool),
        bind: args.bind,
        grpc_port: args.grpc_port,
        health_port: args.grpc_health_port,
        security,
        session: SessionOptions {
            trust_request_headers: args.trust_request_headers,
            destinations: match (args.single_destination, args.destination_list) {
                (true, _) => Destinations::One,
                (false, true) => Destinations::List,
                (false, false) => Destinations::AsShown,
            },
            administration: args.administration_paths,
            ..SessionOptions::default()
        },
        pick_timeout: args.pick_timeout,
        handover: args.server.handover()?,
        ..PickerOptions::default()
    })
}

/// Options of the printed Envoy bootstrap. A picker that listens on all addresses is reached by loopback.
fn envoy_options(args: &EppArgs, max_body: u64) -> Result<EnvoyOptions> {
    ensure!(args.grpc_port > 0, "--grpc-port 0 is any free port: Envoy has to know which");
    let picker = if args.bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { args.bind };
    Ok(EnvoyOptions {
        listen: args.envoy.envoy_listen,
        admin: args.envoy.envoy_admin,
        picker: SocketAddr::new(picker, args.grpc_port),
        link: picker_link(args)?,
        response_bodies: match (args.envoy.response_bodies, args.envoy.sample) {
            (Bodies::Never, None) => ResponseBodies::Never,
            (Bodies::Sample, percent) => ResponseBodies::Sample(percent.unwrap_or(5)),
            (Bodies::Usage, None) => ResponseBodies::Usage,
            (Bodies::Never | Bodies::Usage, Some(_)) => {
                bail!("--sample has no effect without --response-bodies sample")
            }
        },
        buffered: args.envoy.envoy_buffered,
        max_body,
        fail_open: args.envoy.envoy_fail_open,
    })
}

fn picker_link(args: &EppArgs) -> Result<PickerLink> {
    let (folder, picker_ca) = (&args.envoy.envoy_cert_path, &args.envoy.envoy_picker_ca);
    match (args.secure_serving, folder) {
        (false, None) if picker_ca.is_none() => Ok(PickerLink::Plain),
        (false, _) => {
            bail!("--envoy-cert-path and --envoy-picker-ca have no effect without --secure-serving")
        }
        (true, None) if args.client_ca.is_some() => {
            bail!("--client-ca requires a certificate of Envoy: give its folder as --envoy-cert-path")
        }
        (true, folder) => {
            Ok(PickerLink::Tls { certificate: folder.as_deref().map(pair_in), picker_ca: picker_ca.clone() })
        }
    }
}
