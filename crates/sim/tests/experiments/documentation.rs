//! `docs/simulator.md` agrees with the code.

#![expect(clippy::disallowed_methods, reason = "the test reads the documentation")]

use std::path::Path;

use pointsman_sim::experiment::explain_format;

use super::load_text;
use super::shipped::shipped;

fn guide() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulator.md");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_guide_lists_the_fields_as_the_command_does() {
    let guide = guide();
    let (_, rest) = guide.split_once("<!-- fields -->\n").unwrap();
    let (listed, _) = rest.split_once("<!-- /fields -->").unwrap();
    let expected = format!("{}\n", explain_format());
    let line = listed.lines().zip(expected.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        listed == expected,
        "replace the list by the output of simulate --explain-format; first at {line:?}"
    );
}

#[test]
fn every_experiment_in_the_guide_loads() {
    let guide = guide();
    let blocks: Vec<&str> =
        guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 4);
    for (number, block) in blocks.iter().enumerate() {
        load_text(&format!("block-{number}.yaml"), block)
            .unwrap_or_else(|problems| panic!("{block}: {problems:#?}"));
    }
}

#[test]
fn the_guide_names_every_experiment_that_ships() {
    let guide = guide();
    for (name, _) in shipped() {
        assert!(guide.contains(&format!("(../experiments/{name})")), "{name}");
    }
}
