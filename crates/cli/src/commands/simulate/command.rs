//! The command that was typed, and those like it that are offered.

use super::cells::Cell;
use crate::args::simulate::SimulateArgs;

/// How to type a sweep, in words for a shell.
#[derive(Clone, Debug)]
pub(super) struct CommandLine {
    file: String,
    /// What chooses the runs.
    runs: Vec<String>,
    /// What says where results go.
    output: Vec<String>,
}

impl CommandLine {
    pub(super) fn new(args: &SimulateArgs) -> Self {
        let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut runs = Vec::new();
        for policy in &args.policy {
            runs.extend(["--policy".to_owned(), policy.clone()]);
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

    /// What a report names as its source: the runs, not where they were written.
    pub(super) fn of_sweep(&self) -> String {
        self.line(&self.runs)
    }

    /// The same sweep, going on where it stopped.
    pub(super) fn resumed(&self) -> String {
        let resume = "--resume".to_owned();
        self.line(self.runs.iter().chain(&self.output).chain([&resume]))
    }

    /// One run alone.
    pub(super) fn of_cell(&self, policy: &str, cell: &Cell) -> String {
        let options =
            ["--policy", policy, "--rate", &cell.rate.to_string(), "--seed", &cell.seed.to_string()];
        self.line(&options.map(str::to_owned))
    }

    fn line<'a>(&'a self, options: impl IntoIterator<Item = &'a String>) -> String {
        let words = ["pointsman", "simulate", &self.file].into_iter().map(quoted);
        words.chain(options.into_iter().map(|word| quoted(word))).collect::<Vec<_>>().join(" ")
    }
}

/// A word as a shell takes it.
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
    fn commands_name_what_they_need_and_no_more() {
        let line = CommandLine {
            file: "my file.yaml".to_owned(),
            runs: ["--policy", "random", "--seeds", "3"].map(str::to_owned).into(),
            output: ["--report", "out"].map(str::to_owned).into(),
        };
        assert_eq!(line.of_sweep(), "pointsman simulate 'my file.yaml' --policy random --seeds 3");
        assert_eq!(
            line.resumed(),
            "pointsman simulate 'my file.yaml' --policy random --seeds 3 --report out --resume"
        );
        let cell = Cell { arm: 0, rate: 12.5, seed: 4, requests: 0 };
        assert_eq!(
            line.of_cell("round-robin", &cell),
            "pointsman simulate 'my file.yaml' --policy round-robin --rate 12.5 --seed 4"
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
