//! What stands in front of the demo's engines: the gateway, or a real Envoy that asks the endpoint picker.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pointsman_admin::AdminServer;
use pointsman_config::{QuickOptions, quick_form};
use pointsman_extproc::{
    EnvoyOptions, Picker, PickerLink, PickerOptions, ResponseBodies, Security, envoy_config,
};
use pointsman_fleet::{Fleet, FleetOptions};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::DemoArgs;
use crate::commands::envoy::find_or_fetch;
use crate::serving::{self, Problems, Serving};

/// How long Envoy may take until it listens.
const START: Duration = Duration::from_secs(15);
/// How long the demo's own requests may go on.
const DRAIN: Duration = Duration::from_secs(2);

/// What the load goes through.
pub(super) enum Front {
    Gateway(Serving),
    Envoy(Box<EnvoyFront>),
}

impl Front {
    pub(super) async fn start(urls: Vec<String>, args: &DemoArgs) -> Result<Self> {
        if args.envoy {
            return Ok(Self::Envoy(Box::new(EnvoyFront::start(&urls, args).await?)));
        }
        Ok(Self::Gateway(Serving::quick(urls, args.listen, args.admin).await?))
    }

    pub(super) const fn fleet(&self) -> &Fleet {
        match self {
            Self::Gateway(serving) => serving.fleet(),
            Self::Envoy(front) => &front.fleet,
        }
    }

    /// Where requests are sent to.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(serving) => serving.address(),
            Self::Envoy(front) => front.address,
        }
    }

    pub(super) const fn admin_address(&self) -> SocketAddr {
        match self {
            Self::Gateway(serving) => serving.admin_address(),
            Self::Envoy(front) => front.admin_address,
        }
    }

    /// What it is, in a few words.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "one gateway, which places each request",
            Self::Envoy(_) => "a real Envoy, which asks the endpoint picker about each request",
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Gateway(serving) => serving.stop().await,
            Self::Envoy(front) => front.stop().await,
        }
    }
}

/// Envoy as a process of its own, and the picker in this one.
pub(super) struct EnvoyFront {
    fleet: Fleet,
    address: SocketAddr,
    admin_address: SocketAddr,
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
    /// Killed when it is dropped.
    envoy: Child,
    folder: PathBuf,
}

impl EnvoyFront {
    async fn start(urls: &[String], args: &DemoArgs) -> Result<Self> {
        let binary = find_or_fetch(&args.envoy_binary)?;
        let world = quick_form(urls, &QuickOptions::default())?;
        let pool = world.pools.first().cloned().context("the quick form has a pool")?;
        let metrics = serving::metrics();
        let admin = AdminServer::bind(args.admin)
            .await
            .with_context(|| format!("cannot listen on {}", args.admin))?;
        let admin_address = admin.local_addr()?;
        let fleet = Fleet::start(FleetOptions::default(), metrics.clone())?;
        fleet.apply(world, 0)?;
        let options = PickerOptions {
            bind: Ipv4Addr::LOCALHOST.into(),
            grpc_port: 0,
            health_port: 0,
            security: Security::SelfSigned,
            handover: Duration::ZERO,
            ..PickerOptions::default()
        };
        let picker = Picker::bind(options, fleet.clone(), metrics.clone())?;
        let bootstrap = envoy_config(
            &pool,
            &EnvoyOptions {
                listen: args.listen,
                admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                picker: picker.grpc_addr(),
                link: PickerLink::Tls { certificate: None, picker_ca: None },
                response_bodies: ResponseBodies::Usage,
                buffered: false,
                fail_open: false,
            },
        )?;
        let stop = CancellationToken::new();
        let sources = serving::admin_sources(&fleet, metrics, &Problems::default(), &stop);
        let admin = tokio::spawn(admin.serve(sources, stop.clone().cancelled_owned()));
        let picker = tokio::spawn(picker.run(stop.clone().cancelled_owned(), DRAIN));
        let folder = std::env::temp_dir().join(format!("pointsman-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let file = folder.join("envoy.yaml");
        std::fs::write(&file, bootstrap).with_context(|| file.display().to_string())?;
        let mut envoy = Command::new(&binary)
            .arg("-c")
            .arg(&file)
            .args(["-l", "error", "--use-dynamic-base-id"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        wait_until_listening(&mut envoy, args.listen).await?;
        Ok(Self { fleet, address: args.listen, admin_address, stop, tasks: [picker, admin], envoy, folder })
    }

    async fn stop(mut self) {
        // Envoy first, so that the picker's streams are over. One that has ended already is as good.
        let _ = self.envoy.kill().await;
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has been logged; the rest still has to stop.
            let _ = task.await;
        }
        self.fleet.stop().await;
        // A bootstrap that stays behind does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Envoy's own messages are on standard error already.
async fn wait_until_listening(envoy: &mut Child, address: SocketAddr) -> Result<()> {
    let deadline = tokio::time::Instant::now() + START;
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = envoy.try_wait()? {
            bail!("Envoy ended: {status}");
        }
        if tokio::time::Instant::now() > deadline {
            bail!("Envoy does not listen on {address}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
