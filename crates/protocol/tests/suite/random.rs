//! Properties that hold for every input.

use bytes::Bytes;
use pointsman_protocol::{
    Api, BLOCK_TOKENS, BlockKey, BodyError, BodyFacts, JsonScanner, SseScanner, StreamEnd, StreamFacts,
    StreamFormat, prompt_blocks, splice_model,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::recorded;

const FORMATS: [StreamFormat; 6] = [
    StreamFormat::Completions,
    StreamFormat::ChatCompletions,
    StreamFormat::Responses,
    StreamFormat::Messages,
    StreamFormat::Generate,
    StreamFormat::Unknown,
];

/// Sequences of fragments of valid and invalid JSON.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\\u00",
        b"\\ud83d\\ude00",
        b"\\n",
        b" ",
        b"\n",
        b"0",
        b"-1.5e3",
        b"12",
        b"true",
        b"false",
        b"null",
        b"\"model\"",
        b"\"model\":\"a\"",
        b"\"messages\":[{\"content\":\"x\"}]",
        b"\"prompt\":[1,2]",
        b"\"stream\":true",
        b"text longer than a stride of the scanner, without quotes",
        b"\xc3\xa9",
        b"\xff",
        b"\0",
        b"\"k\":1",
        b"\"a\":{\"b\":[]}",
    ];
    vec(select(words), 0..24).prop_map(|words| words.concat())
}

/// JSON objects, some with a fragment inserted.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,80}".prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            vec((".{0,6}", inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    });
    let names =
        select(&["model", "prompt", "messages", "input", "tools", "x", "stream", "sampling_params"][..]);
    let object = vec((names, tree), 0..6);
    (object, any::<bool>(), fragments(), any::<Index>()).prop_map(|(object, damage, fragment, place)| {
        let tree: serde_json::Value =
            object.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut bytes = tree.to_string().into_bytes();
        if damage {
            let place = place.index(bytes.len());
            bytes.splice(place..place, fragment);
        }
        bytes
    })
}

/// Sequences of fragments of valid and invalid event streams.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"data: ",
        b"data:",
        b"data",
        b"event: error",
        b"event: message_stop",
        b"event: content_block_delta",
        b": comment",
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\n",
        b"[DONE]",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"\"choices\":[{",
        b"\"delta\":{\"content\":\"x\"}",
        b"\"text\":\"y\"",
        b"\"finish_reason\":\"stop\"",
        b"\"finish_reason\":\"abort\"",
        b"\"error\":{\"code\":500}",
        b"\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}",
        b"}]",
        b",",
        b"data: {\"choices\":[{\"text\":\"y\",\"finish_reason\":\"stop\"}]}\n\n",
        b"data: [DONE]\n\n",
        b"{\"type\":\"response.output_text.delta\"}",
        b"{\"type\":\"response.completed\",\"response\":{\"id\":\"r\"}}",
        b"{\"type\":\"message_stop\"}",
        b"id: 1",
        b"\xef\xbb\xbf",
        b"\xff\0",
        b"12",
        b"null",
    ];
    vec(select(words), 0..40).prop_map(|words| words.concat())
}

/// Splits `bytes` at the given positions.
fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    places.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn read_stream(format: StreamFormat, chunks: &[&[u8]]) -> (StreamFacts, StreamEnd, Option<String>) {
    let mut scanner = SseScanner::new(format);
    let mut facts = StreamFacts::default();
    for piece in chunks {
        facts.absorb(scanner.push(piece));
    }
    let (rest, end) = scanner.finish();
    facts.absorb(rest);
    (facts, end, scanner.response_id().map(str::to_owned))
}

proptest! {
    #[test]
    fn the_facts_of_a_stream_do_not_depend_on_chunks(
        stream in stream(),
        format in select(&FORMATS[..]),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let whole = read_stream(format, &[&stream]);
        prop_assert_eq!(&read_stream(format, &chunks(&stream, &cuts)), &whole);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&read_stream(format, &bytes), &whole);
    }

    #[test]
    fn the_facts_of_a_response_do_not_depend_on_chunks(
        answer in prop_oneof![fragments(), stream()],
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let read = |chunks: &[&[u8]]| {
            let mut reader = JsonScanner::default();
            chunks.iter().for_each(|chunk| reader.push(chunk));
            reader.facts()
        };
        let whole = read(&[&answer]);
        prop_assert_eq!(&read(&chunks(&answer, &cuts)), &whole);
        prop_assert_eq!(&read(&answer.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn a_body_is_accepted_exactly_when_it_is_a_json_object(body in prop_oneof![fragments(), near_json()]) {
        let object = std::str::from_utf8(&body).is_ok()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok()
            && body.trim_ascii_start().starts_with(b"{");
        match BodyFacts::scan(&body) {
            Ok(facts) => {
                prop_assert!(object);
                let blocks = prompt_blocks(&BlockKey::new([1, 2]), &body, &facts, None).len() as u64;
                prop_assert!(blocks * u64::from(BLOCK_TOKENS) <= facts.estimated_prompt_tokens());
            }
            Err(BodyError::DuplicateField { .. } | BodyError::ModelNotAString { .. }) => {}
            Err(error) => prop_assert!(!object, "{}", error),
        }
    }

    #[test]
    fn splicing_changes_only_the_model(
        before in vec((".*", ".*"), 0..4),
        after in vec((".*", ".*"), 0..4),
        old in ".{0,40}",
        new in ".*",
        ascii in any::<bool>(),
    ) {
        let json = |text: &str| {
            let quoted = serde_json::Value::from(text).to_string();
            if ascii { escape(&quoted) } else { quoted }
        };
        let field = |(key, value): &(String, String)| format!("{}: {}", json(&format!("x{key}")), json(value));
        let mut fields: Vec<String> = before.iter().map(field).collect();
        fields.push(format!("\"model\" : {}", json(&old)));
        fields.extend(after.iter().map(field));
        let text = format!("{{{}}}", fields.join(" , "));
        let body = Bytes::from(text.clone());
        let facts = BodyFacts::scan(&body).unwrap();
        let slot = facts.model_slot;
        prop_assert_eq!(facts.model.unwrap_or_default(), old);
        let spliced = splice_model(&body, &slot, &new);
        let whole = spliced.parts.concat();
        prop_assert_eq!(whole.len() as u64, spliced.content_length());
        prop_assert_eq!(spliced.parts[0].as_ref(), &text.as_bytes()[..slot.range.start]);
        prop_assert_eq!(spliced.parts[2].as_ref(), &text.as_bytes()[slot.range.end..]);
        let again = BodyFacts::scan(&whole).unwrap().model;
        prop_assert_eq!(again.unwrap_or_default(), new);
    }

    #[test]
    fn damaged_recordings_never_panic(
        which in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 1..8),
        cut in any::<Index>(),
    ) {
        let exchanges = recordings();
        let exchange = &exchanges[which.index(exchanges.len())];
        for original in [&exchange.request_body, &exchange.response_body] {
            let mut bytes = original.clone();
            for (place, byte) in &damage {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
            if let Ok(facts) = BodyFacts::scan(&bytes) {
                prop_assert!(std::str::from_utf8(&bytes).is_ok());
                prop_assert!(facts.prompt.spans.iter().all(|span| bytes.get(span.range.clone()).is_some()));
                let blocks = prompt_blocks(&BlockKey::new([1, 2]), &bytes, &facts, None).len() as u64;
                prop_assert!(blocks * u64::from(BLOCK_TOKENS) <= facts.estimated_prompt_tokens());
            }
            for format in FORMATS {
                read_stream(format, &[&bytes]);
            }
            let mut reader = JsonScanner::default();
            reader.push(&bytes);
            let _ = reader.facts();
            let _ = pointsman_protocol::models::parse_models(&bytes);
        }
    }

    #[test]
    fn no_path_panics_and_every_spelling_of_sleep_is_refused(
        path in ".*",
        escapes in vec(0_u8..3, 5),
    ) {
        let _ = Api::of("POST", &path);
        let mut spelled = String::from("/");
        for (letter, escape) in "sleep".bytes().zip(escapes) {
            match escape {
                0 => spelled.push(char::from(letter)),
                1 => spelled.push_str(&format!("%{letter:02x}")),
                _ => spelled.push_str(&format!("%25{letter:02X}")),
            }
        }
        prop_assert_eq!(Api::of("POST", &spelled), pointsman_protocol::Route::Administration);
    }
}

fn recordings() -> &'static [recorded::Exchange] {
    static RECORDINGS: std::sync::OnceLock<Vec<recorded::Exchange>> = std::sync::OnceLock::new();
    RECORDINGS.get_or_init(recorded::exchanges)
}

/// The JSON text in ASCII, as Python's `json.dumps` writes it.
pub(crate) fn escape(json: &str) -> String {
    let mut out = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}
