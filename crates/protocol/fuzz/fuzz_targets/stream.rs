//! The facts of a stream and of a response are the same in one chunk and byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{Grammar, SseScanner, StreamEnd, StreamFacts, UsageReader};

fn read<'a>(grammar: Grammar, chunks: impl Iterator<Item = &'a [u8]>) -> (StreamFacts, StreamEnd) {
    let mut scanner = SseScanner::new(grammar);
    let mut facts = StreamFacts::default();
    for chunk in chunks {
        facts.absorb(scanner.push(chunk));
    }
    let (rest, end) = scanner.finish();
    facts.absorb(rest);
    (facts, end)
}

fuzz_target!(|bytes: &[u8]| {
    for grammar in [
        Grammar::Completions,
        Grammar::ChatCompletions,
        Grammar::Responses,
        Grammar::Messages,
        Grammar::Generate,
    ] {
        assert_eq!(read(grammar, std::iter::once(bytes)), read(grammar, bytes.chunks(1)));
    }
    let (mut whole, mut split) = (UsageReader::new(), UsageReader::new());
    whole.push(bytes);
    bytes.chunks(1).for_each(|chunk| split.push(chunk));
    assert_eq!(whole.facts(), split.facts());
});
