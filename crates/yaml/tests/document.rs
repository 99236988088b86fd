//! Reading of files that hold one document.

use std::time::Duration;

use pointsman_yaml::{Field, Limits, Problem, SourceText, read_document};

/// Reads `name` (required), `pause` and `retries` (at least one).
fn read_settings(root: &Field<'_>) -> Option<(String, Duration, Vec<i64>)> {
    root.fields(|fields| {
        let name = fields.required_value("name", "write name: chat", |f| f.text_up_to(8));
        let pause = fields.value_or("pause", Duration::from_secs(1), Field::duration);
        let retries = fields.get("retries");
        let retries = retries.map(|f| f.non_empty_list(3, "write [1]", |item| item.integer(0..=9)));
        if let Some(field) = fields.get("legacy") {
            field.warn("has no effect", "remove it");
        }
        Some((name?.to_owned(), pause, retries.unwrap_or_default()))
    })?
}

/// Checks the number of warnings of a valid text, or the problems of an invalid one.
#[track_caller]
fn check(text: &str, expected: Result<usize, &[&str]>) {
    let read = read_document(&SourceText::new("f", text), &Limits::default(), "", read_settings);
    let lines = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    let found: Result<usize, Vec<String>> = read.map(|(_, warnings)| warnings.len()).map_err(lines);
    let expected = expected.map_err(|lines| lines.iter().copied().map(str::to_owned).collect());
    assert_eq!(found, expected, "{text}");
}

#[test]
fn a_valid_document_is_read_with_its_warnings() {
    check("name: chat\npause: 1.5s\nretries: [1, 2]\n", Ok(0));
    check("name: chat\nlegacy: 1\n", Ok(1));
    check("---\n# comment\n---\nname: \"1\"\npause: null\n", Ok(0));
}

#[test]
fn every_mistake_is_reported_in_order_of_position() {
    check(
        "retries: [1, x, 11]\npause: 5\nnmae: chat\nlegacy: 1\n",
        Err(&[
            "f:1:1: error: name: is missing (fix: write name: chat)",
            "f:1:14: error: retries[1]: expects an integer, found the string \"x\" (fix: write an integer)",
            "f:1:17: error: retries[2]: is 11, outside 0 to 9 (fix: write a number from 0 to 9)",
            "f:2:8: error: pause: \"5\" is not a duration (fix: write it like 250us, 500ms, 1.5s or 1m30s)",
            "f:3:1: error: nmae: is not a known field (fix: remove it; known fields are name, pause, retries, legacy)",
            "f:4:9: warning: legacy: has no effect (fix: remove it)",
        ]),
    );
    check("name: chat\nretries: []\n", Err(&["f:2:10: error: retries: is empty (fix: write [1])"]));
}

#[test]
fn a_file_holds_exactly_one_document() {
    check("# nothing\n", Err(&["f:1:1: error: the file is empty (fix: write its fields)"]));
    let second = "f:3:1: error: a second document starts here (fix: keep one document per file)";
    check("name: a\n---\nname: b\n", Err(&[second]));
}
