//! The command line of a sweep, and variants of it for messages.

use std::path::PathBuf;

use super::cell::Cell;
use crate::args::simulate::SimulateArgs;
use crate::shell_quoted;

/// A sweep as a shell command.
#[derive(Clone, Debug)]
pub(super) struct CommandLine {
    file: String,
    /// Options that select the runs.
    runs: Vec<String>,
    /// Options of the output.
    output: Vec<String>,
}

impl CommandLine {
    pub(super) fn new(args: &SimulateArgs) -> Self {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let runs = options("--placement", &args.placement)
            .chain(options("--rate", &args.rate))
            .chain(options("--seed", &args.seed))
            .chain(options("--seeds", args.seeds))
            .chain(args.knee.then(|| "--knee".to_owned()));
        let output = options("--report", path(&args.report))
            .chain(options("--state", path(&args.state)))
            .chain(args.json.then(|| "--json".to_owned()));
        Self { file: path(&args.file).unwrap_or_default(), runs: runs.collect(), output: output.collect() }
    }

    /// The command that a report names: the runs without output options.
    pub(super) fn of_sweep(&self) -> String {
        self.line(&self.runs)
    }

    /// The command that resumes the sweep.
    pub(super) fn resumed(&self) -> String {
        let resume = "--resume".to_owned();
        self.line(self.runs.iter().chain(&self.output).chain([&resume]))
    }

    /// The command of a single run.
    pub(super) fn of_cell(&self, placement: &str, cell: &Cell) -> String {
        let options =
            ["--placement", placement, "--rate", &cell.rate.to_string(), "--seed", &cell.seed.to_string()];
        self.line(&options.map(str::to_owned))
    }

    fn line<'a>(&'a self, options: impl IntoIterator<Item = &'a String>) -> String {
        let words = ["pointsman", "simulate", &self.file].into_iter().map(shell_quoted);
        words.chain(options.into_iter().map(|word| shell_quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// An option with each of its values.
fn options<T: ToString>(name: &str, values: impl IntoIterator<Item = T>) -> impl Iterator<Item = String> {
    values.into_iter().flat_map(move |value| [name.to_owned(), value.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_contain_the_options_they_need() {
        let line = CommandLine {
            file: "my file.yaml".to_owned(),
            runs: ["--placement", "random", "--seeds", "3"].map(str::to_owned).into(),
            output: ["--report", "out"].map(str::to_owned).into(),
        };
        assert_eq!(line.of_sweep(), "pointsman simulate 'my file.yaml' --placement random --seeds 3");
        assert_eq!(
            line.resumed(),
            "pointsman simulate 'my file.yaml' --placement random --seeds 3 --report out --resume"
        );
        let cell = Cell { arm: 0, rate: 12.5, seed: 4, requests: 0 };
        assert_eq!(
            line.of_cell("round-robin", &cell),
            "pointsman simulate 'my file.yaml' --placement round-robin --rate 12.5 --seed 4"
        );
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }
}
