//! `pointsman engine`: a simulated engine.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pointsman_engine::{EngineConfig, EngineServer};
use pointsman_sim::engine::{BuiltinProfile, EngineProfile};

use crate::args::EngineArgs;
use crate::output;
use crate::shutdown::{self, Grace};

pub(crate) async fn run(args: EngineArgs) -> Result<ExitCode> {
    if args.profile == "list" {
        print_profiles()?;
        return Ok(ExitCode::SUCCESS);
    }
    let profile = profile(&args.profile).context("--profile")?;
    let config = EngineConfig {
        speed: args.speed,
        seed: args.seed,
        adapters: args.adapter,
        faults: args.allow_faults,
        injected_faults: args.fault,
        ..EngineConfig::new(args.listen, args.model.clone(), profile)
    };
    let grace = Grace { handover: Duration::ZERO, drain: config.drain };
    let stop = shutdown::on_signal()?.token;
    shutdown::on_hangup(None)?;
    let server = EngineServer::bind(config).await?;
    let address = server.local_addr();
    output::announce(&format!("pointsman engine: ready, serving {} on http://{address}", args.model));
    let serving = server.serve(stop.clone().cancelled_owned());
    shutdown::announced(&stop, grace, || None, serving).await;
    Ok(ExitCode::SUCCESS)
}

/// The profile of this name, or in this file if the name ends in `.json`.
pub(crate) fn profile(name_or_file: &str) -> Result<EngineProfile> {
    if Path::new(name_or_file).extension().is_none_or(|extension| extension != "json") {
        return Ok(EngineProfile::named(name_or_file)?);
    }
    let text = std::fs::read_to_string(name_or_file).with_context(|| name_or_file.to_owned())?;
    EngineProfile::from_json(&text).with_context(|| name_or_file.to_owned())
}

fn print_profiles() -> Result<()> {
    for builtin in BuiltinProfile::ALL {
        let profile = builtin.load()?;
        println!("{}", profile.name);
        println!(
            "    max_num_seqs {}, {} KV blocks of {} tokens",
            profile.max_sequences, profile.blocks, profile.block_size
        );
        for (figure, source) in &profile.sources {
            println!("    {figure}: {source}");
        }
    }
    Ok(())
}
