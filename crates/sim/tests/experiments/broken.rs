//! The broken experiments: every mistake is reported in one run.

#![expect(clippy::disallowed_methods, reason = "the tests read their fixtures")]

use std::path::Path;
use std::sync::Arc;

use pointsman_sim::experiment::load;
use pointsman_yaml::SourceText;

use super::folder;
use super::mistakes::BROKEN;

fn problems(folder: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let files = |path: &str| match std::fs::read_to_string(folder.join(path)) {
        Ok(text) => Ok(Arc::from(text)),
        Err(_) => Err("there is no such file".to_owned()),
    };
    let problems = load(&SourceText::new(name, text), &files).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn every_broken_file_names_every_mistake() {
    let folder = folder().join("broken");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| Path::new(name).extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    assert_eq!(files, BROKEN.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, expected) in BROKEN {
        let found = problems(&folder, name);
        let told = found.iter().map(|line| line.strip_prefix(&format!("{name}:")).unwrap_or(line));
        for (found, expected) in told.zip(*expected) {
            match expected.strip_suffix('…') {
                Some(beginning) => assert!(found.starts_with(beginning), "{found}"),
                None => assert_eq!(found, *expected, "{name}"),
            }
        }
        assert_eq!(found.len(), expected.len(), "{name}");
    }
}

#[test]
fn a_trace_is_named_relative_to_the_experiment() {
    let text = "fleet: [{profile: tiny}]\nworkload: {trace: {format: azure, file: ../empty.csv}}";
    let files = |path: &str| if path == "../empty.csv" { Ok(Arc::from("")) } else { Err(path.to_owned()) };
    let problems = load(&SourceText::new("some/folder/test.yaml", text), &files).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|problem| &*problem.file).collect();
    assert_eq!(places, ["some/folder/test.yaml", "some/folder/../empty.csv"]);
    assert_eq!(problems[1].message, "the trace has no request");
}
