//! Applies changes of the manifests' files.

use pointsman_config::{Inventory, Options, Problem, Severity, load_with_previous};

use super::Fleet;
use crate::manifests::{Reload, Watch};

impl Fleet {
    /// Applies every change of the manifests, until the fleet stops. `objects` are those of the configuration in force, which
    /// was read with `options`: an object that has an error after a change keeps its version from there. `report` is called
    /// after each change with its problems, a line each.
    pub fn follow(
        &self,
        watch: Watch,
        objects: Inventory,
        options: Options,
        report: impl Fn(Vec<String>) + Send + 'static,
    ) {
        // The task must not keep its fleet alive.
        let fleet = std::sync::Arc::downgrade(&self.shared);
        let tasks = self.shared.tasks.clone();
        let follow = async move {
            let (mut watch, mut objects) = (watch, objects);
            loop {
                let reload = watch.next().await;
                let Some(shared) = fleet.upgrade() else { return };
                let before = objects.clone();
                // Parsing takes milliseconds, and files of certificates may be read.
                let work = move || Self { shared }.reload(reload, before, &options);
                match tokio::task::spawn_blocking(work).await {
                    Ok((problems, inventory)) => {
                        objects = inventory;
                        report(problems);
                    }
                    Err(error) => tracing::error!(%error, "the changed manifests could not be applied"),
                }
            }
        };
        tasks.spawn(tasks.token(), follow);
    }

    fn reload(&self, reload: Reload, before: Inventory, options: &Options) -> (Vec<String>, Inventory) {
        let sources = match reload.sources {
            Ok(sources) => sources,
            Err(error) => return (vec![self.refused(&error.to_string())], before),
        };
        let loaded = load_with_previous(&sources, options, &before);
        let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        loaded.problems.iter().for_each(log);
        let mut problems: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        match self.apply(loaded.world, errors) {
            Ok(generation) => {
                let took_ms = u64::try_from(reload.noticed.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(generation = generation.number, errors, took_ms, "manifests reloaded");
                (problems, loaded.objects)
            }
            Err(error) => {
                problems.push(self.refused(&error.to_string()));
                (problems, before)
            }
        }
    }

    /// Reports a change that is not applied.
    fn refused(&self, error: &str) -> String {
        let generation = self.shared.current.load().number;
        self.shared.metrics.configuration(generation, 1);
        tracing::warn!(generation, error, "the changed manifests are not applied");
        error.to_owned()
    }
}

fn log(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::warn!(%problem, "manifest"),
        Severity::Warning => tracing::info!(%problem, "manifest"),
    }
}
