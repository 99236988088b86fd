//! Arguments of `pointsman bench epp`.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pointsman_bench::picker::{MemoryLoad, PickerPhase};

use super::EnvoyBinary;

#[derive(Debug, Args)]
pub(crate) struct PickerBenchArgs {
    /// About a minute instead of six
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure this load only; may be repeated
    #[arg(long, value_parser = phase())]
    pub(crate) phase: Vec<PickerPhase>,
    /// Slices per load and path [default: 7, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) slices: Option<u16>,
    /// Measure the picker's memory under a sustained load instead; may be repeated: slow-streams[=2000],
    /// long-prompts[=10m] or small-requests[=1000000]
    #[arg(long, value_name = "LOAD[=SIZE]", value_parser = memory_load, conflicts_with_all = ["quick", "phase", "slices"])]
    pub(crate) memory: Vec<MemoryLoad>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) envoy: EnvoyBinary,
}

/// The loads with their names and help texts.
const PHASES: [(PickerPhase, &str, &str); 9] = [
    (PickerPhase::Paced100, "100", "1 KB prompts, 100 per second"),
    (PickerPhase::Paced300, "300", "1 KB prompts, 300 per second"),
    (PickerPhase::Paced1000, "1000", "1 KB prompts, 1,000 per second"),
    (PickerPhase::Saturated, "saturated", "1 KB prompts, 64 in flight"),
    (PickerPhase::Prompts10Kb, "10kb", "10 KB prompts, 20 per second"),
    (PickerPhase::Prompts100Kb, "100kb", "100 KB prompts, 20 per second"),
    (PickerPhase::Prompts400Kb, "400kb", "400 KB prompts, 10 per second"),
    (PickerPhase::Prompts1Mb, "1mb", "1 MB prompts, 5 per second"),
    (PickerPhase::Streams, "streams", "15 streams at once"),
];

fn phase() -> impl TypedValueParser<Value = PickerPhase> {
    let names = PHASES.map(|(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(names).try_map(|given| {
        let found = PHASES.iter().find(|(_, name, _)| *name == given);
        found.map(|(phase, ..)| *phase).ok_or("unknown load")
    })
}

/// `NAME` or `NAME=SIZE`.
fn memory_load(text: &str) -> Result<MemoryLoad, String> {
    let (name, size) = text.split_once('=').map_or((text, None), |(name, size)| (name, Some(size)));
    let number = |unsaid: u32| match size {
        None => Ok(unsaid),
        Some(size) => match size.parse() {
            Ok(size @ 1..) => Ok(size),
            Ok(0) | Err(_) => Err(format!("{size} is no count")),
        },
    };
    match name {
        "slow-streams" => Ok(MemoryLoad::SlowStreams(number(2_000)?)),
        "small-requests" => Ok(MemoryLoad::SmallRequests(number(1_000_000)?.into())),
        "long-prompts" => {
            let span = humantime::parse_duration(size.unwrap_or("10m")).map_err(|error| error.to_string())?;
            Ok(MemoryLoad::LongPrompts(span.max(Duration::from_secs(1))))
        }
        _ => Err("it is slow-streams, long-prompts or small-requests, with =SIZE or without".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<MemoryLoad>) {
        assert_eq!(memory_load(text).ok(), expected, "{text}");
    }

    #[test]
    fn loads_have_sizes_unless_said() {
        check("slow-streams", Some(MemoryLoad::SlowStreams(2_000)));
        check("slow-streams=50", Some(MemoryLoad::SlowStreams(50)));
        check("long-prompts", Some(MemoryLoad::LongPrompts(Duration::from_secs(600))));
        check("long-prompts=90s", Some(MemoryLoad::LongPrompts(Duration::from_secs(90))));
        check("small-requests", Some(MemoryLoad::SmallRequests(1_000_000)));
        for wrong in ["streams", "slow-streams=0", "slow-streams=", "long-prompts=5", "small-requests=-1"] {
            check(wrong, None);
        }
    }
}
