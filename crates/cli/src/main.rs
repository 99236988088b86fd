//! The `pointsman` binary: arguments, wiring and threads.

#[macro_use]
mod output;

mod args;
mod commands;
mod completions;
mod manifests;
mod progress;
mod reports;
mod server;
mod shutdown;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pointsman_report::Table;
use pointsman_telemetry::logging::{self, LogOptions};

use crate::args::{Cli, Command, LogArgs, LogFormat};

/// Exit status of wrong usage, as clap has it.
const USAGE: u8 = 2;

/// Takes a third less time than glibc's allocator, which is a large part of a proxy's work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The version, for files.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from.
const COMMIT: &str = env!("POINTSMAN_COMMIT");

fn main() -> ExitCode {
    let arguments = args::epp::newer_spelling(std::env::args_os());
    if let Err(message) = args::epp::check_flags(&arguments) {
        eprintln!("error: {message}");
        return ExitCode::from(USAGE);
    }
    let cli = match args::parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed this way too.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let addresses = cli.command.addresses();
    match run(cli) {
        Ok(status) => status,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            if let Some(hint) = address_hint(&error, addresses) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    init_logs(cli.log)?;
    match cli.command {
        Command::Gateway(args) => block_on(commands::gateway::run(args)),
        // Streams are served on their own threads. The rest is little work, which is cheaper on one thread.
        Command::Epp(args) => block_on_one_thread(commands::epp::run(*args)),
        Command::Engine(args) => block_on(commands::engine::run(args)),
        Command::Demo(args) => block_on(commands::demo::run(args)),
        Command::Bench(args) => commands::bench::run(*args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Explain(args) => block_on_one_thread(commands::explain::run(args)),
        Command::Completions { shell } => {
            print!("{}", completions::of(shell));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn init_logs(args: LogArgs) -> Result<()> {
    let format = match args.log_format {
        LogFormat::Auto => logging::LogFormat::Auto,
        LogFormat::Text => logging::LogFormat::Text,
        LogFormat::Json => logging::LogFormat::Json,
    };
    logging::init(&LogOptions { format, filter: Some(args.log) })?;
    Ok(())
}

/// Runs a command on a runtime with a worker per core.
fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let status = runtime.block_on(command);
    runtime.shutdown_background();
    status
}

/// Runs a command on a single-threaded runtime.
fn block_on_one_thread(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(command)
}

/// Prints a result as JSON or as a table.
fn print(json: bool, result: &impl serde::Serialize, table: &Table) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(result)?);
    } else {
        print!("{}", table.render(width()));
    }
    Ok(())
}

/// Width of tables in columns.
fn width() -> usize {
    const WITHOUT_TERMINAL: usize = 120;
    console::Term::stdout().size_checked().map_or(WITHOUT_TERMINAL, |(_, columns)| usize::from(columns))
}

/// A word quoted for a shell.
fn shell_quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An error and its causes in one line, without causes that the text before ends with.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |line, cause| match cause.to_string() {
        cause if line.is_empty() => cause,
        cause if line.ends_with(&cause) => line,
        cause => format!("{line}: {cause}"),
    })
}

fn io_error(error: &anyhow::Error) -> Option<ErrorKind> {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.map(std::io::Error::kind)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    io_error(error) == Some(ErrorKind::BrokenPipe)
}

/// What to do about an address that cannot be listened on. `flags` set the command's addresses; empty if it has none.
fn address_hint(error: &anyhow::Error, flags: &str) -> Option<String> {
    const REASONS: [(ErrorKind, &str); 3] = [
        (ErrorKind::AddrInUse, "another process listens there; choose another address"),
        (ErrorKind::AddrNotAvailable, "the address is not one of this machine; choose another"),
        (ErrorKind::PermissionDenied, "ports below 1024 are for privileged processes; choose another"),
    ];
    // A file can be refused by the same error.
    let is_listening = one_line(error).contains("listen");
    let kind = io_error(error).filter(|_| is_listening && !flags.is_empty())?;
    let (_, reason) = REASONS.iter().find(|(known, _)| *known == kind)?;
    Some(format!("{reason} by {flags}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_has_a_hint() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = std::net::TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
        let error = anyhow::Error::from(error).context("cannot listen");
        let hint = "another process listens there; choose another address by --listen";
        assert_eq!(address_hint(&error, "--listen").as_deref(), Some(hint));
        assert_eq!(address_hint(&error, ""), None);
        assert_eq!(address_hint(&anyhow::anyhow!("other"), "--listen"), None);
    }
}
