//! Model rules of a pool: from a public name to the target model and the priority.

mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use targets::Targets;

use crate::weighted::mixed;

/// The model rules of one pool, compiled from InferenceModel, InferenceObjective and InferenceModelRewrite.
///
/// A name that several rules claim goes to the oldest object; a rewrite beats an InferenceModel, an exact rewrite a
/// general one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRules {
    pub(crate) models: BTreeMap<Arc<str>, ModelRule>,
    pub(crate) objectives: BTreeMap<Arc<str>, i32>,
    pub(crate) rewrites: BTreeMap<Arc<str>, Targets>,
    pub(crate) rewrite_rest: Option<Targets>,
    pub(crate) reject_undeclared: bool,
}

/// What an InferenceModel says of its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRule {
    pub(crate) priority: i32,
    pub(crate) targets: Targets,
}

/// What a request's model comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedModel {
    /// What the engine is asked for; `None` where the name stays as the client wrote it.
    pub target: Option<Arc<str>>,
    /// Priority: 0 Standard, below 0 sheddable, above Critical.
    pub priority: i32,
}

/// The pool serves declared models only, and this is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndeclaredModel;

impl ModelRules {
    /// Resolves the body's `model` and the (trusted) objective header. `draw` is the request's own random number,
    /// which picks among weighted targets; a route may have used it before, the two choices stay independent.
    ///
    /// The objective's priority goes before that of the model's criticality (Critical 1, Standard 0, Sheddable −1);
    /// an objective that nobody declared counts as none. A request that names no model cannot be judged and passes.
    ///
    /// # Errors
    /// [`UndeclaredModel`] where the pool's policy refuses models that no rule declares.
    pub fn resolve(
        &self,
        model: Option<&str>,
        objective: Option<&str>,
        draw: u64,
    ) -> Result<ResolvedModel, UndeclaredModel> {
        let rule = model.and_then(|name| self.models.get(name));
        let rewrite = model.and_then(|name| self.rewrites.get(name).or(self.rewrite_rest.as_ref()));
        if self.reject_undeclared && model.is_some() && rule.is_none() && rewrite.is_none() {
            return Err(UndeclaredModel);
        }
        let objective = objective.and_then(|name| self.objectives.get(name)).copied();
        let priority = objective.or(rule.map(|rule| rule.priority)).unwrap_or(0);
        let targets = rewrite.or(rule.map(|rule| &rule.targets));
        let target = targets.and_then(|targets| targets.draw(mixed(draw)));
        Ok(ResolvedModel { target: target.filter(|target| model != Some(&***target)).cloned(), priority })
    }

    /// Public names that rules declare, in order: what `GET /v1/models` lists besides what engines serve.
    pub fn declared_models(&self) -> impl Iterator<Item = &Arc<str>> {
        let names: BTreeSet<&Arc<str>> = self.models.keys().chain(self.rewrites.keys()).collect();
        names.into_iter()
    }

    /// What a request for `model` can come to by the rules, in the order declared: none where its name stays.
    pub fn targets_of(&self, model: &str) -> impl Iterator<Item = &Arc<str>> {
        let rewrite = self.rewrites.get(model).or(self.rewrite_rest.as_ref());
        let targets = rewrite.or_else(|| self.models.get(model).map(|rule| &rule.targets));
        targets.into_iter().flat_map(Targets::names)
    }

    /// Every (public name, target model) that requests for declared models can come to, ordered by public name; a name
    /// that has no targets comes with itself.
    pub fn pairs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.declared_models().flat_map(|public| {
            let mut targets = self.targets_of(public).peekable();
            let own = targets.peek().is_none().then_some(public);
            own.into_iter().chain(targets).map(move |target| (public, target))
        })
    }

    /// Whether models that no rule declares are refused.
    #[must_use]
    pub fn rejects_undeclared(&self) -> bool {
        self.reject_undeclared
    }
}
