//! The state file of a sweep: a line that identifies the sweep, then a line per finished run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use pointsman_report::SeedResult;
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// The version: another one may give other results.
    pointsman: String,
    /// The experiment's text and hashes of the files that it names.
    experiment: String,
}

/// The state file, written line by line, so that it is usable whenever the process ends.
#[derive(Debug)]
pub(super) struct State {
    pub(super) path: PathBuf,
    file: Option<File>,
    identity: Identity,
}

impl State {
    /// The state of a sweep at this path. Nothing is written yet.
    pub(super) fn new(path: PathBuf, experiment: &str) -> Self {
        let identity = Identity { pointsman: crate::VERSION.to_owned(), experiment: experiment.to_owned() };
        Self { path, file: None, identity }
    }

    /// The results of an earlier sweep of the same experiment.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, or it is of another experiment or version.
    pub(super) fn read(&self) -> Result<Vec<SeedResult>> {
        let named = || self.path.display().to_string();
        let file = File::open(&self.path).with_context(named)?;
        let mut lines = BufReader::new(file).lines();
        let identity = lines.next().transpose().with_context(named)?.unwrap_or_default();
        let identity: Identity =
            serde_json::from_str(&identity).with_context(|| format!("{}: not a sweep", named()))?;
        if identity.pointsman != self.identity.pointsman {
            bail!(
                "{}: written by version {}, this is {}; without --resume the sweep starts over",
                named(),
                identity.pointsman,
                self.identity.pointsman
            );
        }
        if identity.experiment != self.identity.experiment {
            bail!("{}: of another experiment; without --resume the sweep starts over", named());
        }
        // The last line of a killed process may be truncated.
        let results = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok());
        Ok(results.collect())
    }

    /// Writes the file with these results and keeps it open.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn begin(&mut self, results: &[SeedResult]) -> Result<()> {
        let named = || self.path.display().to_string();
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).with_context(named)?;
        }
        let mut text = serde_json::to_string(&self.identity)?;
        text.push('\n');
        for result in results {
            text.push_str(&serde_json::to_string(result)?);
            text.push('\n');
        }
        std::fs::write(&self.path, text).with_context(named)?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path).with_context(named)?);
        Ok(())
    }

    /// Appends a result, if [`State::begin`] was called before.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn add(&mut self, result: &SeedResult) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_string(result)?;
        line.push('\n');
        file.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(policy: &str, seed: u64) -> SeedResult {
        SeedResult {
            policy: policy.to_owned(),
            role: pointsman_report::sweep::Role::Policy,
            rate: 10.0,
            seed,
            offered: 3,
            completed: 3,
            rejected: 0,
            failed: 0,
            unfinished: 0,
            arrival_seconds: 0.1 + 0.2,
            seconds: 1.0 / 3.0,
            completed_rps: 9.0,
            latency_growth: None,
            hit_tokens: Some(1),
            prompt_tokens: 7,
            output_tokens: 5,
            latencies: pointsman_report::sweep::LatencySummary::default(),
            endpoints: Vec::new(),
        }
    }

    #[test]
    fn results_are_read_bit_for_bit() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("report/sweep.jsonl");
        let mut state = State::new(path.clone(), "rates: [10]");
        state.begin(&[result("random", 1)])?;
        state.add(&result("random", 2))?;
        let read = State::new(path, "rates: [10]").read()?;
        assert_eq!(read, [result("random", 1), result("random", 2)]);
        Ok(())
    }

    #[test]
    fn a_truncated_line_and_the_rest_are_ignored() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sweep.jsonl");
        let mut state = State::new(path.clone(), "");
        state.begin(&[result("random", 1), result("random", 2)])?;
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, &text[..text.len() - 10])?;
        assert_eq!(state.read()?, [result("random", 1)]);
        Ok(())
    }

    #[test]
    fn another_experiment_is_not_resumed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sweep.jsonl");
        assert!(State::new(path.clone(), "a").read().is_err(), "nothing there");
        State::new(path.clone(), "a").begin(&[])?;
        let error = State::new(path.clone(), "b").read().map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("another experiment")));
        std::fs::write(&path, "rates: [10]\n")?;
        assert!(State::new(path, "a").read().is_err(), "not a sweep");
        Ok(())
    }
}
