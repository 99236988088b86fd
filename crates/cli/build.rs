//! Says which commit the binary is built from: `POINTSMAN_COMMIT` of the environment, or git's.
#![allow(clippy::print_stdout, reason = "cargo reads instructions from standard output")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=POINTSMAN_COMMIT");
    // A branch's commit is in a file of its own or in the packed references; both change with a commit.
    for name in ["HEAD", "logs/HEAD"] {
        // Cargo takes a file that does not exist for one that changed.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).is_file()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let given = std::env::var("POINTSMAN_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=10", "HEAD"]));
    println!("cargo::rustc-env=POINTSMAN_COMMIT={}", commit.as_deref().unwrap_or("unknown commit"));
}

/// The output of git; `None` outside of a repository, or without git.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
