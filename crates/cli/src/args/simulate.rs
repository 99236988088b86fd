//! Arguments of `pointsman simulate`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = ArgGroup::new("what").required(true))]
#[command(after_help = "\
An experiment describes engines, workload, router information, placements and rates;
--explain-format lists its fields. Runs are in virtual time, through the same core that routes live
traffic, and bit for bit the same for the same seed.

Ctrl-C prints the results so far, saves them, and prints the command that resumes the sweep.

Examples:
  pointsman simulate experiments/gie-blog.yaml --report blog
  pointsman simulate mine.yaml --placement pointsman,least-request --seeds 10
  pointsman simulate fit steps.csv --like llama-3-8b-h100 --name mine > mine.json")]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimulateCommand>,
    /// The experiment (YAML)
    #[arg(value_name = "FILE", group = "what")]
    pub(crate) file: Option<PathBuf>,
    /// List the fields of an experiment
    #[arg(long, group = "what")]
    pub(crate) explain_format: bool,
    /// A placement to run, instead of the experiment's; may be repeated, or several as random,pointsman
    #[arg(long, alias = "policy", value_name = "NAME", value_delimiter = ',')]
    pub(crate) placement: Vec<String>,
    /// A rate in requests per second, instead of the experiment's; may be repeated, or several as 10,20
    #[arg(long, value_name = "RATE", value_delimiter = ',')]
    pub(crate) rate: Vec<f64>,
    /// Number of seeds, from the experiment's first
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    pub(crate) seeds: Option<NonZeroU32>,
    /// A seed, instead of the experiment's; may be repeated, or several as 1,2
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) seed: Vec<u64>,
    /// Search for the highest rate that each placement keeps up with, to 2 %
    #[arg(long)]
    pub(crate) knee: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a report: a folder (page, plots, figures), or one page where it ends in .html
    #[arg(long, value_name = "DIR|FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Resume a sweep that was stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Save the sweep to this file as it runs, to be resumed [default: beside the report; without a
    /// report, in the working directory once it is stopped]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Make an engine profile from measured steps or requests
    Fit(FitArgs),
    /// Search for a workload on which a placement does badly
    Fuzz(FuzzArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Draws random fleets and workloads, mutates those on which the placement's E2E p90 is worst relative
to the best of its rivals, and finally runs the worst again with fresh seeds. The result depends on
the arguments alone, not on the number of threads.

Examples:
  pointsman simulate fuzz                              attack the default
  pointsman simulate fuzz --placement lpwl --budget 200   attack another placement
  pointsman simulate fuzz --keep finds                 write the worst cases as experiments")]
pub(crate) struct FuzzArgs {
    /// The placement to attack
    #[arg(long, alias = "policy", value_name = "NAME", default_value = "pointsman")]
    pub(crate) placement: String,
    /// A rival placement; may be repeated [default: eight that are often best]
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Vec<String>,
    /// Number of cases to try
    #[arg(long, value_name = "N", default_value_t = 96)]
    pub(crate) budget: usize,
    /// Seed of the search
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Number of the worst cases to run again, each with five fresh seeds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) confirm: usize,
    /// Write each confirmed case with a ratio above 1.03 into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The first line of the file names its columns. Steps, as an engine's profiler sees them:
  prompt_tokens,sequences,context_tokens,step_seconds      and cached_tokens, where some were cached
Requests, as a load generator sees them at a steady number in flight:
  prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms

The profile is written to standard output, the quality of the fit to standard error.")]
pub(crate) struct FitArgs {
    /// Measurements in comma-separated values; `-` reads standard input
    #[arg(value_name = "CSV")]
    pub(crate) csv: PathBuf,
    /// Name of the profile [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Profile to take all but step times from (blocks, sequence slots, token budget): a name, or a file
    #[arg(long, value_name = "PROFILE", default_value = "llama-3-8b-h100")]
    pub(crate) like: String,
}
