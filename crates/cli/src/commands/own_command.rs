//! Servers that a command starts from its own program.

use std::ffi::OsString;

use anyhow::{Context as _, Result};

/// A command line of this program, for a server in a process of its own.
pub(super) fn own_command(words: &[&str]) -> Result<Vec<OsString>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(std::iter::once(program.into()).chain(words.iter().map(OsString::from)).collect())
}
