//! Arguments of `pointsman simulate`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = ArgGroup::new("what").required(true))]
#[command(after_help = "\
An experiment says which engines, which requests, what the router knows, which policies and
which rates; --explain-format describes its fields. Every run is in virtual time, through the
same core that routes live traffic, and bit for bit the same for the same seed.

Ctrl-C prints what there is so far, keeps it, and says how to go on.

Examples:
  pointsman simulate experiments/gie-blog.yaml --report blog
  pointsman simulate mine.yaml --policy pointsman --policy least-request --seeds 10
  pointsman simulate fit steps.csv --like llama-3-8b-h100 --name mine > mine.json")]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimulateCommand>,
    /// The experiment (YAML)
    #[arg(value_name = "FILE", group = "what")]
    pub(crate) file: Option<PathBuf>,
    /// Describe an experiment's fields, and stop
    #[arg(long, group = "what")]
    pub(crate) explain_format: bool,
    /// A policy to run, instead of the experiment's; may be repeated, or several as random,pointsman
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) policy: Vec<String>,
    /// A rate in requests per second, instead of the experiment's; may be repeated, or several as 10,20
    #[arg(long, value_name = "RATE", value_delimiter = ',')]
    pub(crate) rate: Vec<f64>,
    /// How many seeds, from the experiment's first
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    pub(crate) seeds: Option<NonZeroU32>,
    /// A seed, instead of the experiment's; may be repeated, or several as 1,2
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) seed: Vec<u64>,
    /// Search between the rates for where each policy stops keeping up, to 2 %
    #[arg(long)]
    pub(crate) knee: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a report: a folder (page, plots, figures), or one page where it ends in .html
    #[arg(long, value_name = "DIR|FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Go on with a sweep that was stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Where the sweep is kept as it goes, to be resumed; without it, beside the report, and without
    /// a report in the working directory once it is stopped
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Threads; without it, one for each core
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Make an engine profile from measured steps or requests
    Fit(FitArgs),
    /// Search for a workload on which a policy does badly
    Fuzz(FuzzArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Draws fleets and workloads at random, changes those on which the policy's p90 of E2E is worst beside
the best of its rivals, and in the end runs the worst again with fresh seeds. The same arguments find
the same shapes, whatever the number of threads.

Examples:
  pointsman simulate fuzz                              attack the default
  pointsman simulate fuzz --policy lpwl --budget 200   see how far another rule can be driven
  pointsman simulate fuzz --keep finds                 write what it finds as experiments")]
pub(crate) struct FuzzArgs {
    /// The policy to attack
    #[arg(long, value_name = "NAME", default_value = "pointsman")]
    pub(crate) policy: String,
    /// A policy to compare it with; may be repeated [default: eight that are often best]
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Vec<String>,
    /// How many shapes to try
    #[arg(long, value_name = "N", default_value_t = 96)]
    pub(crate) budget: usize,
    /// Where the search starts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Of the worst shapes found, how many to run again, each with five fresh seeds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) confirm: usize,
    /// Write each confirmed shape whose ratio is above 1.03 into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads; without it, one for each core
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The first line of the file names its columns. Steps, as an engine's profiler sees them:
  prompt_tokens,sequences,context_tokens,step_seconds      and cached_tokens, where some were cached
Requests, as a load generator sees them at a steady number in flight:
  prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms

The profile goes to standard output, how well it fits to standard error.")]
pub(crate) struct FitArgs {
    /// Measurements in comma-separated values; `-` reads standard input
    #[arg(value_name = "CSV")]
    pub(crate) csv: PathBuf,
    /// The profile's name; without it, the file's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The profile that gives what is no step time (blocks, seats, budget): a name, or a file
    #[arg(long, value_name = "PROFILE", default_value = "llama-3-8b-h100")]
    pub(crate) like: String,
}
