//! The messages against bytes that Envoy's full definitions encoded.
#![allow(clippy::unwrap_used, reason = "tests")]

use pointsman_extproc::wire::{Event, ProcessingRequest, ProcessingResponse};
use prost::Message as _;

const PROMPT_MARK: &str = "model";

fn request(bytes: &[u8]) -> ProcessingRequest {
    ProcessingRequest::decode(bytes).unwrap()
}

/// Encoded messages equal those of Envoy's definitions byte for byte: field numbers, types and order.
fn check_response(bytes: &[u8]) {
    let response = ProcessingResponse::decode(bytes).unwrap();
    assert!(response.response.is_some(), "{response:?}");
    assert_eq!(response.encode_to_vec(), bytes, "{response:?}");
}

/// Decoded messages have all fields except the undeclared ones.
fn check_request(bytes: &[u8]) {
    let request = request(bytes);
    assert!(request.request.is_some(), "{request:?}");
    assert_eq!(request.encode_to_vec(), bytes, "{request:?}");
}

#[test]
fn responses_are_encoded_as_by_envoys_definitions() {
    check_response(include_bytes!("fixtures/headers_response.bin"));
    check_response(include_bytes!("fixtures/body_streamed.bin"));
    check_response(include_bytes!("fixtures/body_whole.bin"));
    check_response(include_bytes!("fixtures/trailers_response.bin"));
    check_response(include_bytes!("fixtures/immediate.bin"));
}

#[test]
fn requests_are_decoded_as_by_envoys_definitions() {
    check_request(include_bytes!("fixtures/response_headers.bin"));
    check_request(include_bytes!("fixtures/request_body.bin"));
    check_request(include_bytes!("fixtures/response_body.bin"));
    check_request(include_bytes!("fixtures/request_trailers.bin"));
    check_request(include_bytes!("fixtures/response_trailers.bin"));
}

#[test]
fn a_first_message_has_headers_modes_and_metadata() {
    let first = request(include_bytes!("fixtures/request_headers.bin"));
    let config = first.protocol_config.unwrap();
    assert_eq!((config.request_body_mode, config.response_body_mode), (4, 2));
    assert!(config.send_body_without_waiting_for_header_response);
    assert!(first.observability_mode);
    let metadata = first.metadata().unwrap().unwrap();
    let Some(Event::RequestHeaders(headers)) = first.request else { panic!("no headers") };
    assert!(headers.end_of_stream);
    let fields = headers.headers.unwrap().headers;
    let values: Vec<(&str, &[u8])> =
        fields.iter().map(|field| (field.key.as_str(), field.bytes().as_ref())).collect();
    assert_eq!(
        values,
        [
            (":method", b"POST".as_slice()),
            (":path", b"/v1/chat/completions"),
            ("x-odd", b"\xff\xfe"),
            ("old", b"plain"),
        ]
    );
    let hint = pointsman_extproc::SubsetHint::read(&metadata).unwrap();
    assert!(hint.contains("10.0.0.1", 8000) && hint.contains("fd00::1", 8000));
    assert_eq!(metadata.filter_metadata["envoy.lb.subset_hint"].fields.len(), 5);
}

#[test]
fn debug_output_has_no_body_and_no_header_value() {
    let body = request(include_bytes!("fixtures/request_body.bin"));
    assert!(!format!("{body:?}").contains(PROMPT_MARK), "{body:?}");
    let headers = request(include_bytes!("fixtures/request_headers.bin"));
    assert!(!format!("{headers:?}").contains("chat"), "{headers:?}");
    let response = ProcessingResponse::decode(&include_bytes!("fixtures/body_whole.bin")[..]).unwrap();
    assert!(!format!("{response:?}").contains("abc"), "{response:?}");
}

#[test]
fn invalid_bytes_are_an_error() {
    assert!(ProcessingRequest::decode(&b"\xff\xff\xff"[..]).is_err());
    assert!(ProcessingRequest::decode(&include_bytes!("fixtures/request_headers.bin")[..20]).is_err());
}
