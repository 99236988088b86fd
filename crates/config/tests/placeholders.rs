//! Files as people have them before they are manifests: templates, variables, joined and converted files.

mod support;

use pointsman_config::{Options, load};
use support::{GATEWAY, check_problems as check, load_text, pool, problems, route, to};

const YAML: &str = "check indentation, quotes and brackets here and on the line before";

/// The problems of one document, without their positions.
#[track_caller]
fn fixes(text: &str, expected: &[&str]) {
    let found = problems(text);
    let found: Vec<&str> = found.iter().filter(|line| line.contains("error")).map(String::as_str).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, fix) in found.iter().zip(expected) {
        assert!(line.contains(&format!("(fix: {fix})")), "{line}");
    }
}

#[test]
fn templates_and_variables_are_to_be_rendered_first() {
    let template = "render the template first, as by `helm template`";
    let pool = "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\n";
    fixes(&format!("{pool}metadata:\n  name: {{{{ .Release.Name }}}}\n"), &[template]);
    fixes(&format!("{{{{- if .Values.enabled }}}}\n{pool}{{{{- end }}}}\n"), &[template]);
    fixes(
        &format!("{pool}metadata: {{name: ${{NAME}}}}\n"),
        &["replace the variables first, as by `envsubst`"],
    );
    // Braces of another kind leave the usual advice.
    fixes("a: {b: {c: [1}}\n", &[YAML]);
}

#[test]
fn joined_files_say_what_separates_objects() {
    let object = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n";
    let between = "write a line `---` between objects, or remove one of the two";
    fixes(&format!("{object}{object}"), &[between, between, "remove one of the two"]);
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"x\"}}\n";
    fixes(&format!("{json}{json}"), &["write a line `---` between documents"]);
    check(
        "[{apiVersion: v1, kind: Service}]",
        &[
            "f.yaml:1:1: error: object: is a list of objects (fix: write them below `items:` of a List, or after lines `---`)",
        ],
    );
}

#[test]
fn byte_order_marks_of_joined_files_are_skipped() {
    let set = format!(
        "\u{feff}{GATEWAY}\u{feff}{}{}",
        pool("p", 8000).replace("---\n", "---\r\n\u{feff}"),
        route("r", &format!("  rules: [{{backendRefs: [{}]}}]", to("p")))
    );
    let loaded = load_text(&set);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert_eq!(loaded.objects.len(), 4);
}

#[test]
fn a_folder_without_manifests_says_which_files_are_read() {
    let found = load(&[], &Options::default()).problems;
    assert_eq!(
        found[0].to_string(),
        "manifests:1:1: error: there is no file *.yaml, *.yml or *.json; those of subfolders are not read (fix: write a Gateway, an HTTPRoute, an InferencePool and an EndpointSlice)"
    );
}

#[test]
fn a_number_is_only_unquoted_where_it_is_one() {
    let policy = |rest: &str| {
        format!(
            "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\nspec: {{poolRef: {{name: p}}, {rest}}}\n"
        )
    };
    check(
        &policy("saturation: {waiting: 5.5, kvUse: \"0.5\"}, retryBudget: {ratio: 20%, minPerSecond: \"1\"}"),
        &[
            "f.yaml:4:50: error: PoolPolicy default/p: spec.saturation.waiting: expects an integer, found the number 5.5 (fix: write an integer)",
            "f.yaml:4:62: error: PoolPolicy default/p: spec.saturation.kvUse: expects a number, found the string \"0.5\" (fix: write a number without quotes)",
            "f.yaml:4:91: error: PoolPolicy default/p: spec.retryBudget.ratio: expects a number, found the string \"20%\" (fix: write a number)",
            "f.yaml:4:110: error: PoolPolicy default/p: spec.retryBudget.minPerSecond: expects an integer, found the string \"1\" (fix: write a number without quotes)",
        ],
    );
}

#[test]
fn a_wrong_annotation_of_static_endpoints_is_one_mistake() {
    let slice = pool("q", 1).split_once("---\n").map_or(String::new(), |(_, slice)| slice.to_owned());
    check(
        &slice.replace("\"true\"", "true"),
        &[
            "f.yaml:1:1: warning: EndpointSlice default/q: no InferencePool of its namespace selects its labels, so its endpoints are not used (fix: add the labels of a pool's selector)",
            "f.yaml:3:85: error: EndpointSlice default/q: metadata.annotations[\"pointsman.dev/static-endpoints\"]: expects a string, found the boolean true (fix: put it in quotes)",
        ],
    );
}

#[test]
fn no_message_repeats_what_may_be_a_key() {
    for text in [
        "hf_aKeyOfSomebody\n",
        "-----BEGIN PRIVATE KEY-----\nhf_aKey\n-----END PRIVATE KEY-----\n",
        "API_KEY=hf_aKey\n",
    ] {
        let found = problems(text);
        assert!(!found.is_empty() && found.iter().all(|line| !line.contains("hf_a")), "{found:?}");
    }
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {token: hf_aKey}\n";
    assert!(problems(secret).iter().all(|line| !line.contains("hf_a")));
}
