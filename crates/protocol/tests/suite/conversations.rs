//! Random conversations: the number of common hashes is the number of common blocks.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::blocks::{blocks, shared};

/// The smallest units of a prompt that can differ.
#[derive(Clone, Debug, PartialEq)]
enum Unit {
    Message(String),
    Part,
    Image(String),
    Byte(u8),
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Image(u8),
}

type Message = (&'static str, Vec<Part>);

fn text() -> impl Strategy<Value = String> {
    // Few distinct texts, so that conversations often have a common prefix, and many lengths.
    let word = select(&["a", "b", "\n", "\"", "é", "轍", "😀", "<|im_end|>"][..]);
    (word, prop_oneof![0..4_usize, 60..70_usize, 120..700_usize]).prop_map(|(word, times)| word.repeat(times))
}

fn message() -> impl Strategy<Value = Message> {
    let part = prop_oneof![8 => text().prop_map(Part::Text), 1 => (0..2_u8).prop_map(Part::Image)];
    (select(&["system", "user", "assistant", "tool"][..]), vec(part, 1..3))
}

/// Two conversations with a common prefix.
fn pair() -> impl Strategy<Value = (Vec<Message>, Vec<Message>)> {
    (vec(message(), 1..6), 0..6_usize, vec(message(), 0..4)).prop_map(|(left, kept, more)| {
        let right = left.iter().take(kept).cloned().chain(more).collect();
        (left, right)
    })
}

fn image(which: u8) -> Value {
    json!({"url": format!("data:image/png;base64,{which}")})
}

fn body(messages: &[Message]) -> String {
    let content = |parts: &[Part]| match parts {
        [Part::Text(text)] => json!(text),
        parts => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => json!({"type": "text", "text": text}),
                Part::Image(which) => json!({"type": "image_url", "image_url": image(*which)}),
            })
            .collect(),
    };
    let messages: Vec<Value> =
        messages.iter().map(|(role, parts)| json!({"role": role, "content": content(parts)})).collect();
    json!({"model": "m", "messages": messages}).to_string()
}

/// The units of each full block of a conversation.
fn blocks_of_units(messages: &[Message]) -> Vec<Vec<Unit>> {
    let (mut blocks, mut open, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut push = |unit: Unit| {
        bytes += usize::from(matches!(unit, Unit::Byte(_)));
        open.push(unit);
        if bytes == 256 {
            bytes = 0;
            blocks.push(std::mem::take(&mut open));
        }
    };
    for (role, parts) in messages {
        push(Unit::Message((*role).to_owned()));
        for part in parts {
            match part {
                Part::Text(text) if text.is_empty() => {}
                Part::Text(text) => {
                    push(Unit::Part);
                    text.bytes().for_each(|byte| push(Unit::Byte(byte)));
                }
                Part::Image(which) => {
                    push(Unit::Image(image(*which).to_string()));
                    (0..2_048).for_each(|_| push(Unit::Byte(0)));
                }
            }
        }
    }
    blocks
}

proptest! {
    #[test]
    fn common_hashes_are_those_of_common_blocks((left, right) in pair()) {
        let (left_hashes, right_hashes) = (blocks(&body(&left)), blocks(&body(&right)));
        let (left, right) = (blocks_of_units(&left), blocks_of_units(&right));
        prop_assert_eq!(left_hashes.len(), left.len());
        prop_assert_eq!(right_hashes.len(), right.len());
        let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        prop_assert_eq!(shared(&left_hashes, &right_hashes), same);
        // No hash after the first difference is equal.
        prop_assert!(left_hashes[same..].iter().all(|hash| !right_hashes.contains(hash)));
    }

    #[test]
    fn a_longer_conversation_has_the_same_leading_hashes(messages in vec(message(), 1..8), kept in 0..8_usize) {
        let earlier = blocks(&body(&messages[..kept.min(messages.len())]));
        prop_assert!(blocks(&body(&messages)).starts_with(&earlier));
    }

    #[test]
    fn hashes_do_not_depend_on_spelling(messages in vec(message(), 1..4)) {
        let plain = body(&messages);
        prop_assert_eq!(blocks(&crate::random::escape(&plain)), blocks(&plain));
        // Images are compared as written.
        let texts: Vec<Message> = messages
            .into_iter()
            .map(|(role, parts)| (role, parts.into_iter().filter(|part| matches!(part, Part::Text(_))).collect()))
            .collect();
        let plain = body(&texts);
        let tree: Value = serde_json::from_str(&plain).unwrap();
        prop_assert_eq!(blocks(&serde_json::to_string_pretty(&tree).unwrap()), blocks(&plain));
    }

    #[test]
    fn common_hashes_of_token_ids_are_those_of_common_blocks(
        common in vec(0..200_000_u32, 0..300),
        left in vec(any::<u32>(), 0..300),
        right in vec(any::<u32>(), 0..300),
    ) {
        let (left, right) = ([common.clone(), left].concat(), [common, right].concat());
        let chain = |ids: &[u32]| blocks(&json!({"prompt": ids}).to_string());
        let same = left.chunks_exact(64).zip(right.chunks_exact(64)).take_while(|(left, right)| left == right);
        prop_assert_eq!(chain(&left).len(), left.len() / 64);
        prop_assert_eq!(shared(&chain(&left), &chain(&right)), same.count());
    }
}
