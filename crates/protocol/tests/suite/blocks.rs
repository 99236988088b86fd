//! Block hashes of prompts.

use pointsman_protocol::{BLOCK_TOKENS, BlockKey, BodyFacts, MAX_BLOCKS, prompt_blocks};
use serde_json::{Value, json};

/// The block hashes of a body for the target `m`.
pub(crate) fn blocks(body: &str) -> Vec<u64> {
    blocks_for(body, Some("m"))
}

fn blocks_for(body: &str, target: Option<&str>) -> Vec<u64> {
    let facts = BodyFacts::scan(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    prompt_blocks(&BlockKey::new([1, 2]), body.as_bytes(), &facts, target)
}

/// Number of equal leading hashes.
pub(crate) fn shared(left: &[u64], right: &[u64]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Prose of this many blocks.
fn prose(blocks: usize) -> String {
    (0..)
        .flat_map(|word: u32| format!("word{word} ").into_bytes())
        .map(char::from)
        .take(blocks * 256)
        .collect()
}

fn chat(messages: &[(&str, &str)]) -> String {
    let messages: Vec<Value> =
        messages.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    json!({"model": "m", "messages": messages}).to_string()
}

/// Checks that all bodies have the same hashes, at least one.
#[track_caller]
fn check_same(bodies: &[String]) {
    let first = blocks(&bodies[0]);
    assert!(!first.is_empty());
    for body in bodies {
        assert_eq!(blocks(body), first, "{body}");
    }
}

/// Checks that no two bodies have a hash in common.
#[track_caller]
fn check_distinct(bodies: &[String]) {
    for (at, left) in bodies.iter().enumerate() {
        let left = blocks(left);
        assert!(!left.is_empty());
        for right in bodies.iter().skip(at + 1) {
            assert!(blocks(right).iter().all(|hash| !left.contains(hash)), "{} {right}", bodies[at]);
        }
    }
}

#[test]
fn keys_have_no_hashes_in_common() {
    let long = "x".repeat(256 * 40);
    for body in [
        json!({"prompt": long, "cache_salt": "s"}).to_string(),
        json!({"prompt": vec![7; 64 * 40]}).to_string(),
        chat(&[("system", &long), ("user", &long)]),
    ] {
        let facts = BodyFacts::scan(body.as_bytes()).unwrap();
        let keys = [[1, 2], [1, 3], [2, 2]].map(BlockKey::new);
        let mut all = keys.map(|key| prompt_blocks(&key, body.as_bytes(), &facts, Some("m"))).concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert!(count >= 120 && all.len() == count, "{} of {count} differ", all.len());
    }
}

#[test]
fn hashes_of_a_key_are_the_same_on_every_build() {
    let text = prose(3);
    assert_eq!(
        blocks(&json!({"prompt": text}).to_string()),
        [8_205_595_695_151_018_199, 5_682_894_422_495_546_060, 3_985_215_912_878_661_779]
    );
    let ids: Vec<u32> = (0..130).collect();
    assert_eq!(
        blocks(&json!({"prompt": ids, "cache_salt": "s"}).to_string()),
        [4_944_596_640_680_371_465, 3_948_308_159_020_083_070]
    );
    let turn = chat(&[("system", &text[..200]), ("user", &text[..200])]);
    assert_eq!(blocks_for(&turn, None), [8_687_257_300_934_726_764]);
}

#[test]
fn only_full_blocks_are_hashed_and_each_is_sixty_four_estimated_tokens() {
    for (prompt, count) in [
        (json!(prose(1)[..255]), 0),
        (json!(prose(1)), 1),
        (json!(prose(2)[..511]), 1),
        (json!((0..63).collect::<Vec<u32>>()), 0),
        (json!((0..128).collect::<Vec<u32>>()), 2),
        (json!(""), 0),
        (json!([]), 0),
        (json!("é".repeat(128)), 1),
    ] {
        let body = json!({"prompt": prompt}).to_string();
        assert_eq!(blocks(&body).len(), count, "{body}");
        let facts = BodyFacts::scan(body.as_bytes()).unwrap();
        assert!(facts.estimated_prompt_tokens() >= u64::from(BLOCK_TOKENS) * count as u64, "{body}");
    }
    assert!(blocks("{}").is_empty());
}

#[test]
fn hashes_do_not_depend_on_the_spelling_of_the_json() {
    let text = format!("a/b \"é\" 😀\n\t\\ {}", prose(2));
    let plain = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    let ascii = crate::random::escape(&plain);
    assert!(ascii.contains("\\ud83d\\ude00"));
    let parts = json!({"messages": [{"content": [{"text": text, "type": "text"}], "role": "user"}]});
    check_same(&[
        plain.clone(),
        ascii,
        plain.replace('/', "\\/"),
        plain.replace("word1 ", "\\u0077\\u006F\\u0072\\u0064\\u0031\\u0020"),
        plain.replace("\"role\":\"user\"", " \"name\" : null , \"role\" :\t\"user\" "),
        parts.to_string(),
    ]);
    let ids: Vec<u32> = (0..200).map(|id| id * id * id).collect();
    let ids = json!({"prompt": ids}).to_string();
    check_same(&[ids.clone(), ids.replace(',', " ,\n  "), ids.replace("[0,", "[ 0 ,")]);
}

#[test]
fn models_adapters_and_cache_salts_have_no_hashes_in_common() {
    let text = prose(4);
    let body = |salt: Value| json!({"model": "x", "prompt": text, "cache_salt": salt}).to_string();
    let chains = [
        blocks_for(&body(Value::Null), None),
        blocks_for(&body(Value::Null), Some("")),
        blocks_for(&body(Value::Null), Some("base")),
        blocks_for(&body(Value::Null), Some("adapter")),
        blocks_for(&body(json!("base")), None),
        blocks_for(&body(json!("tenant")), Some("base")),
        blocks_for(&body(json!("tenanu")), Some("base")),
        blocks_for(&body(json!("")), Some("base")),
    ];
    let mut all = chains.concat();
    assert_eq!(all.len(), chains.len() * 4);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), chains.len() * 4);
    // The body's model name is not hashed: rules may map several names to one target.
    let other = body(Value::Null).replace("\"x\"", "\"y\"");
    assert_eq!(blocks_for(&other, Some("base")), chains[2]);
}

#[test]
fn hashes_cover_roles_and_boundaries() {
    let (one, two) = (&prose(1)[..100], prose(2));
    check_distinct(&[
        chat(&[("user", one), ("user", &two)]),
        chat(&[("user", one), ("assistant", &two)]),
        chat(&[("system", one), ("user", &two)]),
        chat(&[("user", &format!("{one}{two}"))]),
        chat(&[("user", &one[..99]), ("user", &format!("{}{two}", &one[99..]))]),
        chat(&[("user", one), ("user", ""), ("user", &two)]),
        json!({"prompt": format!("{one}{two}")}).to_string(),
        json!({"system": one, "messages": [{"role": "user", "content": two}]}).to_string(),
        json!({"messages": [{"role": "user", "content": [{"text": one}, {"text": two}]}]}).to_string(),
        json!({"tools": [1], "messages": [{"role": "user", "content": format!("{one}{two}")}]}).to_string(),
    ]);
}

#[test]
fn hashes_cover_every_message() {
    let long = prose(2);
    let turns =
        |last: &str| chat(&[("system", &long), ("user", &long), ("assistant", &long), ("user", last)]);
    let (left, right) = (blocks(&turns(&long)), blocks(&turns(&long.replacen("word0", "Word0", 1))));
    assert_eq!((left.len(), right.len(), shared(&left, &right)), (8, 8, 6));
}

#[test]
fn the_hashes_of_the_next_turn_begin_with_those_of_this_one() {
    let (question, answer) = (prose(3), &prose(2)[..300]);
    let mut messages = vec![("system", &question[..200]), ("user", &question[..])];
    let mut before = blocks(&chat(&messages));
    for _ in 0..4 {
        messages.extend([("assistant", answer), ("user", &question[..123])]);
        let next = blocks(&chat(&messages));
        assert!(next.len() > before.len());
        assert_eq!(shared(&before, &next), before.len());
        before = next;
    }
}

#[test]
fn images_are_hashed_by_content_and_take_their_estimated_tokens() {
    let body = |image: &str| {
        let image = json!({"type": "image_url", "image_url": {"url": image}});
        let content = json!([{"type": "text", "text": prose(1)}, image, {"type": "text", "text": prose(1)}]);
        json!({"messages": [{"role": "user", "content": content}]}).to_string()
    };
    let (left, right) =
        (blocks(&body("data:image/png;base64,AAAA")), blocks(&body("data:image/png;base64,AAAB")));
    assert_eq!((left.len(), right.len()), (10, 10), "512 tokens between two blocks");
    assert_eq!(shared(&left, &right), 1);
    assert_ne!(left[9], right[9]);
}

#[test]
fn only_the_first_prompt_of_a_batch_is_hashed() {
    let one = json!({"prompt": prose(2)}).to_string();
    let several = json!({"prompt": [prose(2), prose(5)]}).to_string();
    assert_eq!(blocks(&several), blocks(&one));
    assert_eq!(blocks(&several).len(), 2);
}

#[test]
fn only_the_beginning_of_a_very_long_prompt_is_hashed() {
    let text = prose(MAX_BLOCKS + 10);
    for prompt in
        [json!(text), json!(vec![7; 64 * (MAX_BLOCKS + 10)]), json!(format!("\n{}", "\n".repeat(5 << 20)))]
    {
        assert_eq!(blocks(&json!({"prompt": prompt}).to_string()).len(), MAX_BLOCKS);
    }
    assert_eq!(
        blocks(&json!({"prompt": text}).to_string()),
        blocks(&json!({"prompt": format!("{text}more")}).to_string())
    );
}

#[test]
fn one_changed_byte_changes_half_of_the_bits() {
    let text = prose(1);
    let hash = |text: &str| blocks(&json!({"prompt": text}).to_string())[0];
    let whole = hash(&text);
    let changed: u32 = (0..256)
        .map(|at| {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            (hash(&String::from_utf8(other).unwrap()) ^ whole).count_ones()
        })
        .sum();
    assert!((31 * 256..33 * 256).contains(&changed), "{} bits of 64", f64::from(changed) / 256.0);
}
