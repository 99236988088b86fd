//! Experiments: simulations described by a YAML file.
//!
//! [`load`] reports every mistake of a file in one run, with position, field and fix. [`explain_format`] lists the fields;
//! `docs/simulator.md` contains the same list.

mod distributions;
mod fleet;
mod format;
mod information;
mod placements;
mod profiles;
mod read;
mod schedule;
mod values;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::Time;
use pointsman_workload::{Generator, RecordedRequest, Workload};
use pointsman_yaml::{Problem, SourceText};

pub use format::explain_format;

use crate::scenario::{EngineSpec, Information, Routing, Scenario};

/// A fleet, a workload, and the arms to compare at some rates and seeds.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Name of its file without folder and extension.
    pub name: Arc<str>,
    /// Title in reports; the name by default.
    pub title: String,
    /// The question that it answers.
    pub description: String,
    /// The engines.
    pub fleet: Vec<EngineSpec>,
    /// The workload.
    pub workload: Arc<Workload>,
    /// The arms in the order of the file, placements before bounds; at least one placement.
    pub arms: Vec<Arm>,
    /// Index of the arm that the others are compared with.
    pub baseline: usize,
    /// Jobs per second: at least one rate.
    pub rates: Vec<f64>,
    /// At least one seed; intervals need five.
    pub seeds: Vec<u64>,
    /// See [`Scenario`].
    pub warm_up: Duration,
    /// See [`Scenario`].
    pub duration: Duration,
    /// See [`Scenario`].
    pub drain: Duration,
}

/// A balancer under test with its information.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Name in reports: the label, or the name of the routing.
    pub name: Arc<str>,
    /// The balancer.
    pub routing: Routing,
    /// The routers' information.
    pub information: Information,
}

/// Why [`Experiment::select`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A name that is neither an arm of the experiment nor that of a placement or bound.
    #[error("there is no placement {name:?}; this experiment has {here}, and there are {others}")]
    Unknown {
        /// The name.
        name: String,
        /// Names of the experiment's arms.
        here: String,
        /// Names of all placements and bounds.
        others: String,
    },
    /// Bounds without a placement.
    #[error("only bounds are named, which are shown beside placements: name a placement too")]
    OnlyBounds,
}

/// Access to the files that an experiment names, by their paths relative to its folder.
pub trait Files {
    /// The text of a trace or engine profile.
    ///
    /// # Errors
    /// Why it cannot be read, as a short phrase.
    fn text(&self, path: &str) -> Result<Arc<str>, String>;

    /// The requests of a gateway's event log.
    ///
    /// # Errors
    /// Why it cannot be read, as a short phrase.
    fn recorded(&self, path: &str) -> Result<Vec<RecordedRequest>, String> {
        Err(format!("event logs are not supported here: {path:?}"))
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
    /// The scenario of an arm.
    #[must_use]
    pub fn scenario(&self, arm: &Arm) -> Scenario {
        Scenario {
            fleet: self.fleet.clone(),
            information: arm.information.clone(),
            warm_up: self.warm_up,
            duration: self.duration,
            drain: self.drain,
            compare_all: false,
        }
    }

    /// The jobs of one run, the same for every arm.
    #[must_use]
    pub fn jobs(&self, rate: f64, seed: u64) -> Generator {
        let block_size = self.fleet.first().map_or(16, |member| member.profile.block_size);
        let limit = fleet::limit(&self.fleet).map_or(u32::MAX, |(limit, _)| limit);
        let until = Time::ZERO + self.duration;
        Generator::new(Arc::clone(&self.workload), rate, seed, until, (block_size, limit))
    }

    /// Sets the number of seeds: the first ones of the file, then further numbers.
    pub fn set_seeds(&mut self, count: usize) {
        let most = self.seeds.iter().copied().max().unwrap_or(0);
        let wanted = count.max(1);
        let more = wanted.saturating_sub(self.seeds.len());
        self.seeds.truncate(wanted);
        self.seeds.extend((most.saturating_add(1)..).take(more));
    }

    /// Selects the arms of these names, in this order. A placement or bound that is not in the file is added with the file's
    /// information and default parameters. The baseline stays if it is selected; otherwise it is the first placement.
    ///
    /// # Errors
    /// The first unknown name, or bounds alone; then nothing changes.
    pub fn select(&mut self, names: &[String]) -> Result<(), SelectionError> {
        let mut chosen: Vec<Arm> = Vec::new();
        for name in names {
            let here = self.arms.iter().find(|arm| *arm.name == **name).cloned();
            let arm = here.or_else(|| self.added_arm(name)).ok_or_else(|| self.unknown(name))?;
            if !chosen.iter().any(|known| known.name == arm.name) {
                chosen.push(arm);
            }
        }
        let is_placement = |arm: &Arm| !matches!(arm.routing, Routing::Bound(_));
        let Some(first) = chosen.iter().position(is_placement) else {
            return if names.is_empty() { Ok(()) } else { Err(SelectionError::OnlyBounds) };
        };
        let baseline = self.arms.get(self.baseline).map(|arm| Arc::clone(&arm.name));
        let kept = chosen.iter().position(|arm| Some(&arm.name) == baseline.as_ref());
        self.baseline = kept.unwrap_or(first);
        self.arms = chosen;
        Ok(())
    }

    fn added_arm(&self, name: &str) -> Option<Arm> {
        let routing = Routing::named(name)?;
        let information = self.arms.first().map(|arm| arm.information.clone())?;
        Some(Arm { name: name.into(), routing, information })
    }

    fn unknown(&self, name: &str) -> SelectionError {
        let here: Vec<&str> = self.arms.iter().map(|arm| &*arm.name).collect();
        let others: Vec<&str> = Routing::all().map(|routing| routing.name()).collect();
        SelectionError::Unknown { name: name.to_owned(), here: here.join(", "), others: others.join(", ") }
    }
}
