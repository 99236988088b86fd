//! Scanning of valid and invalid request bodies.

use pointsman_protocol::{Api, BodyError, BodyFacts, PromptSpan, Route, SpanKind};

fn scan(body: &str) -> BodyFacts {
    BodyFacts::scan(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn model(body: &str) -> Option<String> {
    scan(body).model
}

/// The spans of the prompt with their bytes in the body.
fn spans<'a>(body: &'a str, facts: &BodyFacts) -> Vec<(SpanKind, &'a str)> {
    facts.prompt.spans.iter().map(|PromptSpan { range, kind, .. }| (*kind, &body[range.clone()])).collect()
}

#[test]
fn every_recorded_inference_body_is_scanned() {
    let mut read = 0;
    for exchange in crate::recorded::exchanges() {
        let Route::Inference(api) = Api::of(&exchange.method, &exchange.path) else { continue };
        if matches!(exchange.name.as_str(), "error-not-json" | "error-empty-body") {
            assert!(BodyFacts::scan(&exchange.request_body).is_err(), "{}", exchange.name);
            continue;
        }
        let facts = BodyFacts::scan_as(api, &exchange.request_body).unwrap();
        let tree: serde_json::Value = serde_json::from_slice(&exchange.request_body).unwrap();
        assert_eq!(facts.model.as_deref(), tree["model"].as_str(), "{}", exchange.name);
        assert_eq!(facts.stream, tree["stream"] == true, "{}", exchange.name);
        assert_eq!(facts.include_usage, tree["stream_options"]["include_usage"] == true, "{}", exchange.name);
        let told = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .find_map(|field| tree[field].as_u64())
            .or_else(|| tree["sampling_params"]["max_tokens"].as_u64());
        assert_eq!(facts.max_tokens.map(u64::from), told, "{}", exchange.name);
        if !exchange.name.starts_with("error-no-messages") {
            assert!(facts.estimated_prompt_tokens() > 0, "{} ({})", exchange.name, api.name());
        }
        read += 1;
    }
    assert!(read > 30, "only {read} recorded bodies were read");
}

#[test]
fn the_model_is_the_top_level_string_in_any_spelling() {
    for (body, expected) in [
        (r#"{"model":"a"}"#, Some("a")),
        (" \r\n\t{ \"model\" : \"a\" } \n", Some("a")),
        (r#"{"mod\u0065l":"a"}"#, Some("a")),
        (r#"{"\u006D\u006f\u0064\u0065\u006C":"a"}"#, Some("a")),
        (r#"{"model":"a\/b\u00e9\ud83d\ude00"}"#, Some("a/bé😀")),
        (r#"{"model":"\"\\\b\f\n\r\t"}"#, Some("\"\\\u{8}\u{c}\n\r\t")),
        (r#"{"prompt":"\"model\":\"b\""}"#, None),
        (r#"{"prompt":"{\"model\":\"b\"}","model":"a"}"#, Some("a")),
        (r#"{"metadata":{"model":"b"},"model":"a","extra":[{"model":"c"}]}"#, Some("a")),
        (r#"{"metadata":{"model":1}}"#, None),
        (r#"{"Model":"a"}"#, None),
        (r#"{"model\u0000":"a"}"#, None),
        (r#"{"mod\ud800el":"a"}"#, None),
        (r#"{"":1,"model":""}"#, None),
        (r#"{"model":null}"#, None),
        ("\u{feff}{\"model\":\"a\"}", Some("a")),
        ("{}", None),
    ] {
        assert_eq!(model(body).as_deref(), expected, "{body}");
    }
}

#[test]
fn the_model_span_is_its_string_with_quotes() {
    for body in [r#"{"model":"a"}"#, r#"{"prompt":"é", "mod\u0065l" :  "x\u0041" ,"n":1}"#] {
        let facts = scan(body);
        let value: String = serde_json::from_str(&body[facts.model_slot.range.clone()]).unwrap();
        assert_eq!(Some(value), facts.model, "{body}");
    }
}

#[test]
fn invalid_bodies_are_refused_with_the_offset() {
    let syntax = |offset, expected| BodyError::Syntax { offset, expected };
    for (body, error) in [
        (&b""[..], BodyError::UnexpectedEnd { offset: 0 }),
        (b"   ", BodyError::UnexpectedEnd { offset: 3 }),
        (b"{", BodyError::UnexpectedEnd { offset: 1 }),
        (b"{\"model\":\"ti", BodyError::UnexpectedEnd { offset: 12 }),
        (b"{\"model\":\"tiny\"", BodyError::UnexpectedEnd { offset: 15 }),
        (b"{\"a\":\"\\u12", BodyError::UnexpectedEnd { offset: 10 }),
        (b"not json", syntax(1, "`true`, `false` or `null`")),
        (b"model=tiny", syntax(0, "a value")),
        (b"{'model':1}", syntax(1, "a key")),
        (b"{\"a\" 1}", syntax(5, "`:`")),
        (b"{\"a\":1,}", syntax(7, "a key")),
        (b"{\"a\":[1,]}", syntax(8, "a value")),
        (b"{\"a\":[1 2]}", syntax(8, "`,` or `]`")),
        (b"{\"a\":1 \"b\":2}", syntax(7, "`,` or `}`")),
        (b"{\"a\":NaN}", syntax(5, "a value")),
        (b"{\"a\":01}", syntax(6, "`,` or `}`")),
        (b"{\"a\":1.}", syntax(7, "a digit")),
        (b"{\"a\":-}", syntax(6, "a digit")),
        (b"{\"a\":1e}", syntax(7, "a digit")),
        (b"{\"a\":+1}", syntax(5, "a value")),
        (b"{\"a\":tru}", syntax(8, "`true`, `false` or `null`")),
        (b"{\"a\":\"\n\"}", BodyError::ControlCharacter { offset: 6 }),
        (b"{\"a\":\"\\x\"}", BodyError::InvalidEscape { offset: 6 }),
        (b"{\"a\":\"\\u12g4\"}", BodyError::InvalidEscape { offset: 6 }),
        (b"{\"a\":\"\xff\"}", BodyError::InvalidUtf8 { offset: 6 }),
        (b"{\"a\":\"\xc3\"}", BodyError::InvalidUtf8 { offset: 6 }),
        (b"{\"a\":\"\xed\xa0\x80\"}", BodyError::InvalidUtf8 { offset: 6 }),
        (b"{\"\xff\":1}", BodyError::InvalidUtf8 { offset: 2 }),
        (b"{} {}", BodyError::TrailingBytes { offset: 3 }),
        (b"{\"model\":\"a\"}x", BodyError::TrailingBytes { offset: 13 }),
        (b"{}\0", BodyError::TrailingBytes { offset: 2 }),
        (b"[]", BodyError::NotAnObject),
        (b"\"model\"", BodyError::NotAnObject),
        (b"1", BodyError::NotAnObject),
        (b"null", BodyError::NotAnObject),
        (b"{\"model\":1}", BodyError::ModelNotAString { offset: 9 }),
        (b"{\"model\": {\"model\":\"a\"}}", BodyError::ModelNotAString { offset: 10 }),
        (b"{\"model\":\"\\ud800\"}", BodyError::InvalidEscape { offset: 9 }),
        (b"{\"model\":\"\\ud800\\u0041\"}", BodyError::InvalidEscape { offset: 9 }),
        (b"{\"model\":\"a\",\"model\":\"a\"}", BodyError::DuplicateField { field: "model", offset: 13 }),
        (
            b"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}",
            BodyError::DuplicateField { field: "model", offset: 13 },
        ),
        (b"{\"stream\":true,\"stream\":false}", BodyError::DuplicateField { field: "stream", offset: 15 }),
        (b"{\"prompt\":\"a\",\"prompt\":\"b\"}", BodyError::DuplicateField { field: "prompt", offset: 14 }),
    ] {
        assert_eq!(BodyFacts::scan(body), Err(error), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn control_characters_are_refused_at_every_position_of_a_string() {
    for byte in 0..0x20_u8 {
        for place in [0, 3, 7, 8, 31, 32, 40, 63, 64, 150] {
            let mut body = format!("{{\"a\":\"{}\"}}", "x".repeat(160)).into_bytes();
            body[6 + place] = byte;
            let error = BodyError::ControlCharacter { offset: 6 + place };
            assert_eq!(BodyFacts::scan(&body), Err(error), "{byte:#x} at {place}");
        }
    }
}

#[test]
fn invalid_utf8_is_refused_at_every_position_of_a_string() {
    for length in [1, 7, 8, 9, 31, 32, 33, 64, 100, 161] {
        for place in 0..length {
            let mut body = format!("{{\"a\":\"{}\"}}", "x".repeat(length)).into_bytes();
            body[6 + place] = 0xff;
            let error = BodyError::InvalidUtf8 { offset: 6 + place };
            assert_eq!(BodyFacts::scan(&body), Err(error), "{place} of {length}");
        }
    }
}

#[test]
fn duplicates_of_other_fields_are_accepted() {
    assert_eq!(model(r#"{"seed":1,"seed":2,"model":"a"}"#).as_deref(), Some("a"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{{\"model\":\"a\",\"x\":{}1{}}}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(BodyFacts::scan(nested(open, close, 100).as_bytes()).is_ok());
        assert!(BodyFacts::scan(nested(open, close, 127).as_bytes()).is_ok());
        for levels in [128, 10_000] {
            let error = BodyFacts::scan(nested(open, close, levels).as_bytes()).unwrap_err();
            assert!(matches!(error, BodyError::TooDeep { limit: 128, .. }), "{levels}: {error}");
        }
        let open_only = BodyFacts::scan(open.repeat(100_000).as_bytes()).unwrap_err();
        assert!(matches!(open_only, BodyError::TooDeep { .. }), "{open_only}");
    }
}

#[test]
fn stored_fields_are_bounded() {
    for (field, limit) in [("model", 1024), ("previous_response_id", 512), ("cache_salt", 4096)] {
        let body = |length: usize| format!("{{\"{field}\":\"{}\"}}", "a".repeat(length));
        assert!(BodyFacts::scan(body(limit).as_bytes()).is_ok(), "{field}");
        let error = BodyFacts::scan(body(limit + 1).as_bytes()).unwrap_err();
        assert_eq!(error.param(), Some(field));
        assert!(matches!(error, BodyError::FieldTooLong { .. }), "{error}");
    }
}

#[test]
fn scalar_facts_are_read() {
    let facts = scan(
        r#"{"stream":true,"stream_options":{"include_usage":true,"x":[]},"n":3,"store":false,
        "background":true,"previous_response_id":"resp_1","cache_salt":"pepper","max_tokens":7}"#,
    );
    assert!(facts.stream && facts.include_usage && facts.background);
    assert_eq!((facts.n, facts.store, facts.max_tokens), (3, Some(false), Some(7)));
    assert_eq!(facts.previous_response_id.as_deref(), Some("resp_1"));
    assert_eq!(facts.cache_salt.map(|salt| salt.as_bytes().to_vec()), Some(b"pepper".to_vec()));
}

#[test]
fn values_of_the_wrong_type_count_as_absent() {
    let facts = scan(
        r#"{"stream":"yes","stream_options":null,"n":null,"store":"no","previous_response_id":5,
        "cache_salt":{},"max_tokens":-1,"sampling_params":[1],"prompt":true,"messages":7,"tools":null}"#,
    );
    let mut expected = scan("{}");
    expected.prompt.prompts = facts.prompt.prompts;
    expected.model_slot = facts.model_slot.clone();
    assert_eq!(facts, expected);
}

#[test]
fn max_tokens_is_read_under_each_name() {
    for (body, expected) in [
        (r#"{"max_tokens":5}"#, Some(5)),
        (r#"{"max_completion_tokens":5}"#, Some(5)),
        (r#"{"max_output_tokens":5}"#, Some(5)),
        (r#"{"max_tokens":9,"max_completion_tokens":5}"#, Some(5)),
        (r#"{"max_completion_tokens":5,"max_tokens":9}"#, Some(5)),
        (r#"{"sampling_params":{"max_new_tokens":5,"n":2}}"#, Some(5)),
        (r#"{"sampling_params":{"max_tokens":5}}"#, Some(5)),
        (r#"{"max_tokens":5.5}"#, None),
        (r#"{"max_tokens":99999999999}"#, None),
        (r#"{"max_tokens":"5"}"#, None),
        (r#"{"metadata":{"max_tokens":5}}"#, None),
    ] {
        assert_eq!(scan(body).max_tokens, expected, "{body}");
    }
}

#[test]
fn prompts_are_counted_in_the_form_of_each_api() {
    // Body, prompts, bytes of text, token ids, images.
    for (body, expected) in [
        (r#"{"prompt":"four"}"#, (1, 4, 0, 0)),
        (r#"{"prompt":["one","three"]}"#, (2, 8, 0, 0)),
        (r#"{"prompt":[1,2,3]}"#, (1, 0, 3, 0)),
        (r#"{"prompt":[[1,2,3],[4]]}"#, (2, 0, 4, 0)),
        (r#"{"prompt":[]}"#, (0, 0, 0, 0)),
        (r#"{"prompt":"a\n\u00e9\ud83d\ude00"}"#, (1, 8, 0, 0)),
        (r#"{"input":"four"}"#, (1, 4, 0, 0)),
        (r#"{"input":["one","two"]}"#, (2, 6, 0, 0)),
        (r#"{"messages":[{"role":"user","content":"four"}]}"#, (1, 4, 0, 0)),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"four"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#,
            (1, 4, 0, 1),
        ),
        (
            r#"{"instructions":"ab","input":[{"role":"user","content":[{"type":"input_text","text":"cd"}]},
            {"type":"function_call_output","output":"ef"}]}"#,
            (1, 6, 0, 0),
        ),
        (
            r#"{"system":[{"type":"text","text":"ab"}],"messages":[{"role":"user","content":[
            {"type":"tool_result","content":[{"type":"text","text":"cd"}]},
            {"type":"image","source":{"type":"base64","data":"AAAA"}}]}]}"#,
            (1, 4, 0, 1),
        ),
        (r#"{"text":["a","b"],"sampling_params":{}}"#, (2, 2, 0, 0)),
        (r#"{"input_ids":[[1,2],[3]]}"#, (2, 0, 3, 0)),
        (r#"{"token_ids":[1,2,3,4]}"#, (1, 0, 4, 0)),
        (r#"{"text":"a","image_data":"AAAA"}"#, (1, 1, 0, 1)),
        (r#"{"tokens":[1,2]}"#, (1, 0, 2, 0)),
        (r#"{"query":"ab","documents":["cd",{"text":"ef"}]}"#, (2, 6, 0, 0)),
        (r#"{"texts":["ab","cd"]}"#, (2, 4, 0, 0)),
        (r#"{"documents":["ab","cd"],"messages":[{"content":"ef"}]}"#, (1, 6, 0, 0)),
        (r#"{"text_1":"ab","text_2":["cd","ef"]}"#, (2, 6, 0, 0)),
        (r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[]}]}"#, (1, 2, 0, 0)),
    ] {
        let prompt = scan(body).prompt;
        let counts = (prompt.prompts, prompt.text_bytes, prompt.token_ids, prompt.images);
        assert_eq!(counts, expected, "{body}");
    }
}

#[test]
fn fields_that_the_api_does_not_read_claim_nothing() {
    let images = vec![r#"{"image":1}"#; 1_000].join(",");
    let unused = format!(r#""text":[{images}],"input_ids":[1,2,3],"documents_":1,"query":"x","#);
    for (api, own) in [
        (Api::Completions, r#""prompt":"four""#),
        (Api::ChatCompletions, r#""messages":[{"content":"four"}]"#),
        (Api::Responses, r#""input":"four""#),
        (Api::Messages, r#""messages":[{"content":"four"}],"system":"""#),
        (Api::Embeddings, r#""input":["four"]"#),
    ] {
        let facts = BodyFacts::scan_as(api, format!("{{{unused}{own}}}").as_bytes()).unwrap();
        assert_eq!(facts.estimated_prompt_tokens(), 1, "{}", api.name());
        assert!(facts.prompt.spans.len() <= 2, "they are not hashed either");
    }
    let generate = BodyFacts::scan_as(Api::Generate, br#"{"input_ids":[1,2,3],"messages":"xxxx"}"#).unwrap();
    assert_eq!(generate.estimated_prompt_tokens(), 3);
}

#[test]
fn media_are_strings_objects_or_lists() {
    for (image, expected) in
        [("1", 0), ("true", 0), ("null", 0), (r#""http://x/y.png""#, 1), (r#"{"url":"x"}"#, 1)]
    {
        let body = format!(r#"{{"messages":[{{"content":[{{"image_url":{image}}}]}}]}}"#);
        assert_eq!(scan(&body).prompt.images, expected, "{body}");
    }
}

#[test]
fn prompt_spans_are_in_template_order() {
    let body = r#"{"messages":[{"role":"system","content":"first"},{"role":"user","content":[
        {"type":"text","text":"second"},{"type":"image_url","image_url":"x"}]}],"model":"m","tools":[1]}"#;
    assert_eq!(
        spans(body, &scan(body)),
        [
            (SpanKind::Json, "[1]"),
            (SpanKind::Role, "system"),
            (SpanKind::Text, "first"),
            (SpanKind::Role, "user"),
            (SpanKind::Text, "second"),
            (SpanKind::Media, "\"x\""),
        ]
    );
    let body = r#"{"messages":[{"content":"b","role":"user"},{}],"system":"a"}"#;
    assert_eq!(
        spans(body, &scan(body)),
        [(SpanKind::Text, "a"), (SpanKind::Role, "user"), (SpanKind::Text, "b"), (SpanKind::Role, "")]
    );
    let body = r#"{"prompt":[[1,2],"x"]}"#;
    let facts = scan(body);
    assert_eq!(spans(body, &facts), [(SpanKind::TokenIds, "[1,2]"), (SpanKind::Text, "x")]);
    assert_eq!(facts.prompt.spans.iter().map(|span| span.prompt).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn spans_are_bounded_and_counts_are_not() {
    let pieces = 40_000;
    let body = format!("{{\"prompt\":[{}\"a\"]}}", "\"a\",".repeat(pieces - 1));
    let prompt = scan(&body).prompt;
    assert_eq!(prompt.spans.len(), pointsman_protocol::MAX_PROMPT_SPANS);
    assert_eq!((prompt.text_bytes, prompt.prompts), (40_000, 40_000));
}

#[test]
fn estimates_count_bytes_of_text_and_token_ids() {
    for (body, tokens) in [
        (r#"{"prompt":"12345678"}"#, 2),
        (r#"{"prompt":"123456789"}"#, 3),
        (r#"{"prompt":[7,8,9]}"#, 3),
        ("{}", 0),
    ] {
        assert_eq!(scan(body).estimated_prompt_tokens(), tokens, "{body}");
    }
}

#[test]
fn facts_and_errors_do_not_print_the_prompt() {
    let body = r#"{"model":"m","prompt":"MARKER","cache_salt":"MARKER","messages":[{"content":"MARKER"}]}"#;
    assert!(!format!("{:?}", scan(body)).contains("MARKER"));
    for bad in [r#"{"prompt":"MARKER" "MARKER"}"#, r#"{"prompt":"MARKER","prompt":"MARKER"}"#, "MARKER"] {
        let error = BodyFacts::scan(bad.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("MARKER"), "{error}");
    }
}

#[test]
fn only_requests_without_stored_state_are_stateless() {
    for (api, body, expected) in [
        (Api::Completions, "{}", true),
        (Api::ChatCompletions, r#"{"store":true}"#, true),
        (Api::Messages, "{}", true),
        (Api::Generate, "{}", true),
        (Api::Responses, "{}", false),
        (Api::Responses, r#"{"store":true}"#, false),
        (Api::Responses, r#"{"store":null}"#, false),
        (Api::Responses, r#"{"store":false}"#, true),
        (Api::Responses, r#"{"store":false,"background":true}"#, false),
        (Api::Responses, r#"{"store":false,"previous_response_id":"resp_1"}"#, false),
    ] {
        assert_eq!(api.stateless(&scan(body)), expected, "{api:?} {body}");
    }
}
