//! Model rules of a pool: from a public name to the target model and the priority.

use std::sync::Arc;

/// The model rules of one pool, compiled from InferenceModel, InferenceObjective and InferenceModelRewrite.
#[derive(Clone, Debug, Default)]
pub struct ModelRules {}

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
    /// which picks among weighted targets.
    ///
    /// # Errors
    /// [`UndeclaredModel`] where the pool's policy refuses models that no rule declares.
    pub fn resolve(
        &self,
        _model: Option<&str>,
        _objective: Option<&str>,
        _draw: u64,
    ) -> Result<ResolvedModel, UndeclaredModel> {
        Ok(ResolvedModel { target: None, priority: 0 })
    }
}
