//! `pointsman simulate`: experiments in virtual time.

mod cell;
mod command;
mod fit;
mod fuzz;
mod knee;
mod recorded;
mod setup;
mod state;
mod summary;
mod sweep;
mod workers;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::simulate::{SimulateArgs, SimulateCommand};
use command::CommandLine;

pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode> {
    match &args.command {
        Some(SimulateCommand::Fit(args)) => return fit::run(args),
        Some(SimulateCommand::Fuzz(args)) => return fuzz::run(args),
        None => {}
    }
    let Some(file) = &args.file else {
        print!("{}", pointsman_sim::experiment::explain_format());
        return Ok(ExitCode::SUCCESS);
    };
    let command = CommandLine::new(args);
    match setup::of(file, args, &command)? {
        Some(setup) => crate::block_on(sweep::run(setup, args, &command)),
        None => Ok(ExitCode::FAILURE),
    }
}
