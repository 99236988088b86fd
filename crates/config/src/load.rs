//! From texts to a world, at start and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::assemble::{Objects, assemble};
use crate::manifest::{Decoded, Kind, ObjectId, decode};
use crate::problem::{Mark, Problem, Severity};
use crate::source::{Door, Options, SourceText, parse};
use crate::world::World;

/// What a set of texts came to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What can be used. Complete only where no problem is an error.
    pub world: World,
    /// Every mistake, in order of file and line.
    pub problems: Vec<Problem>,
    /// The objects behind the world, for the next [`load_with_previous`].
    pub objects: Inventory,
}

impl Loaded {
    /// Whether a problem is an error: at start, nothing may run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// The objects that a world was made of.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    objects: Objects,
}

impl Inventory {
    /// Kinds and names, in order.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Reads a whole set for the first time.
#[must_use]
pub fn load(sources: &[SourceText], options: &Options) -> Loaded {
    load_with_previous(sources, options, &Inventory::default())
}

/// Reads a whole set again. An object that has an error now keeps its version from `previous`, if it had one; a
/// document that cannot even be named keeps what its file held before and no longer names; everything else is as
/// the texts say, and what they no longer hold is gone.
#[must_use]
pub fn load_with_previous(sources: &[SourceText], options: &Options, previous: &Inventory) -> Loaded {
    let mut reading = Reading::default();
    for source in sources {
        reading.read(source, options);
    }
    if reading.documents == 0 {
        reading.problems.push(whole_set(sources, NOTHING, NOTHING_FIX));
    }
    let Reading { all, bad, unnamed, mut problems, documents, .. } = reading;
    let (needed, message, fix) = needed(options.door);
    let has_it = all.keys().chain(&bad).any(|id| id.kind == needed);
    if documents > 0 && unnamed.is_empty() && !has_it {
        problems.push(whole_set(sources, message, fix));
    }
    // The whole set first, mistakes included, so that one run names what is wrong between objects too.
    let (mut world, found) = assemble(&all, &bad, options.door);
    let mut wrong: BTreeSet<ObjectId> = bad.clone();
    wrong.extend(found.iter().filter(|p| p.severity == Severity::Error).filter_map(|p| p.object.clone()));
    problems.extend(found);
    let mut objects = all;
    let kept = previous
        .objects
        .iter()
        .filter(|(id, old)| unnamed.contains(&old.file) && !objects.contains_key(*id) && !bad.contains(*id));
    let kept: Objects = kept.map(|(id, old)| (id.clone(), Arc::clone(old))).collect();
    if !wrong.is_empty() || !kept.is_empty() {
        objects.extend(kept);
        let before = Before { previous, bad: &bad, door: options.door };
        world = replace_wrong(&mut objects, wrong, before, &mut problems);
    }
    order(&mut problems, options.max_problems);
    Loaded { world, problems, objects: Inventory { objects } }
}

const NOTHING: &str = "there is no object";
const NOTHING_FIX: &str = "write a Gateway, an HTTPRoute, an InferencePool and an EndpointSlice";

/// The kind without which a door does nothing, what is wrong where there is none, and what mends that.
const fn needed(door: Door) -> (Kind, &'static str, &'static str) {
    match door {
        Door::Gateway => {
            (Kind::Gateway, "there is no Gateway: nothing would listen", "write a Gateway with a listener")
        }
        Door::Picker { .. } => (
            Kind::InferencePool,
            "there is no InferencePool: there would be nothing to pick from",
            "write an InferencePool",
        ),
    }
}

/// A problem of the whole set, at its start.
fn whole_set(sources: &[SourceText], message: &str, fix: &str) -> Problem {
    let file = sources.first().map_or_else(|| Arc::from("manifests"), |source| Arc::clone(&source.name));
    problem(&file, Mark { line: 1, column: 1 }, message, fix)
}

/// A problem of no object that could be named.
fn problem(file: &Arc<str>, mark: Mark, message: &str, fix: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        file: Arc::clone(file),
        line: mark.line,
        column: mark.column,
        path: String::new(),
        message: message.to_owned(),
        fix: fix.to_owned(),
        object: None,
    }
}

/// More rounds of replacement than mistakes depend on each other in practice.
const MOST_ROUNDS: usize = 8;

/// What wrong objects are replaced from.
#[derive(Clone, Copy)]
struct Before<'a> {
    previous: &'a Inventory,
    /// Objects with errors of their own.
    bad: &'a BTreeSet<ObjectId>,
    door: Door,
}

/// Puts the previous versions in the place of wrong objects until nothing changes any more. What is wrong by itself
/// and had no version before is left out; what merely refers to something that is missing stays, as a route does
/// that answers 500.
fn replace_wrong(
    objects: &mut Objects,
    mut wrong: BTreeSet<ObjectId>,
    Before { previous, bad, door }: Before<'_>,
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
            } else if bad.contains(&id) {
                changed = true;
                objects.remove(&id);
            }
        }
        // Nothing counts as broken now: what refers to an object that was left out is wrong itself, and keeps the
        // version that referred to something else.
        let (world, found) = assemble(objects, &BTreeSet::new(), door);
        let errors = found.into_iter().filter(|p| p.severity == Severity::Error);
        let errors: Vec<Problem> = errors.collect();
        wrong = errors.iter().filter_map(|p| p.object.clone()).collect();
        // At start nothing runs, and these would only repeat what is known.
        if !previous.is_empty() {
            problems.extend(errors.into_iter().filter(|error| !problems.contains(error)).collect::<Vec<_>>());
        }
        if !changed || round >= MOST_ROUNDS || wrong.is_subset(&replaced) {
            return world;
        }
    }
    World::default()
}

/// Whether only the gateway in front of the picker reads it.
const fn belongs_to_another(kind: Kind, door: Door) -> bool {
    matches!(door, Door::Picker { .. }) && matches!(kind, Kind::Gateway | Kind::HttpRoute)
}

fn order(problems: &mut Vec<Problem>, most: usize) {
    let key = |p: &Problem| (Arc::clone(&p.file), p.line, p.column, p.severity);
    problems.sort_by_key(key);
    let more = problems.len().saturating_sub(most);
    if more == 0 {
        return;
    }
    // Errors before warnings where not all can be kept.
    problems.sort_by_key(|p| p.severity);
    problems.truncate(most);
    problems.sort_by_key(key);
    if let Some(last) = problems.last().cloned() {
        let message = format!("{more} more problems are not shown");
        problems.push(Problem {
            path: String::new(),
            message,
            fix: "mend these first".to_owned(),
            object: None,
            ..last
        });
    }
}

/// The objects of all texts, and what is wrong with each alone.
#[derive(Default)]
struct Reading {
    all: Objects,
    /// Objects with errors of their own, and those that are there twice.
    bad: BTreeSet<ObjectId>,
    places: BTreeMap<ObjectId, (Arc<str>, Mark)>,
    /// Files with a document whose object could not be named.
    unnamed: BTreeSet<Arc<str>>,
    problems: Vec<Problem>,
    documents: usize,
}

impl Reading {
    fn read(&mut self, source: &SourceText, options: &Options) {
        for document in parse(&source.text, options) {
            self.documents += 1;
            match document {
                Ok(root) => {
                    for decoded in decode(&source.name, &root) {
                        self.add(&source.name, decoded, options);
                    }
                }
                Err(defect) => {
                    self.unnamed.insert(Arc::clone(&source.name));
                    self.problems.push(problem(&source.name, defect.mark, &defect.message, defect.fix));
                }
            }
        }
    }

    fn add(&mut self, file: &Arc<str>, decoded: Decoded, options: &Options) {
        let Decoded { object, id, mark, problems, sound } = decoded;
        if id.as_ref().is_some_and(|id| belongs_to_another(id.kind, options.door)) {
            return;
        }
        self.problems.extend(problems);
        let Some(id) = id else {
            self.unnamed.insert(Arc::clone(file));
            return;
        };
        if self.places.len() >= options.max_objects && !self.places.contains_key(&id) {
            self.bad.insert(id);
            let message = format!("there are more than {} objects", options.max_objects);
            if self.problems.last().is_none_or(|last| last.message != message) {
                self.problems.push(problem(file, mark, &message, "split the set over several gateways"));
            }
            return;
        }
        if let Some((first_file, first)) = self.places.get(&id) {
            let message = format!("stands already at {first_file}:{}", first.line);
            let twice = problem(file, mark, &message, "remove one of the two, or give them different names");
            self.problems.push(Problem { path: id.to_string(), object: Some(id.clone()), ..twice });
            self.bad.insert(id);
            return;
        }
        self.places.insert(id.clone(), (Arc::clone(file), mark));
        if !sound {
            self.bad.insert(id.clone());
        }
        if let Some(object) = object {
            self.all.insert(id, Arc::new(object));
        }
    }
}
