//! Experiments: a question asked of a simulated fleet, as a file.
//!
//! [`load`] reads YAML like a manifest: every mistake in one run, with its place, its path and what mends it.
//! [`explain_format`] lists the fields; `docs/simulator.md` holds the same list.

mod distributions;
mod fleet;
mod format;
mod information;
mod policies;
mod profiles;
mod read;
mod schedule;
mod values;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use pointsman_config::{Problem, SourceText};
use pointsman_core::Time;

pub use format::explain_format;

use crate::scenario::{Information, Member, Routing, Scenario};
use crate::workload::{Generator, RecordedRequest, Workload};

/// A fleet, a workload, and who is to decide, at which rates and from which seeds.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The name of its file, without folder and ending.
    pub name: Arc<str>,
    /// What it is called in reports; its name where it says nothing.
    pub title: String,
    /// Which question it answers.
    pub description: String,
    /// The engines.
    pub fleet: Vec<Member>,
    /// What clients ask for.
    pub workload: Arc<Workload>,
    /// Who decides, in the order of the file, policies before bounds: at least one policy.
    pub entrants: Vec<Entrant>,
    /// The place among the entrants of the policy that the others are compared with.
    pub baseline: usize,
    /// Jobs per second: at least one rate.
    pub rates: Vec<f64>,
    /// At least one seed; intervals want five.
    pub seeds: Vec<u64>,
    /// See [`Scenario`].
    pub warm_up: Duration,
    /// See [`Scenario`].
    pub duration: Duration,
    /// See [`Scenario`].
    pub drain: Duration,
}

/// A policy or bound of an experiment, with what it gets to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrant {
    /// What reports call it: its label, or the policy's name.
    pub name: Arc<str>,
    /// Who decides.
    pub routing: Routing,
    /// What the router knows.
    pub information: Information,
}

/// What [`Experiment::select`] cannot make an experiment of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A name that is neither in the experiment nor that of a policy or bound.
    #[error("there is no policy {name:?}; this experiment has {here}, and there are {others}")]
    Unknown {
        /// The name.
        name: String,
        /// The experiment's entrants.
        here: String,
        /// Every policy and bound.
        others: String,
    },
    /// Bounds, and no policy that they could stand beside.
    #[error("only bounds are named, which stand beside policies: name a policy too")]
    OnlyBounds,
}

/// The files that an experiment names, by their paths as written there: relative to the experiment's folder.
pub trait Files {
    /// The text of a trace or engine profile.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    fn text(&self, path: &str) -> Result<Arc<str>, String>;

    /// The requests in a gateway's event log.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    fn recorded(&self, path: &str) -> Result<Vec<RecordedRequest>, String> {
        Err(format!("event logs cannot be read here, so {path:?} is left alone"))
    }
}

impl<F: Fn(&str) -> Result<Arc<str>, String>> Files for F {
    fn text(&self, path: &str) -> Result<Arc<str>, String> {
        self(path)
    }
}

/// Reads an experiment.
///
/// # Errors
/// Every mistake, in the experiment and in the files that it names.
pub fn load(source: &SourceText, files: &dyn Files) -> Result<Experiment, Vec<Problem>> {
    read::load(source, files)
}

impl Experiment {
    /// The fleet as an entrant meets it.
    #[must_use]
    pub fn scenario(&self, entrant: &Entrant) -> Scenario {
        Scenario {
            fleet: self.fleet.clone(),
            information: entrant.information.clone(),
            warm_up: self.warm_up,
            duration: self.duration,
            drain: self.drain,
        }
    }

    /// The jobs of one run: the same for every entrant.
    #[must_use]
    pub fn jobs(&self, rate: f64, seed: u64) -> Generator {
        let block_size = self.fleet.first().map_or(16, |member| member.profile.block_size);
        let limit = fleet::limit(&self.fleet).map_or(u32::MAX, |(limit, _)| limit);
        let until = Time::ZERO + self.duration;
        Generator::new(Arc::clone(&self.workload), rate, seed, until, (block_size, limit))
    }

    /// The first so many seeds of the file, and behind them as many more as are wanted.
    pub fn set_seeds(&mut self, count: usize) {
        let most = self.seeds.iter().copied().max().unwrap_or(0);
        let wanted = count.max(1);
        let more = wanted.saturating_sub(self.seeds.len());
        self.seeds.truncate(wanted);
        self.seeds.extend((most.saturating_add(1)..).take(more));
    }

    /// Leaves the entrants of these names, in this order. The name of a policy or bound that the file does not have
    /// adds it, with the file's information and published parameters. The baseline stays if it is named, else it is
    /// the first policy named.
    ///
    /// # Errors
    /// The first name that is neither here nor known, or bounds alone; nothing changes then.
    pub fn select(&mut self, names: &[String]) -> Result<(), SelectionError> {
        let mut chosen: Vec<Entrant> = Vec::new();
        for name in names {
            let here = self.entrants.iter().find(|entrant| *entrant.name == **name).cloned();
            let entrant = here.or_else(|| self.newcomer(name)).ok_or_else(|| self.unknown(name))?;
            if !chosen.iter().any(|known| known.name == entrant.name) {
                chosen.push(entrant);
            }
        }
        let is_policy = |entrant: &Entrant| !matches!(entrant.routing, Routing::Bound(_));
        let Some(first) = chosen.iter().position(is_policy) else {
            return if names.is_empty() { Ok(()) } else { Err(SelectionError::OnlyBounds) };
        };
        let baseline = self.entrants.get(self.baseline).map(|entrant| Arc::clone(&entrant.name));
        let kept = chosen.iter().position(|entrant| Some(&entrant.name) == baseline.as_ref());
        self.baseline = kept.unwrap_or(first);
        self.entrants = chosen;
        Ok(())
    }

    fn newcomer(&self, name: &str) -> Option<Entrant> {
        let routing = Routing::named(name)?;
        let information = self.entrants.first().map(|entrant| entrant.information.clone())?;
        Some(Entrant { name: name.into(), routing, information })
    }

    fn unknown(&self, name: &str) -> SelectionError {
        let here: Vec<&str> = self.entrants.iter().map(|entrant| &*entrant.name).collect();
        let others: Vec<&str> = Routing::all().map(|routing| routing.name()).collect();
        SelectionError::Unknown { name: name.to_owned(), here: here.join(", "), others: others.join(", ") }
    }
}
