//! Model rules of a pool: from the model name in a request to the target model and the priority.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::weighted::{Weighted, mixed};

/// Weighted target models.
pub(crate) type Targets = Weighted<Arc<str>>;

/// The model rules of one pool, compiled from InferenceModel, InferenceObjective and InferenceModelRewrite.
///
/// Where several rules match a name, the one of the oldest object applies. A rewrite has precedence over an
/// InferenceModel, and an exact rewrite over one of all names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRules {
    pub(crate) models: BTreeMap<Arc<str>, ModelRule>,
    pub(crate) objectives: BTreeMap<Arc<str>, i32>,
    pub(crate) rewrites: BTreeMap<Arc<str>, Targets>,
    /// The rewrite of all other names.
    pub(crate) rewrite_rest: Option<Targets>,
    pub(crate) reject_undeclared: bool,
    /// The model of requests that name none, where the pool's policy declares one.
    pub(crate) default_model: Option<Arc<str>>,
}

/// The rule of an InferenceModel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRule {
    pub(crate) priority: i32,
    pub(crate) targets: Targets,
}

/// The target model and the priority of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The model name to send to the engine; `None` where it is the name in the request.
    pub target: Option<Arc<str>>,
    /// Priority: 0 is Standard, a negative priority sheddable, a positive one Critical.
    pub priority: i32,
}

/// The pool rejects models that no rule declares, and this is such a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndeclaredModel;

impl ModelRules {
    /// Resolves the body's `model` and the objective header of a trusted client. `draw` is the request's random number,
    /// which selects among weighted targets, independently of the route's selection by the same number.
    ///
    /// The priority of the objective has precedence over that of the model's criticality (Critical 1, Standard 0,
    /// Sheddable −1). An undeclared objective is ignored. A request without a model is not checked.
    ///
    /// # Errors
    /// [`UndeclaredModel`] where the pool's policy rejects models that no rule declares.
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
        let target = targets.and_then(|targets| targets.pick(mixed(draw)));
        Ok(ResolvedModel { target: target.filter(|target| model != Some(&***target)).cloned(), priority })
    }

    /// Whether models that no rule declares are rejected.
    #[must_use]
    pub const fn rejects_undeclared(&self) -> bool {
        self.reject_undeclared
    }

    /// Whether requests for this model are served.
    #[must_use]
    pub fn accepts(&self, model: &str) -> bool {
        !self.reject_undeclared
            || self.models.contains_key(model)
            || self.rewrites.contains_key(model)
            || self.rewrite_rest.is_some()
    }

    /// Whether the model of a request changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.reject_undeclared
            && self.models.is_empty()
            && self.rewrites.is_empty()
            && self.rewrite_rest.is_none()
    }

    /// The model of requests that name none: the policy's default, or the only model that rules declare.
    #[must_use]
    pub fn default_model(&self) -> Option<&Arc<str>> {
        let only = || {
            let mut declared = self.declared_models();
            declared.next().filter(|_| declared.next().is_none())
        };
        self.default_model.as_ref().or_else(only)
    }

    /// The model names that rules declare, sorted. `GET /v1/models` lists them beside the models that engines serve.
    pub fn declared_models(&self) -> impl Iterator<Item = &Arc<str>> {
        let names: BTreeSet<&Arc<str>> = self.models.keys().chain(self.rewrites.keys()).collect();
        names.into_iter()
    }

    /// The possible target models of requests for `model`, in the order declared; empty where the name is not replaced.
    pub fn targets_of(&self, model: &str) -> impl Iterator<Item = &Arc<str>> {
        let rewrite = self.rewrites.get(model).or(self.rewrite_rest.as_ref());
        let targets = rewrite.or_else(|| self.models.get(model).map(|rule| &rule.targets));
        targets.into_iter().flat_map(|targets| &targets.items)
    }

    /// Every (declared name, target model) pair, ordered by name. The target of a name that is not replaced is the name
    /// itself.
    pub fn pairs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.declared_models().flat_map(|public| {
            let mut targets = self.targets_of(public).peekable();
            let own = targets.peek().is_none().then_some(public);
            own.into_iter().chain(targets).map(move |target| (public, target))
        })
    }
}
