//! Shell completions.

use clap::{Command, CommandFactory as _};

use crate::args::Cli;

/// The completions for a shell, without commands and flags that the help does not show either.
pub(crate) fn of(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(&Cli::command()), "pointsman", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn visible(command: &Command) -> Command {
    let mut shown = Command::new(forever(command.get_name()));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    // Groups and conflicts refer to arguments that are left out, and completions do not depend on them.
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.args(arguments.map(plain)).subcommands(subcommands.map(visible))
}

/// A name for the rest of the process, as clap wants it; the process ends with its completions.
fn forever(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

/// An argument with what completions show of it.
fn plain(argument: &clap::Arg) -> clap::Arg {
    let mut plain = clap::Arg::new(argument.get_id().clone())
        .action(argument.get_action().clone())
        .value_parser(argument.get_value_parser().clone())
        .value_hint(argument.get_value_hint());
    if let Some(long) = argument.get_long() {
        plain = plain.long(forever(long));
    }
    if let Some(short) = argument.get_short() {
        plain = plain.short(short);
    }
    if let Some(help) = argument.get_help() {
        plain = plain.help(help.clone());
    }
    plain.global(argument.is_global_set())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_commands_and_flags_are_left_out() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let script = of(shell);
            assert!(script.contains("overhead") && script.contains("pool-name"), "{shell}");
            for hidden in ["bare-picker", "bare-proxy", "zap-encoder", "endpoint-selector"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }
}
