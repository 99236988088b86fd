//! The facts of a stream and of a response are the same in one chunk and byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{StreamFormat, SseScanner, StreamEnd, StreamFacts, JsonScanner};

fn read<'a>(format: StreamFormat, chunks: impl Iterator<Item = &'a [u8]>) -> (StreamFacts, StreamEnd) {
    let mut scanner = SseScanner::new(format);
    let mut facts = StreamFacts::default();
    for chunk in chunks {
        facts.absorb(scanner.push(chunk));
    }
    let (rest, end) = scanner.finish();
    facts.absorb(rest);
    (facts, end)
}

fuzz_target!(|bytes: &[u8]| {
    for format in [
        StreamFormat::Completions,
        StreamFormat::ChatCompletions,
        StreamFormat::Responses,
        StreamFormat::Messages,
        StreamFormat::Generate,
    ] {
        assert_eq!(read(format, std::iter::once(bytes)), read(format, bytes.chunks(1)));
    }
    let (mut whole, mut split) = (JsonScanner::default(), JsonScanner::default());
    whole.push(bytes);
    bytes.chunks(1).for_each(|chunk| split.push(chunk));
    assert_eq!(whole.facts(), split.facts());
});
