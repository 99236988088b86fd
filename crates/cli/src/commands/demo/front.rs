//! The door in front of the demo's engines: the gateway, or a real Envoy that asks the endpoint picker.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pointsman_config::{GatewayPolicy, MetricsPage, QuickOptions, quick_form};
use pointsman_extproc::{EnvoyOptions, PickerLink, PickerOptions, ResponseBodies, Security, envoy_config};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::args::{DemoArgs, ServerArgs};
use crate::commands::envoy::find_or_fetch;
use crate::server::{DoorPlan, Plan, Server};

/// Timeout for Envoy's start.
const START: Duration = Duration::from_secs(15);
/// Drain timeout.
const DRAIN: Duration = Duration::from_secs(2);

/// The server that the load goes through, behind an Envoy or not.
pub(super) struct Front {
    pub(super) server: Server,
    /// The address for requests.
    pub(super) address: SocketAddr,
    envoy: Option<Envoy>,
}

/// Envoy as a child process, with the folder of its bootstrap.
struct Envoy {
    /// Killed when dropped.
    process: Child,
    folder: PathBuf,
}

impl Front {
    pub(super) async fn start(urls: Vec<String>, args: &DemoArgs) -> Result<Self> {
        // Before anything is started, since a download may fail.
        let envoy = if args.envoy { Some(find_or_fetch(&args.envoy_binary)?) } else { None };
        let world = quick_form(&urls, &QuickOptions::default())?;
        let pool = world.pools.first().cloned().context("the quick form has a pool")?;
        let door = match envoy {
            None => DoorPlan::Gateway(Some(args.listen)),
            Some(_) => DoorPlan::Picker(Box::new(PickerOptions {
                bind: Ipv4Addr::LOCALHOST.into(),
                grpc_port: 0,
                health_port: 0,
                security: Security::SelfSigned,
                handover: Duration::ZERO,
                ..PickerOptions::default()
            })),
        };
        let server = Server::start(Plan {
            door,
            admin: args.admin,
            world,
            manifests: None,
            metrics: MetricsPage::default(),
            args: ServerArgs {
                drain_timeout: DRAIN,
                handover_timeout: Some(Duration::ZERO),
                record: None,
                decisions: 0,
                otlp_endpoint: None,
            },
        })
        .await?;
        let (Some(binary), Some(picker)) = (envoy, server.ext_proc_address()) else {
            let address = server.address().unwrap_or(args.listen);
            return Ok(Self { server, address, envoy: None });
        };
        let bootstrap = envoy_config(
            &pool,
            &EnvoyOptions {
                listen: args.listen,
                admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                picker,
                link: PickerLink::Tls { certificate: None, picker_ca: None },
                response_bodies: ResponseBodies::Usage,
                buffered: false,
                max_body: GatewayPolicy::default().max_body_bytes,
                fail_open: false,
            },
        )?;
        let envoy = Envoy::start(binary, &bootstrap, args.listen).await?;
        Ok(Self { server, address: args.listen, envoy: Some(envoy) })
    }

    /// A short description.
    pub(super) const fn describe(&self) -> &'static str {
        match self.envoy {
            None => "one gateway, which places each request",
            Some(_) => "a real Envoy, which asks the endpoint picker about each request",
        }
    }

    pub(super) async fn stop(self) {
        if let Some(envoy) = self.envoy {
            // Envoy first, so that the picker has no streams left.
            envoy.stop().await;
        }
        self.server.stop(Duration::ZERO).await;
    }
}

impl Envoy {
    async fn start(binary: PathBuf, bootstrap: &str, listen: SocketAddr) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("pointsman-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let file = folder.join("envoy.yaml");
        std::fs::write(&file, bootstrap).with_context(|| file.display().to_string())?;
        let mut process = Command::new(&binary)
            .arg("-c")
            .arg(&file)
            .args(["-l", "error", "--use-dynamic-base-id"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        wait_until_listening(&mut process, listen).await?;
        Ok(Self { process, folder })
    }

    async fn stop(mut self) {
        // Fails only if the process has ended already.
        let _ = self.process.kill().await;
        // A folder that remains does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until Envoy accepts connections. Its messages are on standard error.
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
