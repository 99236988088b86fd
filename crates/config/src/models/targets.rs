//! Weighted target models.

use std::sync::Arc;

use crate::weighted::Weights;

/// Weighted target models.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Targets {
    names: Vec<Arc<str>>,
    weights: Weights,
}

impl Targets {
    pub(crate) fn new(targets: impl Iterator<Item = (Arc<str>, u32)>) -> Self {
        let (names, weights): (Vec<_>, Vec<_>) = targets.unzip();
        Self { names, weights: Weights::new(weights.into_iter()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// The target selected by `draw`, uniform over 64 bits; `None` where there is no target.
    pub(crate) fn draw(&self, draw: u64) -> Option<&Arc<str>> {
        self.weights.pick(draw).and_then(|i| self.names.get(i))
    }
}
