//! What a picker is started with. The server and the printed bootstrap have it from here, so that each refuses what the
//! other does, with the same words; `pointsman check --picker` reads manifests by the same function.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use pointsman_config::{
    Consumer, Limits, ObjectName, Options, PickerConfig, PoolSpec, QuickOptions, SourceText, TlsFiles, World,
    quick_form_of_picker, read_picker_config,
};
use pointsman_extproc::{Security, SecurityFiles, choose_pool};
use pointsman_fleet::Connector;

use crate::args::epp::EppArgs;
use crate::manifests::{Manifests, engine_access, read_manifests};

/// A checked configuration of a picker.
pub(super) struct Setup {
    pub(super) world: World,
    pub(super) manifests: Option<Manifests>,
    /// The pool to pick from.
    pub(super) pool: ObjectName,
    pub(super) security: Security,
}

impl Setup {
    /// Reads and checks all that the flags name.
    ///
    /// # Errors
    /// The first mistake; of unsupported flags and of files all of them.
    pub(super) fn read(args: &EppArgs) -> Result<Self> {
        let unsupported = args.upstream.unsupported();
        if !unsupported.is_empty() {
            bail!("{}", unsupported.join("\n       "));
        }
        for sentence in args.upstream.without_effect() {
            tracing::info!("{sentence}");
        }
        check_ports(args)?;
        let security = security(args)?;
        security.check()?;
        let config = picker_config(args)?;
        let access = engine_access(&args.access, &args.endpoint)?;
        let (world, manifests) = if args.manifests.is_empty() {
            let quick = QuickOptions { access, ..QuickOptions::default() };
            let mut world = quick_form_of_picker(&args.endpoint, &quick, config)?;
            if let Some(name) = named(args) {
                world.pools.iter_mut().for_each(|pool| pool.name = name.clone());
            }
            (world, None)
        } else {
            let options = Options { consumer: Consumer::Picker { config }, ..Options::default() };
            let (world, manifests) = read_manifests(&args.manifests, options)?;
            (world, Some(manifests))
        };
        for pool in &world.pools {
            Connector::new(&pool.access).with_context(|| format!("pool {}", pool.name))?;
        }
        let pools: Vec<&ObjectName> = world.pools.iter().map(|pool| &pool.name).collect();
        let pool = choose_pool(&pools, named(args))?;
        Ok(Self { world, manifests, pool, security })
    }

    /// The pool to pick from, with its endpoints.
    pub(super) fn spec(&self) -> Result<&PoolSpec> {
        let found = self.world.pools.iter().find(|pool| pool.name == self.pool);
        found.with_context(|| format!("no pool {}", self.pool))
    }
}

/// The pool that is asked for. Endpoints on the command line are one, which has this name.
fn named(args: &EppArgs) -> Option<ObjectName> {
    let (namespace, name) = (args.pool_namespace.as_str(), args.pool_name.as_deref()?);
    Some(ObjectName { namespace: namespace.into(), name: name.into() })
}

/// Each port has one use. 0 is any free port.
fn check_ports(args: &EppArgs) -> Result<()> {
    let EppArgs { grpc_port, grpc_health_port, metrics_port, .. } = *args;
    let ports = [
        ("--grpc-port", grpc_port),
        ("--grpc-health-port", grpc_health_port),
        ("--metrics-port", metrics_port),
    ];
    for (position, (flag, port)) in ports.into_iter().enumerate() {
        if let Some((other, _)) = ports[..position].iter().find(|(_, other)| port > 0 && *other == port) {
            bail!("{other} and {flag} are both {port}");
        }
    }
    Ok(())
}

fn security(args: &EppArgs) -> Result<Security> {
    match (&args.cert_path, args.secure_serving) {
        (None, true) => Ok(Security::SelfSigned),
        (Some(folder), true) => {
            Ok(Security::Files(SecurityFiles { server: pair_in(folder), client_ca: args.client_ca.clone() }))
        }
        (folder, false) => {
            ensure!(folder.is_none(), "--cert-path has no effect with --secure-serving=false");
            Ok(Security::Plain)
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

/// The files of a Kubernetes secret of type `kubernetes.io/tls`.
pub(super) fn pair_in(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
}
