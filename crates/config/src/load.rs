//! Loading and reloading of a set of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pointsman_yaml::{Position, Problem, Severity, SourceText, parse};

use crate::assemble::{Assembled, Objects, assemble};
use crate::files::NamedFiles;
use crate::identity::ObjectId;
use crate::kind::Kind;
use crate::manifest::{Decoded, Object, PassedOver, decode};
use crate::options::{Consumer, Options};
use crate::world::World;

/// The result of loading a set of texts.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The usable part of the set; the whole set where no problem is an error.
    pub world: World,
    /// Every mistake, in order of file and position.
    pub problems: Vec<Problem>,
    /// The objects of the world, for the next [`load_with_previous`].
    pub objects: Inventory,
    /// The files that the objects of the texts name.
    pub files: Vec<NamedFiles>,
    /// Number of the documents that configure the endpoint picker, where [`Options::picker_configs`] has them checked.
    pub picker_configs: usize,
}

impl Loaded {
    /// Whether any problem is an error. A process must not start with such a set.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// The objects that a world is made of.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    objects: Objects,
}

impl Inventory {
    /// Kinds and names, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Loads a set for the first time.
#[must_use]
pub fn load(sources: &[SourceText], options: &Options) -> Loaded {
    load_with_previous(sources, options, &Inventory::default())
}

/// Loads a set again. An object with an error keeps its version from `previous`, if there is one. A document whose object
/// cannot be identified keeps the objects that its file had before and that the set no longer has. All other objects
/// are those of the texts.
#[must_use]
pub fn load_with_previous(sources: &[SourceText], options: &Options, previous: &Inventory) -> Loaded {
    let mut decoding = Decoding::default();
    for source in sources {
        decoding.read(source, options);
    }
    let Decoding { mut objects, invalid, unidentified, mut problems, documents, picker_configs, .. } =
        decoding;
    if documents == 0 {
        let fix = "write a Gateway, an HTTPRoute, an InferencePool and an EndpointSlice";
        let message = if sources.is_empty() {
            "there is no file *.yaml, *.yml or *.json; those of subfolders are not read"
        } else {
            "there is no object"
        };
        problems.push(whole_set(sources, message, fix));
    }
    let (required, message, fix) = required_kind(options.consumer);
    let has_required = objects.keys().chain(&invalid).any(|id| id.kind == required);
    // Configurations of the picker alone are no set of manifests.
    if documents > picker_configs && unidentified.is_empty() && !has_required {
        problems.push(whole_set(sources, message, fix));
    }
    // Objects with errors are assembled too, so that one run reports mistakes between objects as well.
    let Assembled { mut world, problems: found, mut wrong, files } =
        assemble(&objects, &invalid, options.consumer);
    wrong.extend(invalid.iter().cloned());
    problems.extend(found);
    let is_kept = |id: &ObjectId, old: &Object| {
        unidentified.contains(&old.file) && !objects.contains_key(id) && !invalid.contains(id)
    };
    let kept = previous.objects.iter().filter(|(id, old)| is_kept(id, old));
    let kept: Objects = kept.map(|(id, old)| (id.clone(), Arc::clone(old))).collect();
    if !wrong.is_empty() || !kept.is_empty() {
        objects.extend(kept);
        world = replace(previous, &invalid, options.consumer, &mut objects, wrong, &mut problems);
    }
    order(&mut problems, options.max_problems);
    Loaded { world, problems, objects: Inventory { objects }, files, picker_configs }
}

/// The kind that a consumer requires, with the message and the fix where there is none.
const fn required_kind(consumer: Consumer) -> (Kind, &'static str, &'static str) {
    match consumer {
        Consumer::Gateway => {
            (Kind::Gateway, "there is no Gateway, so nothing would listen", "write a Gateway with a listener")
        }
        Consumer::Picker { .. } => (
            Kind::InferencePool,
            "there is no InferencePool to pick endpoints from",
            "write an InferencePool",
        ),
    }
}

/// A problem of the whole set, reported at the start of its first text.
fn whole_set(sources: &[SourceText], message: &str, fix: &str) -> Problem {
    let file = sources.first().map_or_else(|| Arc::from("manifests"), |source| Arc::clone(&source.name));
    problem(&file, Position::START, message, fix)
}

/// A problem outside any identified object.
fn problem(file: &Arc<str>, position: Position, message: &str, fix: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        file: Arc::clone(file),
        line: position.line,
        column: position.column,
        path: String::new(),
        message: message.to_owned(),
        fix: fix.to_owned(),
    }
}

/// Maximum rounds of replacement. Chains of dependent mistakes are shorter in practice.
const MAX_ROUNDS: usize = 8;

/// Replaces wrong objects by their previous versions until nothing changes. An object that is invalid by itself and has no
/// previous version is removed. An object that only refers to a missing object stays: such a route responds with 500.
fn replace(
    previous: &Inventory,
    invalid: &BTreeSet<ObjectId>,
    consumer: Consumer,
    objects: &mut Objects,
    mut wrong: BTreeSet<ObjectId>,
    problems: &mut Vec<Problem>,
) -> World {
    let mut replaced = BTreeSet::new();
    for round in 0.. {
        let mut changed = round == 0;
        for id in std::mem::take(&mut wrong) {
            if !replaced.insert(id.clone()) {
                continue;
            }
            if let Some(old) = previous.objects.get(&id) {
                changed = true;
                objects.insert(id, Arc::clone(old));
            } else if invalid.contains(&id) {
                changed = true;
                objects.remove(&id);
            }
        }
        // No object counts as invalid now: an object that refers to a removed object is wrong itself, and keeps its
        // previous version.
        let assembled = assemble(objects, &BTreeSet::new(), consumer);
        wrong = assembled.wrong;
        // At start, where the process stops anyway, these only repeat the problems already found.
        if !previous.is_empty() {
            let errors = assembled.problems.into_iter().filter(|p| p.severity == Severity::Error);
            let new: Vec<Problem> = errors.filter(|error| !problems.contains(error)).collect();
            problems.extend(new);
        }
        if !changed || round >= MAX_ROUNDS || wrong.is_subset(&replaced) {
            return assembled.world;
        }
    }
    World::default()
}

/// Whether a consumer ignores a kind: the picker ignores the kinds that configure the gateway that calls it.
const fn is_ignored(kind: Kind, consumer: Consumer) -> bool {
    matches!(consumer, Consumer::Picker { .. }) && matches!(kind, Kind::Gateway | Kind::HttpRoute)
}

/// Sorts problems by file and position, and keeps at most `max`, errors first.
fn order(problems: &mut Vec<Problem>, max: usize) {
    let key = |p: &Problem| (Arc::clone(&p.file), p.line, p.column, p.severity);
    problems.sort_by_key(key);
    let omitted = problems.len().saturating_sub(max);
    if omitted == 0 {
        return;
    }
    problems.sort_by_key(|p| p.severity);
    problems.truncate(max);
    problems.sort_by_key(key);
    if let Some(last) = problems.last().cloned() {
        let message = format!("{omitted} more problems are not shown");
        problems.push(Problem { path: String::new(), message, fix: "fix these first".to_owned(), ..last });
    }
}

/// The objects of all texts, each decoded and checked on its own.
#[derive(Default)]
struct Decoding {
    objects: Objects,
    /// Objects with errors of their own, and objects defined twice.
    invalid: BTreeSet<ObjectId>,
    positions: BTreeMap<ObjectId, (Arc<str>, Position)>,
    /// Files with a document whose object cannot be identified.
    unidentified: BTreeSet<Arc<str>>,
    problems: Vec<Problem>,
    documents: usize,
    /// Number of the documents that only configure the picker.
    picker_configs: usize,
}

impl Decoding {
    fn read(&mut self, source: &SourceText, options: &Options) {
        for document in parse(&source.text, &options.limits) {
            self.documents += 1;
            match document {
                Ok(root) => {
                    for decoded in decode(&source.name, &root, options) {
                        self.add(&source.name, decoded, options);
                    }
                }
                Err(error) => {
                    self.unidentified.insert(Arc::clone(&source.name));
                    self.problems.push(problem(&source.name, error.position, &error.message, error.fix));
                }
            }
        }
    }

    fn add(&mut self, file: &Arc<str>, decoded: Decoded, options: &Options) {
        let Decoded { object, id, passed_over, position, problems, is_valid } = decoded;
        if id.as_ref().is_some_and(|id| is_ignored(id.kind, options.consumer)) {
            return;
        }
        self.problems.extend(problems);
        match passed_over {
            None => {}
            Some(PassedOver::Foreign) => return,
            Some(PassedOver::PickerConfig) => {
                self.picker_configs += usize::from(options.picker_configs);
                return;
            }
        }
        let Some(id) = id else {
            self.unidentified.insert(Arc::clone(file));
            return;
        };
        if self.positions.len() >= options.max_objects && !self.positions.contains_key(&id) {
            self.invalid.insert(id);
            let message = format!("the set has more than {} objects", options.max_objects);
            if self.problems.last().is_none_or(|last| last.message != message) {
                let fix = "split the set between several gateways";
                self.problems.push(problem(file, position, &message, fix));
            }
            return;
        }
        if let Some((first_file, first)) = self.positions.get(&id) {
            let message = format!("is already defined at {first_file}:{}", first.line);
            let fix = "remove one of the two, or give them different names";
            self.problems.push(Problem { path: id.to_string(), ..problem(file, position, &message, fix) });
            self.invalid.insert(id);
            return;
        }
        self.positions.insert(id.clone(), (Arc::clone(file), position));
        if !is_valid {
            self.invalid.insert(id.clone());
        }
        if let Some(object) = object {
            self.objects.insert(id, Arc::new(object));
        }
    }
}
