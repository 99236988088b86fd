//! The experiments in the repository.

#![expect(clippy::disallowed_methods, reason = "the tests read the shipped experiments")]

use std::time::Duration;

use pointsman_sim::{Routing, simulate};
use pointsman_workload::Jobs;

use super::{folder, load_text};

/// Paths and texts of the experiments, those found by searches included.
pub(super) fn shipped() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for under in ["", "found/"] {
        for entry in std::fs::read_dir(folder().join(under)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let name = path.file_name().unwrap().to_str().unwrap();
                files.push((format!("{under}{name}"), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_included_experiment_loads_and_states_its_question() {
    for (name, text) in shipped() {
        let experiment = load_text(&name, &text).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert!(experiment.description.len() > 40 && experiment.description.contains('?'), "{name}");
        assert_ne!(experiment.title, *experiment.name, "{name}");
        assert!(experiment.seeds.len() >= 5, "{name}");
        assert!(experiment.arms.iter().any(|arm| *arm.name == *"pointsman"), "{name}");
        assert!(!matches!(experiment.arms[experiment.baseline].routing, Routing::Bound(_)), "{name}");
    }
}

#[test]
fn every_included_workload_has_about_the_jobs_of_its_rate() {
    for (name, text) in shipped() {
        let experiment = load_text(&name, &text).unwrap();
        let sessions = experiment.workload.classes.iter().any(|class| class.sessions.is_some());
        let rate = experiment.rates[0];
        let mut jobs = experiment.jobs(rate, 1);
        let mut count = 0;
        while let Some(job) = jobs.next_job() {
            count += 1;
            assert!(job.prompt_tokens > 0, "{name}");
        }
        let expected = rate * experiment.duration.as_secs_f64() / experiment.workload.jobs_per_start();
        assert!(
            f64::from(count) > 0.5 * expected && f64::from(count) < 1.6 * expected,
            "{name}: {count}, not {expected}"
        );
        assert!(sessions || (experiment.workload.jobs_per_start() - 1.0).abs() < 1e-9, "{name}");
    }
}

#[test]
fn a_run_of_the_published_benchmark_answers_its_requests() {
    let (name, text) = shipped().into_iter().find(|(name, _)| name == "gie-blog.yaml").unwrap();
    let mut experiment = load_text(&name, &text).unwrap();
    experiment.duration = Duration::from_secs(5);
    for arm in &experiment.arms {
        let outcome =
            simulate(&experiment.scenario(arm), &arm.routing, &mut experiment.jobs(50.0, 1), 1).unwrap();
        assert!((150..350).contains(&outcome.jobs.len()), "{}", outcome.jobs.len());
    }
}
