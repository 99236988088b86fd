//! Project automation. `cargo xtask test` runs the whole test suite on a fresh machine.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line tool")]

mod layers;
mod licences;
mod placement;
mod purity;
mod python;
mod sources;
mod step;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, cargo, root};

const USAGE: &str = "\
cargo xtask COMMAND

  test          format, lints, tidy, unit and property tests, the built binary with the openai client and Envoy
  verify        format, lints, tidy
  tidy          dependency rules, purity settings, licences, file sizes, unfinished code
  python        the openai Python client against the built binary (installs it into .cache/python)
  fuzz          whole conversations of clients, gateway or picker, and engines, drawn from seeds, for an hour; the argument is
                another number of seconds (`test` does it for a minute)
  envoy         the picker behind a real Envoy (installs both into .cache/envoy; Linux only)
  placement     measure placement rules against each other and write the results into docs/placement.md;
                the argument is the number of seeds (10; a minute each), or --short to print a few figures
  vllm          the gateway in front of two real vLLM servers on the CPU; needs 3 GB of disk and PyPI, and is
                not part of `test`
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "test" => test(),
        "verify" => verify(),
        "tidy" => tidy(),
        "python" => build().and_then(|()| python::client_tests()),
        "fuzz" => fuzz(std::env::args().nth(2).as_deref()),
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

/// Runs the tests of whole conversations at both doors for this many seconds in all, an hour by default.
fn fuzz(seconds: Option<&str>) -> Result<()> {
    let seconds: u64 = seconds.map_or(Ok(3_600), str::parse).context("the number of seconds")?;
    for (package, seconds) in [("pointsman-gateway", seconds * 3 / 4), ("pointsman-extproc", seconds / 4)] {
        let mut run =
            cargo(&["test", "--quiet", "--package", package, "--test", "conversations", "--", "--nocapture"]);
        run.env("FUZZ_SECONDS", seconds.to_string());
        Step::new(package).run(run)?;
    }
    Ok(())
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
    problems.extend(purity::check(root())?);
    problems.extend(sources::check(root())?);
    if problems.is_empty() {
        println!("== tidy: ok");
        return Ok(());
    }
    bail!("tidy found {} problem(s):\n  {}", problems.len(), problems.join("\n  "));
}

/// Builds the release binary, which the whole-binary tests run.
fn build() -> Result<()> {
    Step::new("release binary").run(cargo(&["build", "--release", "--quiet", "--bin", "pointsman"]))
}
