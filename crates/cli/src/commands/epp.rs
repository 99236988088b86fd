//! `pointsman epp`: the endpoint picker for Envoy and the gateways built on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pointsman_config::{
    Consumer, Limits, ObjectName, Options, PickerConfig, PoolSpec, QuickOptions, SourceText, TlsFiles, World,
    read_picker_config,
};
use pointsman_extproc::{
    Destinations, EnvoyOptions, PickerLink, PickerOptions, ResponseBodies, Security, SecurityFiles,
    SessionOptions, envoy_config,
};

use crate::args::epp::{Bodies, EppArgs};
use crate::manifests::{engine_access, read_world};
use crate::server::{self, DoorPlan, Plan};

pub(crate) async fn run(args: EppArgs) -> Result<ExitCode> {
    let unsupported = args.upstream.unsupported();
    if !unsupported.is_empty() {
        bail!("{}", unsupported.join("\n       "));
    }
    for sentence in args.upstream.without_effect() {
        tracing::info!("{sentence}");
    }
    let config = picker_config(&args)?;
    let access = engine_access(&args.access, &args.endpoint)?;
    let options = Options { consumer: Consumer::Picker { config }, ..Options::default() };
    let (mut world, manifests) =
        read_world(&args.manifests, &args.endpoint, &QuickOptions { access, ..Default::default() }, options)?;
    if manifests.is_none() {
        configure_quick_form(&mut world, &args, config);
    }
    if args.envoy.print_envoy_config {
        let options = envoy_options(&args, world.gateway.max_body_bytes)?;
        print!("{}", envoy_config(pool_of(&world, &args)?, &options)?);
        return Ok(ExitCode::SUCCESS);
    }
    server::serve(Plan {
        door: DoorPlan::Picker(Box::new(picker_options(&args)?)),
        admin: SocketAddr::new(args.bind, args.metrics_port),
        world,
        manifests,
        metrics: args.metrics_page(),
        args: args.server,
    })
    .await
}

/// Endpoints on the command line are one pool, which is configured without `Options` and has the name that is asked for.
fn configure_quick_form(world: &mut World, args: &EppArgs, config: Option<PickerConfig>) {
    for pool in &mut world.pools {
        if let Some(config) = config {
            config.apply(&mut pool.policy);
        }
        if let Some(name) = &args.pool_name {
            pool.name = named(name, args);
        }
    }
}

/// The configuration in `--config-file` or `--config-text`. It is read once, as by the extension's picker.
fn picker_config(args: &EppArgs) -> Result<Option<PickerConfig>> {
    let source = match (&args.config_file, &args.config_text) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            SourceText::new(path.display().to_string(), text)
        }
        (None, Some(text)) => SourceText::new("--config-text", text.as_str()),
        (None, None) => return Ok(None),
    };
    match read_picker_config(&source, &Limits::default()) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|problem| eprintln!("{problem}"));
            Ok(Some(config))
        }
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            bail!("{} has errors", source.name);
        }
    }
}

fn picker_options(args: &EppArgs) -> Result<PickerOptions> {
    let security = match (&args.cert_path, args.secure_serving) {
        (_, false) => Security::Plain,
        (None, true) => Security::SelfSigned,
        (Some(folder), true) => {
            Security::Files(SecurityFiles { server: pair_in(folder), client_ca: args.client_ca.clone() })
        }
    };
    Ok(PickerOptions {
        pool: args.pool_name.as_ref().map(|name| named(name, args)),
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

fn named(name: &str, args: &EppArgs) -> ObjectName {
    ObjectName { namespace: args.pool_namespace.as_str().into(), name: name.into() }
}

fn names(pools: &[PoolSpec]) -> String {
    let names: Vec<String> = pools.iter().map(|pool| pool.name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn pool_of<'a>(world: &'a World, args: &EppArgs) -> Result<&'a PoolSpec> {
    match (&args.pool_name, world.pools.as_slice()) {
        (None, [only]) => Ok(only),
        (None, pools) => bail!("--pool-name is required: there are the pools {}", names(pools)),
        (Some(name), pools) => {
            let name = named(name, args);
            let found = pools.iter().find(|pool| pool.name == name);
            found.with_context(|| format!("no pool {name}; there is {}", names(pools)))
        }
    }
}

/// Options of the printed Envoy bootstrap. A picker that listens on all addresses is reached by loopback.
fn envoy_options(args: &EppArgs, max_body: u64) -> Result<EnvoyOptions> {
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

/// The files of a Kubernetes secret of type `kubernetes.io/tls`.
fn pair_in(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
}
