//! The examples at the root of the repository: the good ones load without a word, the broken ones name every mistake.

use std::path::{Path, PathBuf};

use pointsman_config::{Loaded, Options, QuickOptions, SourceText, load, print_manifests};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn load_files(files: &[PathBuf]) -> Loaded {
    let source = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        SourceText::new(name, std::fs::read_to_string(file).unwrap())
    };
    load(&files.iter().map(source).collect::<Vec<_>>(), &Options::default())
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

#[test]
fn every_example_loads_without_a_problem() {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir() && !folder.ends_with("broken"));
    assert!(folders.len() >= 6);
    for folder in folders {
        let loaded = load_files(&yaml_files(&folder));
        assert_eq!(loaded.problems, [], "{}", folder.display());
        assert!(!loaded.world.listeners.is_empty() && !loaded.world.pools.is_empty(), "{}", folder.display());
    }
}

#[test]
fn the_quick_example_is_what_the_quick_form_prints() {
    let urls = ["http://127.0.0.1:8000", "http://127.0.0.1:8001"];
    let printed = print_manifests(&urls, &QuickOptions::default()).unwrap();
    assert_eq!(std::fs::read_to_string(examples().join("quick/all.yaml")).unwrap(), printed);
}

#[test]
fn every_broken_example_names_every_mistake() {
    for file in yaml_files(&examples().join("broken")) {
        let loaded = load_files(&[file.clone()]);
        println!("== {}", file.display());
        for p in &loaded.problems {
            println!("{p}");
        }
    }
}
