//! Objects to a [`World`]: the checks that need more than one object.

mod endpoints;
mod gateways;
mod models;
mod pools;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pointsman_yaml::{Location, Problem, Severity};

use crate::files::{Files, NamedFiles};
use crate::identity::{ObjectId, ObjectName, PoolIndex};
use crate::kind::Kind;
use crate::manifest::Object;
use crate::options::Consumer;
use crate::world::World;

/// The objects of a set, by identity.
pub(crate) type Objects = BTreeMap<ObjectId, Arc<Object>>;

/// A world and the problems found between its objects.
pub(crate) struct Assembled {
    /// Without the objects that have errors.
    pub(crate) world: World,
    pub(crate) problems: Vec<Problem>,
    /// The objects with an error among the problems.
    pub(crate) wrong: BTreeSet<ObjectId>,
    pub(crate) files: Vec<NamedFiles>,
}

/// Assembles a world. `invalid` are the objects that have errors of their own: a reference to such an object, which may
/// be missing from `objects`, is not reported again.
pub(crate) fn assemble(objects: &Objects, invalid: &BTreeSet<ObjectId>, consumer: Consumer) -> Assembled {
    let pools = objects.keys().filter(|id| id.kind == Kind::InferencePool).map(|id| &id.name);
    let pool_indices = pools.enumerate().map(|(i, name)| (name, PoolIndex(i))).collect();
    let (problems, wrong) = (Vec::new(), BTreeSet::new());
    let files = Vec::new();
    let mut assembly = Assembly { objects, invalid, consumer, pool_indices, problems, wrong, files };
    let gateway = assembly.gateway_policy();
    let pools = assembly.pools();
    let listeners = assembly.listeners();
    Assembled {
        world: World { listeners, pools, gateway },
        problems: assembly.problems,
        wrong: assembly.wrong,
        files: assembly.files,
    }
}

/// The state of [`assemble`].
struct Assembly<'a> {
    objects: &'a Objects,
    invalid: &'a BTreeSet<ObjectId>,
    consumer: Consumer,
    pool_indices: BTreeMap<&'a ObjectName, PoolIndex>,
    problems: Vec<Problem>,
    wrong: BTreeSet<ObjectId>,
    files: Vec<NamedFiles>,
}

impl<'a> Assembly<'a> {
    /// The objects of a kind, in order of namespace and name.
    fn of(&self, kind: Kind) -> impl Iterator<Item = &'a Object> + use<'a> {
        let objects = self.objects;
        objects.iter().filter(move |(id, _)| id.kind == kind).map(|(_, object)| &**object)
    }

    fn get(&self, kind: Kind, name: &ObjectName) -> Option<&'a Object> {
        self.objects.get(&ObjectId { kind, name: name.clone() }).map(|object| &**object)
    }

    fn is_invalid(&self, kind: Kind, name: &ObjectName) -> bool {
        self.invalid.contains(&ObjectId { kind, name: name.clone() })
    }

    fn error(&mut self, object: &Object, at: &Location, message: impl Into<String>, fix: impl Into<String>) {
        self.wrong.insert(object.id.clone());
        self.report(Severity::Error, object, at, (message.into(), fix.into()));
    }

    fn warn(&mut self, object: &Object, at: &Location, message: impl Into<String>, fix: impl Into<String>) {
        self.report(Severity::Warning, object, at, (message.into(), fix.into()));
    }

    /// Notes that an object names files.
    fn name_files(&mut self, object: &Object, at: &Location, files: Files) {
        let at = self.problem(Severity::Error, object, at, (String::new(), String::new()));
        self.files.push(NamedFiles { files, at });
    }

    /// Adds a problem, unless it is there already: two objects may conflict on several hosts, listeners or pools.
    fn report(&mut self, severity: Severity, object: &Object, at: &Location, text: (String, String)) {
        let problem = self.problem(severity, object, at, text);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn problem(&self, severity: Severity, object: &Object, at: &Location, text: (String, String)) -> Problem {
        let path =
            if at.path.is_empty() { object.id.to_string() } else { format!("{}: {}", object.id, at.path) };
        let (file, (message, fix)) = (Arc::clone(&object.file), text);
        let (line, column) = (at.position.line, at.position.column);
        Problem { severity, file, line, column, path, message, fix }
    }
}

/// `file:line` of an object.
fn position(object: &Object) -> String {
    format!("{}:{}", object.file, object.position.line)
}

/// The location of an object as a whole.
fn whole(object: &Object) -> Location {
    Location { position: object.position, path: "".into() }
}

/// A path relative to the folder of the manifest `file`.
fn beside(file: &str, path: impl AsRef<Path>) -> PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).join(path)
}

/// Sorts objects by age, oldest first. Objects without creation time are the youngest, and sorted by name.
fn by_age<'o>(objects: impl Iterator<Item = &'o Object>) -> Vec<&'o Object> {
    let mut objects: Vec<&Object> = objects.collect();
    objects.sort_by_key(|object| (object.metadata.created.unwrap_or(i64::MAX), &object.id.name));
    objects
}

/// Whether the creation times of two objects tell which is older.
fn ages_are_known(a: &Object, b: &Object) -> bool {
    matches!((a.metadata.created, b.metadata.created), (Some(a), Some(b)) if a != b)
}
