//! Standard output and error of a command-line tool, whose reader may be gone: `println!` and its like in this crate, where those of
//! the standard library panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// As of the standard library, but ends the process where the reader of standard output is gone.
macro_rules! println {
    ($($argument:tt)*) => { $crate::output::out(format_args!("{}\n", format_args!($($argument)*))) };
}

/// As of the standard library, but ends the process where the reader of standard output is gone.
macro_rules! print {
    ($($argument:tt)*) => { $crate::output::out(format_args!($($argument)*)) };
}

/// As of the standard library, but goes on where the reader of standard error is gone.
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::err(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes to standard output. A reader that is gone wants no more: the process ends, as successfully as `head` made it.
pub(crate) fn out(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            err(format_args!("error: cannot write to standard output: {error}\n"));
            std::process::exit(1);
        }
    }
}

/// Writes to standard error, where it can be written to.
pub(crate) fn err(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Writes a line to standard output, where it can be written to: a server goes on without its reader.
pub(crate) fn announce(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
