//! Identities of objects and pools.

use std::fmt;
use std::sync::Arc;

use crate::kind::Kind;
use crate::names::{is_dns_label, is_dns_name};

/// The namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace; `default` where the manifest has none.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The kind, namespace and name of an object. All groups and versions of a kind share one name space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The kind.
    pub kind: Kind,
    /// The namespace and name.
    pub name: ObjectName,
}

impl ObjectId {
    /// `None` where the namespace or the name is not valid in Kubernetes.
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Option<Self> {
        let is_valid = is_dns_name(name) && is_dns_label(namespace);
        is_valid.then(|| Self { kind, name: ObjectName { namespace: namespace.into(), name: name.into() } })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Index of a pool in [`World::pools`](crate::World::pools), valid for one generation of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub usize);
