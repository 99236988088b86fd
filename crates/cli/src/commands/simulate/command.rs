//! The command line of a sweep, and variants of it for messages.

use super::cells::Cell;
use crate::args::simulate::SimulateArgs;

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
        let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut runs = Vec::new();
        for placement in &args.placement {
            runs.extend(["--placement".to_owned(), placement.clone()]);
        }
        for rate in &args.rate {
            runs.extend(["--rate".to_owned(), rate.to_string()]);
        }
        for seed in &args.seed {
            runs.extend(["--seed".to_owned(), seed.to_string()]);
        }
        if let Some(seeds) = args.seeds {
            runs.extend(["--seeds".to_owned(), seeds.to_string()]);
        }
        if args.knee {
            runs.push("--knee".to_owned());
        }
        let mut output = Vec::new();
        for (option, value) in [("--report", path(&args.report)), ("--state", path(&args.state))] {
            if let Some(value) = value {
                output.extend([option.to_owned(), value]);
            }
        }
        if args.json {
            output.push("--json".to_owned());
        }
        Self { file: path(&args.file).unwrap_or_default(), runs, output }
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
        let words = ["pointsman", "simulate", &self.file].into_iter().map(quoted);
        words.chain(options.into_iter().map(|word| quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
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
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
