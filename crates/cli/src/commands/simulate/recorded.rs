//! Event logs as workloads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pointsman_core::{ModelKey, Time};
use pointsman_fleet::{RecordedArrival, arrivals};
use pointsman_workload::RecordedRequest;

/// Reads the requests of a log. A log of several pools needs one of them named: `log.jsonl#1`.
///
/// # Errors
/// The log cannot be read, has several schedulers, or contains no output length.
pub(super) fn read(folder: &Path, name: &str) -> Result<Vec<RecordedRequest>> {
    let (path, pool) = match name.rsplit_once('#') {
        Some((path, pool)) if !folder.join(name).exists() => {
            (path, Some(pool.parse().with_context(|| format!("#{pool} is no pool's number"))?))
        }
        _ => (name, None),
    };
    let file = File::open(folder.join(path))?;
    requests(arrivals(BufReader::with_capacity(1 << 20, file))?, pool)
}

fn requests(mut arrivals: Vec<RecordedArrival>, pool: Option<u32>) -> Result<Vec<RecordedRequest>> {
    let mut pools: Vec<u32> = arrivals.iter().map(|arrival| arrival.scheduler).collect();
    pools.sort_unstable();
    pools.dedup();
    match pool {
        Some(pool) if !pools.contains(&pool) => bail!("it has no pool {pool}, it has {pools:?}"),
        Some(pool) => arrivals.retain(|arrival| arrival.scheduler == pool),
        None if pools.len() > 1 => {
            bail!("it has the pools {pools:?}: name one, such as the first by #{}", pools[0])
        }
        None => {}
    }
    let outputs: Vec<u64> = arrivals.iter().filter_map(output_tokens).map(u64::from).collect();
    if outputs.is_empty() && !arrivals.is_empty() {
        bail!("it contains no output length");
    }
    // Responses of unknown length are assumed to have the mean length.
    let mean = outputs.iter().sum::<u64>() / outputs.len().max(1) as u64;
    let mean = u32::try_from(mean).unwrap_or(u32::MAX).max(1);
    let adapters = adapters(&arrivals);
    Ok(arrivals.iter().map(|arrival| request(arrival, mean, &adapters)).collect())
}

fn output_tokens(arrival: &RecordedArrival) -> Option<u32> {
    arrival.usage.output_tokens.or(arrival.output_tokens)
}

/// Adapter numbers of all targets except the most frequent one, which is taken as the base model.
fn adapters(arrivals: &[RecordedArrival]) -> BTreeMap<ModelKey, u32> {
    let mut counts: BTreeMap<ModelKey, usize> = BTreeMap::new();
    for target in arrivals.iter().filter_map(|arrival| arrival.facts.target) {
        *counts.entry(target).or_default() += 1;
    }
    let base = counts.iter().max_by_key(|(target, count)| (**count, std::cmp::Reverse(**target)));
    let base = base.map(|(target, _)| *target);
    counts.into_keys().filter(|target| Some(*target) != base).zip(0..).collect()
}

fn request(
    arrival: &RecordedArrival,
    mean_output: u32,
    adapters: &BTreeMap<ModelKey, u32>,
) -> RecordedRequest {
    let facts = &arrival.facts;
    RecordedRequest {
        at: Time::ZERO + arrival.at,
        prompt_tokens: arrival.usage.prompt_tokens.unwrap_or(facts.prompt_tokens),
        output_tokens: output_tokens(arrival).unwrap_or(mean_output),
        max_output_tokens: facts.max_output_tokens,
        blocks: facts.blocks.clone(),
        block_tokens: facts.block_tokens,
        adapter: facts.target.and_then(|target| adapters.get(&target).copied()),
        priority: facts.priority,
        streamed: facts.observes_tokens,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pointsman_core::{PoolId, RequestFacts, Usage};
    use pointsman_fleet::RecordedEnding;

    use super::*;

    fn arrival(pool: u32, target: u64, output_tokens: Option<u32>) -> RecordedArrival {
        RecordedArrival {
            scheduler: pool,
            at: Duration::from_secs(1),
            facts: RequestFacts {
                target: Some(ModelKey(target)),
                prompt_tokens: 10,
                ..RequestFacts::unknown(PoolId(0))
            },
            output_tokens,
            usage: Usage::default(),
            first_token_after: None,
            ended_after: None,
            ending: RecordedEnding::Open,
        }
    }

    #[test]
    fn unknown_outputs_have_the_mean_length_and_the_most_frequent_target_is_the_base_model() -> Result<()> {
        let log = vec![
            arrival(0, 5, Some(10)),
            arrival(0, 5, None),
            arrival(0, 7, Some(30)),
            RecordedArrival {
                usage: Usage { prompt_tokens: Some(12), output_tokens: Some(20), ..Usage::default() },
                ..arrival(0, 5, Some(1))
            },
        ];
        let requests = requests(log, None)?;
        let outputs: Vec<_> = requests.iter().map(|request| request.output_tokens).collect();
        assert_eq!(outputs, [10, 20, 30, 20]);
        let adapters: Vec<_> = requests.iter().map(|request| request.adapter).collect();
        assert_eq!(adapters, [None, None, Some(0), None]);
        assert_eq!((requests[3].prompt_tokens, requests[0].prompt_tokens), (12, 10));
        Ok(())
    }

    #[test]
    fn a_log_of_two_pools_needs_one_named() -> Result<()> {
        let log = || vec![arrival(0, 1, Some(1)), arrival(3, 1, Some(1)), arrival(3, 1, Some(1))];
        let error = requests(log(), None).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("[0, 3]") && error.contains("#0")));
        assert_eq!(requests(log(), Some(3))?.len(), 2);
        assert!(requests(log(), Some(2)).is_err());
        assert!(requests(vec![arrival(0, 1, None)], None).is_err(), "no lengths");
        Ok(())
    }
}
