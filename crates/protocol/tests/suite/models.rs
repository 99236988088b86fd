//! Model lists.

use pointsman_protocol::ServedModel;
use pointsman_protocol::models::{
    MAX_LIST_BYTES, MAX_MODELS, ModelListError, merge_models, parse_models, render_models,
};
use serde_json::{Value, json};

use crate::recorded;

#[test]
fn a_recorded_list_is_parsed() {
    let models = parse_models(&recorded::exchange("models-with-loaded-adapter").response_body).unwrap();
    let told: Vec<_> = models
        .iter()
        .map(|model| (model.id.as_str(), model.parent.as_deref(), model.max_model_len))
        .collect();
    assert_eq!(
        told,
        [
            ("tiny", None, Some(4096)),
            ("tiny-lora-a", Some("tiny"), None),
            ("tiny-lora-b", Some("tiny"), None)
        ]
    );
}

#[test]
fn invalid_lists_are_refused() {
    for body in [&b""[..], b"{}", b"[]", b"{\"data\":[{}]}", b"{\"data\":[{\"id\":5}]}", b"<html>"] {
        assert!(matches!(parse_models(body), Err(ModelListError::Malformed { .. })));
    }
    let long = vec![b' '; MAX_LIST_BYTES + 1];
    assert_eq!(parse_models(&long), Err(ModelListError::TooLong { limit: MAX_LIST_BYTES }));
}

#[test]
fn a_field_of_an_unexpected_type_costs_neither_its_model_nor_the_list() {
    let body = json!({"data": [
        {"id": "float", "created": 1_700_000_000.75, "max_model_len": 4096.0},
        {"id": "text", "created": "2024-01-01", "max_model_len": "4096", "owned_by": ["x"], "root": {}},
        {"id": "negative", "created": -1, "parent": []},
        {"id": 7},
        "text",
    ]});
    let float = ServedModel {
        created: Some(1_700_000_000),
        max_model_len: Some(4096),
        ..ServedModel::named("float")
    };
    let expected = vec![float, ServedModel::named("text"), ServedModel::named("negative")];
    assert_eq!(parse_models(body.to_string().as_bytes()), Ok(expected));
}

#[test]
fn entries_beyond_the_bounds_are_dropped() {
    let long = "x".repeat(2_000);
    let body = json!({"data": [{"id": ""}, {"id": long}, {"id": "kept"}]}).to_string();
    assert_eq!(parse_models(body.as_bytes()), Ok(vec![ServedModel::named("kept")]));
    let many: Vec<_> = (0..MAX_MODELS + 5).map(|index| ServedModel::named(format!("m{index}"))).collect();
    assert_eq!(parse_models(&render_models(&many)).unwrap().len(), MAX_MODELS);
    assert_eq!(merge_models(many).len(), MAX_MODELS);
}

#[test]
fn lists_are_merged_by_id_and_sorted() {
    let long = ServedModel { max_model_len: Some(8192), ..ServedModel::named("b") };
    let short =
        ServedModel { max_model_len: Some(4096), root: Some("r".to_owned()), ..ServedModel::named("b") };
    let merged = merge_models([long, ServedModel::named("c"), short.clone(), ServedModel::named("a")]);
    assert_eq!(merged, [ServedModel::named("a"), short, ServedModel::named("c")]);
}

#[test]
fn lists_are_rendered_as_clients_expect() {
    let model = ServedModel {
        created: Some(7),
        owned_by: Some("vllm".to_owned()),
        max_model_len: Some(4096),
        ..ServedModel::named("a")
    };
    let list: Value = serde_json::from_slice(&render_models(std::slice::from_ref(&model))).unwrap();
    let entry = json!({
        "id": "a", "object": "model", "created": 7, "owned_by": "vllm",
        "root": null, "parent": null, "max_model_len": 4096,
    });
    assert_eq!(list, json!({"object": "list", "data": [entry]}));
    let one: Value = serde_json::from_slice(&model.render()).unwrap();
    assert_eq!(one, entry);
    let unknown: Value = serde_json::from_slice(&ServedModel::named("a").render()).unwrap();
    assert_eq!((&unknown["created"], &unknown["owned_by"]), (&json!(0), &json!("pointsman")));
}
