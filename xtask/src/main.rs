//! Project automation. `cargo xtask test` is the whole test suite on a fresh machine.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod layers;
mod licences;
mod placement;
mod python;
mod sources;
mod step;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, cargo, root};

const USAGE: &str = "\
cargo xtask COMMAND

  test          everything: format, lints, tidy, unit and property tests, the built binary, the openai client
  verify        the quick half of it: format, lints, tidy
  tidy          dependency rules, licences, file sizes, words that do not belong here
  python        the openai Python client against the built binary (installs it into .cache/python)
  envoy         the picker behind a real Envoy (installs both into .cache/envoy; Linux only)
  placement     measure what placement achieves, and write it into docs/placement.md: ten seeds, or
                as many as a number says, at about a minute each; --short prints a few figures
  vllm          the gateway in front of two real vLLM servers on the CPU: needs 3 GB of disk and the
                package registry; not part of `test`
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "test" => test(),
        "verify" => verify(),
        "tidy" => tidy(),
        "python" => build().and_then(|()| python::client_tests()),
        "envoy" => build().and_then(|()| python::envoy_tests()),
        "placement" => {
            build().and_then(|()| placement::measure(extent(&std::env::args().skip(2).collect::<Vec<_>>())?))
        }
        "vllm" => build().and_then(|()| python::vllm_tests()),
        "" | "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown command `{other}`\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn extent(arguments: &[String]) -> Result<placement::Extent> {
    match arguments {
        [] => Ok(placement::Extent::Full(10)),
        [short] if short == "--short" => Ok(placement::Extent::Short),
        [seeds] => Ok(placement::Extent::Full(seeds.parse().context("the number of seeds")?)),
        _ => bail!("placement takes a number of seeds, or --short"),
    }
}

fn test() -> Result<()> {
    verify()?;
    Step::new("unit, property and protocol tests").run(cargo(&["test", "--workspace", "--quiet"]))?;
    Step::new("benches run").run(cargo(&["test", "--workspace", "--benches", "--quiet"]))?;
    build()?;
    placement::measure(placement::Extent::Short)?;
    python::client_tests()?;
    python::envoy_tests()?;
    println!("all tests passed");
    Ok(())
}

fn verify() -> Result<()> {
    Step::new("format").run(cargo(&["fmt", "--all", "--check"]))?;
    tidy()?;
    Step::new("lints").run(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn tidy() -> Result<()> {
    let metadata = step::metadata()?;
    let mut problems = layers::check(&metadata);
    problems.extend(licences::check(&metadata, &root().join("deny.toml"))?);
    problems.extend(sources::check(root())?);
    if problems.is_empty() {
        println!("== tidy: ok");
        return Ok(());
    }
    bail!("tidy found {} problem(s):\n  {}", problems.len(), problems.join("\n  "));
}

/// The release binary, which the whole-binary tests run.
fn build() -> Result<()> {
    Step::new("release binary").run(cargo(&["build", "--release", "--quiet", "--bin", "pointsman"]))
}
