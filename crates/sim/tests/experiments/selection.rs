//! Selection of other placements and seeds for an experiment.

use pointsman_sim::Routing;
use pointsman_sim::experiment::Experiment;

use super::load_text;

fn experiment() -> Experiment {
    let text = "fleet: [{profile: llama-3-8b-h100}]\nworkload: {lengths: sharegpt}\nrates: [1]\nseeds: [5, 9]\n\
        information: {networkDelay: 1ms}\nbaseline: tree\nbounds: [pooled-cache]\n\
        placements: [random, {name: filter-tree, label: tree, information: {scrapeEvery: 50ms}}, pointsman]";
    load_text("test.yaml", text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn names(experiment: &Experiment) -> Vec<&str> {
    experiment.arms.iter().map(|arm| &*arm.name).collect()
}

#[test]
fn arms_are_in_order_and_have_their_information() {
    let experiment = experiment();
    assert_eq!(names(&experiment), ["random", "tree", "pointsman", "pooled-cache"]);
    assert_eq!(experiment.baseline, 1);
    for arm in &experiment.arms {
        let information = experiment.scenario(arm).information;
        assert_eq!(information.network_delay.as_micros(), 1_000);
        let fast = information.scrape_every.is_some_and(|every| every.as_millis() == 50);
        assert_eq!(fast, *arm.name == *"tree");
    }
}

#[test]
fn placements_are_selected_by_label_or_added_by_name() {
    #[track_caller]
    fn check(chosen: &[&str], expected: Result<(&[&str], usize), &str>) {
        let mut experiment = experiment();
        let chosen: Vec<String> = chosen.iter().map(|&name| name.to_owned()).collect();
        match (experiment.select(&chosen), expected) {
            (Ok(()), Ok((names_left, baseline))) => {
                assert_eq!((names(&experiment), experiment.baseline), (names_left.to_vec(), baseline));
                assert_eq!(experiment.arms[0].information.network_delay.as_micros(), 1_000);
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error}");
                assert_eq!(names(&experiment).len(), 4);
            }
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }
    check(&["pointsman", "tree"], Ok((&["pointsman", "tree"], 1)));
    check(&["pointsman", "random"], Ok((&["pointsman", "random"], 0)));
    check(&["lpwl", "tree", "lpwl"], Ok((&["lpwl", "tree"], 1)));
    check(&["pooled-cache", "pointsman"], Ok((&["pooled-cache", "pointsman"], 1)));
    check(&["filter-tree"], Ok((&["filter-tree"], 0)));
    check(&["pointsmann"], Err("there is no placement \"pointsmann\""));
    check(&["pooled-cache"], Err("only bounds"));
}

#[test]
fn more_seeds_are_added_after_those_of_the_file() {
    let mut experiment = experiment();
    experiment.set_seeds(4);
    assert_eq!(experiment.seeds, [5, 9, 10, 11]);
    experiment.set_seeds(1);
    assert_eq!(experiment.seeds, [5]);
}

#[test]
fn every_placement_and_bound_has_a_unique_name() {
    let names: Vec<&str> = Routing::all().map(|routing| routing.name()).collect();
    for name in &names {
        assert_eq!(Routing::named(name).map(|routing| routing.name()), Some(*name));
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    assert_eq!(Routing::named("nobody"), None);
}
