//! Loading never panics and stays within its limits, whatever the texts contain.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "the test reads the shipped examples")]

mod support;

use std::path::{Path, PathBuf};

use http::{HeaderMap, Method};
use pointsman_config::route::RouteRequest;
use pointsman_config::{Loaded, Options, SourceText, load, load_with_previous};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// All examples, valid and broken.
fn examples() -> Vec<String> {
    fn collect(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, texts);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).unwrap();
                texts.push((path, text));
            }
        }
    }
    let mut texts = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"), &mut texts);
    texts.sort();
    texts.into_iter().map(|(_, text)| text).collect()
}

/// Loads a text, checks the positions of problems, and queries every route table and model rule.
fn exercise(text: &str) -> Loaded {
    let loaded = load(&[SourceText::new("f.yaml", text)], &Options::default());
    // In YAML a lone carriage return also ends a line.
    let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap();
    for problem in &loaded.problems {
        assert!((1..=lines + 1).contains(&problem.line) && problem.column >= 1, "{problem}");
        assert!(!problem.message.is_empty() && !problem.fix.is_empty(), "{problem:?}");
    }
    let headers = HeaderMap::new();
    for listener in &loaded.world.listeners {
        for path in ["/", "/v1/chat", "/llama/x", "//", "/é"] {
            let request = RouteRequest {
                host: "a.chat.example.com",
                path,
                query: "a=%2",
                method: &Method::GET,
                headers: &headers,
            };
            let _ = listener.routes.find(&request, u64::MAX);
        }
    }
    for pool in &loaded.world.pools {
        let _ = pool.models.resolve(Some("assistant"), Some("overnight"), 1);
    }
    loaded
}

/// A text with some parts replaced.
fn mutated(text: &str, edits: &[(Index, Index, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (start, length, with) in edits {
        let start = start.index(chars.len() + 1);
        let end = (start + length.index(12)).min(chars.len());
        chars.splice(start..end, with.chars());
    }
    chars.into_iter().collect()
}

/// Typical mistakes of hand-written YAML.
fn pieces() -> impl Strategy<Value = String> {
    let typical = select(vec![
        "",
        " ",
        "\n",
        "\n---\n",
        "\t",
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "\"",
        "'",
        "|\n",
        "null",
        "-1",
        "1.5",
        "true",
        "!!str ",
        "#",
        "\u{feff}",
        "\r\n",
        "...\n",
        "%YAML 1.2\n",
        "<<: ",
        "é",
        "999999999999999999999",
    ]);
    prop_oneof![8 => typical.prop_map(str::to_owned), 1 => ".{0,8}".prop_map(|text: String| text)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn arbitrary_yaml_never_panics(parts in proptest::collection::vec(pieces(), 0..40)) {
        exercise(&parts.concat());
    }

    #[test]
    fn arbitrary_edits_of_the_examples_never_panic(
        which in any::<Index>(),
        edits in proptest::collection::vec((any::<Index>(), any::<Index>(), pieces()), 1..6),
    ) {
        let examples = examples();
        let text = &examples[which.index(examples.len())];
        let previous = exercise(text);
        let changed = mutated(text, &edits);
        exercise(&changed);
        let again = load_with_previous(&[SourceText::new("f.yaml", changed)], &Options::default(), &previous.objects);
        // An invalid version in between leaves no trace: the valid text gives the same world again.
        let twice = load_with_previous(&[SourceText::new("f.yaml", text.as_str())], &Options::default(), &again.objects);
        if !previous.has_errors() {
            prop_assert_eq!(format!("{:?}", twice.world), format!("{:?}", previous.world));
        }
    }

    #[test]
    fn swapped_lines_of_the_examples_never_panic(
        which in any::<Index>(),
        swaps in proptest::collection::vec((any::<Index>(), any::<Index>()), 1..4),
    ) {
        let examples = examples();
        let text = &examples[which.index(examples.len())];
        let mut lines: Vec<&str> = text.lines().collect();
        for (a, b) in &swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        exercise(&lines.join("\n"));
    }
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused() {
    #[track_caller]
    fn check(text: &str, message: &str) {
        let loaded = exercise(text);
        let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains(message)), "{lines:?}");
    }
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let alias = format!("*a{}", i - 1);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![alias; 9].join(", ")));
    }
    check(&bomb, "more than 200000 values");
    check(&format!("a: {}", "[".repeat(70)), "nested deeper than 64 levels");
    check(&format!("a: {}", "[".repeat(100_000)), "recursion limit exceeded");
    check(&"a:\n".repeat(3), "is already defined on line 1");
    check(&format!("a: \"{}\"", "x".repeat(5 << 20)), "at most 4194304 are allowed");
}

#[test]
fn problems_and_objects_are_bounded() {
    let unknown: String = (0..5_000).map(|i| format!("field{i}: 1\n")).collect();
    let loaded = exercise(&format!("apiVersion: v1\nkind: Gateway\n{unknown}"));
    assert!(loaded.problems.len() <= 101, "{}", loaded.problems.len());

    let many: String = (0..3_000)
        .map(|i| format!("---\napiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: InferenceObjective\nmetadata: {{name: o{i}}}\nspec: {{poolRef: {{name: none}}}}\n"))
        .collect();
    let options = Options { max_objects: 2_000, ..Options::default() };
    let loaded = load(&[SourceText::new("f.yaml", many)], &options);
    assert_eq!(loaded.problems.len(), options.max_problems + 1);
    assert_eq!(loaded.problems.last().unwrap().message, "1002 more problems are not shown");
}
