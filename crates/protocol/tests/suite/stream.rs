//! Scanning of event streams.

use pointsman_protocol::{SseScanner, StreamEnd, StreamFacts, StreamFailure, StreamFormat, Usage};

use crate::recorded;

/// Scans a stream in one chunk.
fn read(format: StreamFormat, stream: &[u8]) -> (StreamFacts, StreamEnd) {
    let mut scanner = SseScanner::new(format);
    let mut facts = scanner.push(stream);
    let (rest, end) = scanner.finish();
    facts.absorb(rest);
    (facts, end)
}

fn check(format: StreamFormat, stream: &str, tokens: u32, end: StreamEnd) {
    let (facts, actual) = read(format, stream.as_bytes());
    assert_eq!((facts.token_events, actual), (tokens, end), "{stream}");
    assert_eq!(facts.first_token, tokens > 0, "{stream}");
}

const FINISHED: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn usage(prompt_tokens: u64, completion_tokens: u64, cached_tokens: Option<u64>) -> Option<Usage> {
    Some(Usage { prompt_tokens, completion_tokens, cached_tokens })
}

#[test]
fn recorded_streams_are_scanned() {
    let mut streams = 0;
    for (name, format, tokens, counts) in [
        ("chat-stream", StreamFormat::ChatCompletions, 8, None),
        ("chat-stream-usage", StreamFormat::ChatCompletions, 8, usage(100, 8, Some(96))),
        ("completion-stream", StreamFormat::Completions, 8, None),
        ("completion-stream-usage", StreamFormat::Completions, 8, usage(76, 8, Some(64))),
        ("completion-stream-one-token", StreamFormat::Completions, 1, usage(76, 1, Some(64))),
        ("messages-stream", StreamFormat::Messages, 4, usage(89, 4, Some(64))),
    ] {
        let exchange = recorded::exchange(name);
        let (facts, end) = read(format, &exchange.response_body);
        assert_eq!((facts.token_events, facts.usage), (tokens, counts), "{name}");
        assert_eq!((facts.first_token, facts.ended, end), (true, true, StreamEnd::Complete), "{name}");
        streams += 1;
    }
    assert_eq!(streams, 6);
}

#[test]
fn recorded_streams_are_complete_and_truncated_before_their_end() {
    let mut streams = 0;
    for exchange in recorded::exchanges().iter().filter(|exchange| exchange.is_event_stream) {
        let api = pointsman_protocol::Api::of(&exchange.method, &exchange.path).api().unwrap();
        let (facts, end) = read(api.stream_format(), &exchange.response_body);
        assert_eq!(end, StreamEnd::Complete, "{}", exchange.name);
        assert!(facts.first_token, "{}", exchange.name);
        let mark = |mark: &[u8]| exchange.response_body.windows(mark.len()).position(|part| part == mark);
        let finish = mark(br#""finish_reason":""#).or_else(|| mark(br#""stop_reason":""#));
        let cut = finish.or_else(|| mark(b"event: response.completed")).unwrap();
        let (_, end) = read(api.stream_format(), &exchange.response_body[..cut]);
        assert_eq!(end, StreamEnd::Truncated, "{}", exchange.name);
        streams += 1;
    }
    assert!(streams >= 9, "only {streams} recorded streams");
}

#[test]
fn the_first_token_is_the_first_output_of_any_kind() {
    let chunk = |delta: &str| format!("data: {{\"choices\":[{{\"index\":0,{delta}}}]}}\n\n");
    for (format, choice, token) in [
        (StreamFormat::ChatCompletions, r#""delta":{"role":"assistant","content":""}"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{"role":"assistant","content":null}"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{"content":"x"}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"content":[{"type":"text","text":"x"}]}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"content":[{"type":"text","text":""}]}"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{"content":" "}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"content":"\""}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"reasoning_content":"x"}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"reasoning":"x"}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"tool_calls":[{"index":0}]}"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{"tool_calls":[]}"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{},"token_ids":[7]"#, true),
        (StreamFormat::ChatCompletions, r#""delta":{},"token_ids":[]"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{},"token_ids":null"#, false),
        (StreamFormat::ChatCompletions, r#""delta":{},"prompt_token_ids":[1,2]"#, false),
        (StreamFormat::ChatCompletions, r#""logprobs":{"content":"x"}"#, false),
        (StreamFormat::Completions, r#""text":"""#, false),
        (StreamFormat::Completions, r#""text":"x""#, true),
        (StreamFormat::Completions, r#""text":"","token_ids":[5]"#, true),
        (StreamFormat::Generate, r#""token_ids":[5],"finish_reason":null"#, true),
    ] {
        check(format, &chunk(choice), u32::from(token), StreamEnd::Truncated);
    }
    for (data, token) in [
        (r#"{"text":"x","meta_info":{"finish_reason":null}}"#, true),
        (r#"{"text":"","meta_info":{"finish_reason":null}}"#, false),
        (r#"{"output_ids":[5],"meta_info":{}}"#, true),
    ] {
        check(StreamFormat::Generate, &format!("data: {data}\n\n"), u32::from(token), StreamEnd::Truncated);
    }
}

#[test]
fn nothing_may_follow_an_end_mark_whose_event_is_not_finished() {
    let mut scanner = SseScanner::new(StreamFormat::ChatCompletions);
    scanner.push(b"data: [DONE");
    assert!(!scanner.is_over());
    scanner.push(b"]\n");
    assert!(scanner.is_over());
}

#[test]
fn openai_streams_end_with_done_or_a_finish_reason() {
    let format = StreamFormat::ChatCompletions;
    check(format, &format!("{FINISHED}{DONE}"), 0, StreamEnd::Complete);
    check(format, &format!("{FINISHED}data:[DONE]\r\n\r\n"), 0, StreamEnd::Complete);
    check(format, &format!("{FINISHED}data: [DONE]"), 0, StreamEnd::Complete);
    check(format, FINISHED, 0, StreamEnd::Complete);
    check(format, DONE, 0, StreamEnd::Complete);
    check(format, "", 0, StreamEnd::Truncated);
    check(format, "data: [DONE]\ndata: x\n\n", 0, StreamEnd::Truncated);
    check(format, "data: \"[DONE]\"\n\n", 0, StreamEnd::Truncated);
    check(format, ": [DONE]\n\n", 0, StreamEnd::Truncated);
    let unfinished = "data: {\"choices\":[{\"index\":0,\"finish_reason\":null}]}\n\n";
    check(format, unfinished, 0, StreamEnd::Truncated);
    // A client ignores the event, and must be told of the failure.
    check(format, "data: {\"error\":{\"message\":\"engi", 0, StreamEnd::Truncated);
    check(format, &format!("{unfinished}{DONE}"), 0, StreamEnd::Complete);
    let sglang = r#"data: {"text":"x","meta_info":{"finish_reason":{"type":"length","length":4},"prompt_tokens":3,"completion_tokens":4,"cached_tokens":2}}"#;
    let (facts, end) = read(StreamFormat::Generate, format!("{sglang}\n\n{DONE}").as_bytes());
    assert_eq!((facts.usage, end), (usage(3, 4, Some(2)), StreamEnd::Complete));
}

#[test]
fn without_done_each_choice_needs_a_finish_reason() {
    let choice = |fields: &str| format!("{{\"delta\":{{\"content\":\"x\"}},{fields}}}");
    let event = |choices: &[String]| format!("data: {{\"choices\":[{}]}}\n\n", choices.join(","));
    let (open, stop) = (r#""finish_reason":null"#, r#""finish_reason":"stop""#);
    let of = |index: u32, reason: &str| choice(&format!("\"index\":{index},{reason}"));
    let (first, second) = (|reason| of(0, reason), |reason| of(1, reason));
    let format = StreamFormat::ChatCompletions;
    let both = event(&[first(open), second(open)]);
    check(format, &both, 1, StreamEnd::Truncated);
    check(format, &format!("{both}{}", event(&[first(stop)])), 2, StreamEnd::Truncated);
    check(format, &format!("{both}{}", event(&[second(stop)])), 2, StreamEnd::Truncated);
    check(format, &format!("{both}{}", event(&[first(stop), second(stop)])), 2, StreamEnd::Complete);
    let apart = format!("{both}{}{}", event(&[second(stop)]), event(&[first(stop)]));
    check(format, &apart, 3, StreamEnd::Complete);
    check(format, &event(&[choice(stop)]), 1, StreamEnd::Complete);
    let late = choice(&format!("{stop},\"index\":1"));
    check(format, &event(&[first(stop), late]), 1, StreamEnd::Complete);
    let text = r#"data: {"text":"x","index":INDEX,"meta_info":{"finish_reason":REASON}}"#;
    let sglang =
        |index: &str, reason: &str| format!("{}\n\n", text.replace("INDEX", index).replace("REASON", reason));
    let (open, stop) = ("null", r#"{"type":"stop"}"#);
    let two = [sglang("0", open), sglang("1", open), sglang("1", stop)].concat();
    check(StreamFormat::Generate, &two, 3, StreamEnd::Truncated);
    check(StreamFormat::Generate, &format!("{two}{}", sglang("0", stop)), 4, StreamEnd::Complete);
}

#[test]
fn done_after_a_failure_is_a_failure() {
    let error = |code| StreamEnd::Failed(StreamFailure::Error { code });
    let format = StreamFormat::ChatCompletions;
    for (event, end) in [
        (
            r#"data: {"error":{"message":"EngineCore died","type":"InternalServerError","param":null,"code":500}}"#,
            error(Some(500)),
        ),
        (r#"data: {"error":{"message":"too long","code":400}}"#, error(Some(400))),
        (r#"data: {"error":{"code":"500"}}"#, error(Some(500))),
        (r#"data: {"error":{"code":"rate_limited"}}"#, error(None)),
        (r#"data: {"error":"died"}"#, error(None)),
        (r#"data: {"object":"error","message":"died","code":500}"#, error(Some(500))),
        ("event: error\ndata: {\"message\":\"died\"}", error(None)),
        ("event: error\ndata: died", error(None)),
        (
            r#"data: {"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
            StreamEnd::Failed(StreamFailure::Aborted),
        ),
        (r#"data: {"choices":[{"delta":{},"finish_reason":"error"}]}"#, error(None)),
        (
            r#"data: {"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"abort"}]}"#,
            StreamEnd::Failed(StreamFailure::Aborted),
        ),
    ] {
        check(format, &format!("{event}\n\n{FINISHED}{DONE}"), 0, end);
        check(format, &format!("{FINISHED}{event}\n\n{DONE}"), 0, end);
        check(format, &format!("{event}\n\n"), 0, end);
    }
    let abort = r#"data: {"text":"","meta_info":{"finish_reason":{"type":"abort","message":"gone","status_code":503}}}"#;
    check(
        StreamFormat::Generate,
        &format!("{abort}\n\n{DONE}"),
        0,
        StreamEnd::Failed(StreamFailure::Aborted),
    );
}

#[test]
fn an_error_that_is_named_as_the_clients_blames_the_request() {
    let check = |format, event: &str, code| {
        check(format, &format!("{event}\n\n"), 0, StreamEnd::Failed(StreamFailure::Error { code }));
    };
    let anthropic = |kind: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"x\"}}}}"
        )
    };
    check(StreamFormat::Messages, &anthropic("invalid_request_error"), Some(400));
    check(StreamFormat::Messages, &anthropic("request_too_large"), Some(413));
    check(StreamFormat::Messages, &anthropic("overloaded_error"), None);
    check(StreamFormat::Messages, &anthropic("api_error"), None);
    let failed = |code: &str| {
        let error = format!("{{\"code\":\"{code}\",\"message\":\"x\"}}");
        format!(
            "data: {{\"type\":\"response.failed\",\"response\":{{\"status\":\"failed\",\"error\":{error}}}}}"
        )
    };
    check(StreamFormat::Responses, &failed("invalid_prompt"), Some(400));
    check(StreamFormat::Responses, &failed("rate_limit_exceeded"), Some(429));
    let chat = StreamFormat::ChatCompletions;
    check(chat, r#"data: {"error":{"type":"invalid_request_error","code":null,"message":"x"}}"#, Some(400));
    check(chat, r#"data: {"error":{"code":"context_length_exceeded"}}"#, Some(400));
    // A number is more exact than a name, wherever it stands.
    check(chat, r#"data: {"error":{"type":"invalid_request_error","code":500}}"#, Some(500));
    check(chat, r#"data: {"error":{"code":500,"type":"invalid_request_error"}}"#, Some(500));
}

#[test]
fn an_empty_error_is_none() {
    let format = StreamFormat::ChatCompletions;
    for empty in [r#""""#, "{}", "null", r#"{"message":"","code":null,"type":null}"#, r#"{"code":0}"#] {
        let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{}}}}],\"error\":{empty}}}\n\n");
        check(format, &format!("{event}{FINISHED}{DONE}"), 0, StreamEnd::Complete);
    }
}

#[test]
fn an_empty_finish_reason_ends_no_choice() {
    let format = StreamFormat::ChatCompletions;
    let event =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"\"}]}\n\n";
    check(format, event, 1, StreamEnd::Truncated);
    check(format, &format!("{event}{FINISHED}"), 1, StreamEnd::Complete);
    let messages = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"\"}}\n\n";
    check(StreamFormat::Messages, messages, 0, StreamEnd::Truncated);
}

#[test]
fn an_error_below_500_blames_the_request() {
    for (failure, blames) in [
        (StreamFailure::Error { code: Some(400) }, true),
        (StreamFailure::Error { code: Some(499) }, true),
        (StreamFailure::Error { code: Some(500) }, false),
        (StreamFailure::Error { code: None }, false),
        (StreamFailure::Aborted, false),
        (StreamFailure::ResponseFailed, false),
    ] {
        assert_eq!(failure.blames_request(), blames, "{failure:?}");
    }
}

#[test]
fn keywords_within_text_are_ignored() {
    for text in [
        r#"\"error\": {\"code\": 500}"#,
        r#"{\"error\":{}}"#,
        r#"\"finish_reason\":\"abort\""#,
        "data: [DONE]",
        "[DONE]",
        "event: error",
        r"\\",
        r#"\\\""#,
    ] {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
        check(StreamFormat::ChatCompletions, &format!("{event}{FINISHED}{DONE}"), 1, StreamEnd::Complete);
    }
    let nested = r#"data: {"choices":[{"delta":{"tool_calls":[{"error":{"code":500}}]}}],"error":null,"x":{"error":{}}}"#;
    check(StreamFormat::ChatCompletions, &format!("{nested}\n\n{FINISHED}{DONE}"), 1, StreamEnd::Complete);
}

#[test]
fn messages_streams_have_typed_events() {
    let delta =
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"\"}}\n\n";
    let format = StreamFormat::Messages;
    let failed = StreamEnd::Failed(StreamFailure::Error { code: None });
    check(format, &format!("{ping}{delta}{delta}{stop}"), 2, StreamEnd::Complete);
    check(format, delta, 1, StreamEnd::Truncated);
    check(format, &format!("{delta}{DONE}"), 1, StreamEnd::Complete);
    let stopped = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    check(format, &format!("{delta}{stopped}"), 1, StreamEnd::Complete);
    check(format, &format!("{delta}{error}"), 1, failed);
    check(format, &format!("{error}{stop}"), 0, failed);
    check(format, "data: {\"type\":\"message_stop\"}\n\n", 0, StreamEnd::Complete);
    check(format, "event: message_stop\ndata: {}\n\n", 0, StreamEnd::Complete);
    check(format, "event: message_stop\n\n", 0, StreamEnd::Truncated);
    let aborted = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"abort\"}}\n\n";
    check(format, &format!("{aborted}{stop}"), 0, StreamEnd::Failed(StreamFailure::Aborted));
}

#[test]
fn anthropic_reports_usage_in_two_events() {
    let start = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":64,"cache_creation_input_tokens":8,"output_tokens":1}}}"#;
    let delta =
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let (facts, _) = read(StreamFormat::Messages, format!("{start}\n\n{delta}\n\n").as_bytes());
    assert_eq!(facts.usage, usage(97, 15, Some(64)));
}

#[test]
fn responses_streams_have_typed_events() {
    let format = StreamFormat::Responses;
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    let created =
        event("response.created", r#","response":{"id":"resp_1","status":"in_progress","error":null}"#);
    let text = event("response.output_text.delta", r#","delta":"x""#);
    let reasoning = event("response.reasoning_text.delta", r#","delta":"x""#);
    let added = event("response.output_item.added", "");
    let counts = r#","response":{"id":"resp_1","usage":{"input_tokens":90,"input_tokens_details":{"cached_tokens":64},"output_tokens":8}}"#;
    let completed = event("response.completed", counts);
    let failed =
        event("response.failed", r#","response":{"status":"failed","error":{"code":"server_error"}}"#);
    check(format, &format!("{created}{added}{reasoning}{text}{completed}"), 2, StreamEnd::Complete);
    check(format, &event("response.incomplete", counts), 0, StreamEnd::Complete);
    check(format, &event("response.cancelled", counts), 0, StreamEnd::Complete);
    check(format, &format!("{created}{text}"), 1, StreamEnd::Truncated);
    check(format, &format!("{created}{failed}"), 0, StreamEnd::Failed(StreamFailure::ResponseFailed));
    let error = StreamEnd::Failed(StreamFailure::Error { code: None });
    check(format, &event("error", r#","code":"server_error","message":"""#), 0, error);
    let mut scanner = SseScanner::new(format);
    scanner.push(created.as_bytes());
    assert_eq!(scanner.response_id(), Some("resp_1"));
    let facts = scanner.push(completed.as_bytes());
    assert_eq!(facts.usage, usage(90, 8, Some(64)));
    assert!(facts.ended);
}

#[test]
fn framing_follows_the_standard() {
    let body = r#"{"choices":[{"text":"x","finish_reason":"stop"}]}"#;
    for stream in [
        format!("data: {body}\n\ndata: [DONE]\n\n"),
        format!("data:{body}\n\ndata:[DONE]\n\n"),
        format!("data: {body}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!("data: {body}\r\rdata: [DONE]\r\r"),
        format!("\u{feff}data: {body}\n\ndata: [DONE]\n\n"),
        format!(": comment\n\nid: 7\nretry: 10\nevent: x\ndata: {body}\n\n:\n\ndata: [DONE]\n\n"),
        format!("unknown-field-name: x\nnocolon\ndata: {body}\n\ndata: [DONE]\n\n"),
        "data: {\"choices\":[{\ndata: \"text\":\"x\",\ndata\ndata:\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            .to_owned(),
        format!("\n\n\ndata: {body}\n\n\n\n\ndata: [DONE]\n\n"),
    ] {
        check(StreamFormat::Completions, &stream, 1, StreamEnd::Complete);
    }
    let lines = "data: {\"choices\":[\r\ndata\r\ndata: {\"text\":\"x\",\"finish_reason\":\"stop\"}]}\r\n\r\n";
    check(StreamFormat::Completions, &format!("{lines}{DONE}"), 1, StreamEnd::Complete);
    check(StreamFormat::Completions, "data: [DON\ndata: E]\n\n", 0, StreamEnd::Truncated);
    check(StreamFormat::Messages, "event: message_\nevent: stop\ndata: {}\n\n", 0, StreamEnd::Truncated);
    check(StreamFormat::Messages, "event: x\nevent: message_stop\ndata: {}\n\n", 0, StreamEnd::Complete);
    let not_data = format!("Data: {body}\n\n data: {body}\n\ndatax: {body}\n\n\u{feff}data: {body}\n");
    check(StreamFormat::Completions, &not_data, 0, StreamEnd::Truncated);
}

#[test]
fn invalid_streams_have_no_output_and_no_end() {
    for stream in [
        "<html>502</html>",
        "data: {\"choices\":[{\"text\":\"x",
        "data: ]]]]\n\n",
        "data: \n\n",
        "data: }{\n\n",
        "\0\0\0\n\n",
    ] {
        let (facts, end) = read(StreamFormat::Completions, stream.as_bytes());
        assert_eq!((facts, end), (StreamFacts::default(), StreamEnd::Truncated), "{stream}");
    }
    let lost = format!("data: {}\n\n{FINISHED}{DONE}", "[".repeat(1_000));
    check(StreamFormat::Completions, &lost, 0, StreamEnd::Complete);
}

#[test]
fn very_long_lines_are_skipped() {
    let mut scanner = SseScanner::new(StreamFormat::Completions);
    scanner.push(b"data: {\"choices\":[{\"text\":\"");
    for _ in 0..1_000 {
        scanner.push(&[b'x'; 4096]);
    }
    let facts = scanner.push(
        b"\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    );
    assert_eq!((facts.token_events, facts.usage), (1, usage(1, 2, None)));
    for field in [&b"x"[..], b"event: ", b"id: "] {
        scanner.push(field);
        for _ in 0..1_000 {
            scanner.push(&[b'x'; 4096]);
        }
        scanner.push(b"\n\n");
    }
    assert!(scanner.push(DONE.as_bytes()).ended);
}

#[test]
fn invalid_counts_are_ignored() {
    for bad in ["-5", "1e9", "NaN", "99999999999999999999999", "null", "\"7\"", "1.5"] {
        let stream = format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{bad}}}}}\n\n");
        let (facts, _) = read(StreamFormat::Completions, stream.as_bytes());
        assert_eq!(facts.usage, None, "{bad}");
    }
}

#[test]
fn a_count_out_of_range_keeps_the_previous_one() {
    let counts = |tokens: &str| {
        format!("data: {{\"usage\":{{\"prompt_tokens\":{tokens},\"completion_tokens\":1}}}}\n\n")
    };
    let stream = [counts("5"), counts("-1")].concat();
    let (facts, _) = read(StreamFormat::Completions, stream.as_bytes());
    assert_eq!(facts.usage, usage(5, 1, None));
}

#[test]
fn an_unknown_format_has_no_facts() {
    let (facts, end) = read(StreamFormat::Unknown, b"event: error\ndata: {\"error\":{}}\n\n");
    assert_eq!((facts, end), (StreamFacts::default(), StreamEnd::Complete));
}
