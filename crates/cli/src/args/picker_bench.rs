//! The arguments of `pointsman bench epp`.

use clap::{Args, ValueEnum};
use pointsman_bench::picker::PickerPhase;

use super::EnvoyBinary;

#[derive(Debug, Args)]
pub(crate) struct PickerBenchArgs {
    /// About a minute instead of six
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure this load only; may be repeated
    #[arg(long, value_enum)]
    pub(crate) phase: Vec<Phase>,
    /// Slices of each load on each way: seven, or three with --quick, unless said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) slices: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) envoy: EnvoyBinary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Phase {
    /// 1 KB prompts, 100 per second
    #[value(name = "100")]
    Paced100,
    /// 1 KB prompts, 300 per second
    #[value(name = "300")]
    Paced300,
    /// 1 KB prompts, 1,000 per second
    #[value(name = "1000")]
    Paced1000,
    /// 1 KB prompts, 64 always in flight
    Saturated,
    /// 10 KB prompts, 20 per second
    #[value(name = "10kb")]
    Prompts10Kb,
    /// 100 KB prompts, 20 per second
    #[value(name = "100kb")]
    Prompts100Kb,
    /// 400 KB prompts, 10 per second
    #[value(name = "400kb")]
    Prompts400Kb,
    /// 1 MB prompts, 5 per second
    #[value(name = "1mb")]
    Prompts1Mb,
    /// 15 streams at once
    Streams,
}

impl Phase {
    pub(crate) const fn measured(self) -> PickerPhase {
        match self {
            Self::Paced100 => PickerPhase::Paced100,
            Self::Paced300 => PickerPhase::Paced300,
            Self::Paced1000 => PickerPhase::Paced1000,
            Self::Saturated => PickerPhase::Saturated,
            Self::Prompts10Kb => PickerPhase::Prompts10Kb,
            Self::Prompts100Kb => PickerPhase::Prompts100Kb,
            Self::Prompts400Kb => PickerPhase::Prompts400Kb,
            Self::Prompts1Mb => PickerPhase::Prompts1Mb,
            Self::Streams => PickerPhase::Streams,
        }
    }
}
