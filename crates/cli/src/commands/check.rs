//! `pointsman check`: lists every problem of the manifests.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use pointsman_config::{Consumer, Loaded, Options, Problem, Severity};
use pointsman_fleet::manifests::{self, ManifestError};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::manifests::load_with_files;

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let (sources, unreadable) = manifests::read_all(&args.paths);
    let consumer = if args.picker { Consumer::Picker { config: None } } else { Consumer::Gateway };
    let mut loaded =
        load_with_files(&sources, &Options { consumer, picker_configs: true, ..Options::default() });
    if sources.is_empty() && !unreadable.is_empty() {
        // What an empty set lacks is no mistake of its own.
        loaded.problems.clear();
    }
    loaded.problems.extend(unreadable.iter().map(unreadable_file));
    loaded.problems.sort_by_key(|problem| (Arc::clone(&problem.file), problem.line, problem.column));
    if args.json {
        let problems: Vec<Value> = loaded.problems.iter().map(as_json).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "problems": problems }))?);
    } else {
        for problem in &loaded.problems {
            println!("{problem}");
        }
        println!("{}", summary(&loaded, sources.len()));
    }
    Ok(if loaded.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The problem of a file or folder that cannot be read.
fn unreadable_file(error: &ManifestError) -> Problem {
    let (file, message, fix) = match error {
        ManifestError::Read { path, source } => {
            (Some(path), format!("cannot be read: {source}"), "check the path and its permissions")
        }
        ManifestError::NotText(path) => (Some(path), "is not UTF-8".to_owned(), "save it in that encoding"),
        ManifestError::TooLong(path) | ManifestError::TooMany(path) => {
            (Some(path), error.to_string(), "split it, or move files of other programs to another folder")
        }
        ManifestError::Changing => (None, error.to_string(), "try again"),
    };
    let file = file.map_or(Cow::Borrowed("manifests"), |path| path.to_string_lossy());
    Problem {
        severity: Severity::Error,
        file: file.into(),
        line: 1,
        column: 1,
        path: String::new(),
        message,
        fix: fix.to_owned(),
    }
}

fn as_json(problem: &Problem) -> Value {
    let Problem { severity, file, line, column, path, message, fix } = problem;
    json!({
        "severity": severity.as_str(),
        "file": **file,
        "line": line,
        "column": column,
        "path": path,
        "message": message,
        "fix": fix,
    })
}

fn summary(loaded: &Loaded, files: usize) -> String {
    let of = |severity| loaded.problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let objects = plural(loaded.objects.len(), "object");
    let things = match (loaded.objects.len(), loaded.picker_configs) {
        (_, 0) => objects,
        (0, configs) => plural(configs, "picker configuration"),
        (_, configs) => format!("{objects} and {}", plural(configs, "picker configuration")),
    };
    let found = format!("{things} in {}", plural(files, "file"));
    match (errors, warnings) {
        (0, 0) => format!("ok: {found}"),
        (0, _) => format!("ok with {}: {found}", plural(warnings, "warning")),
        _ => format!("{}, {}: {found}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn plural(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
