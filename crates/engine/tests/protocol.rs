//! Behaviour that clients rely on besides the form of responses: counts, caching, finish reasons, disconnects,
//! shutdown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{body, config, events, request_bytes, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

#[tokio::test]
async fn a_stream_has_the_text_of_the_non_streaming_response() {
    let server = start(config()).await;
    let request = |stream: bool| {
        json!({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20,
               "ignore_eos": true, "stream": stream})
        .to_string()
    };
    let whole = body(&server.post(CHAT, &request(false)).await);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(text.len(), 80, "twenty tokens of four bytes");
    let streamed = events(&server.post(CHAT, &request(true)).await);
    assert_eq!(streamed.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        streamed[..streamed.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let words: String =
        chunks.iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(words, text);
    assert_eq!(chunks.len(), 21, "the role, then a chunk for each token");
}

#[tokio::test]
async fn full_blocks_of_a_repeated_prompt_are_cached_per_adapter_and_salt() {
    let server = start(config()).await;
    let prompt = "x".repeat(4 * 76);
    let cached = |model: &str, salt: &str| {
        let request = json!({"model": model, "prompt": prompt, "max_tokens": 2, "cache_salt": salt});
        let server = &server;
        async move {
            let answer = body(&server.post(COMPLETIONS, &request.to_string()).await);
            assert_eq!(answer["usage"]["prompt_tokens"], 76);
            answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
        }
    };
    assert_eq!(cached("tiny", "").await, 0);
    assert_eq!(cached("tiny", "").await, 64);
    assert_eq!(cached("tiny", "mine").await, 0);
    assert_eq!(cached("tiny-lora-a", "").await, 0);
    assert_eq!(cached("tiny-lora-a", "").await, 64);
    assert_eq!(server.metric("vllm:prefix_cache_hits_total").await, 128.0);
    assert_eq!(server.metric("vllm:prefix_cache_queries_total").await, 380.0);
}

#[tokio::test]
async fn the_next_turn_finds_prompt_and_output_of_the_previous_one_cached() {
    let server = start(config()).await;
    let mut messages = vec![json!({"role": "user", "content": "Tell me a story, a long one."})];
    let ask = |messages: &[Value]| {
        let request = json!({"messages": messages, "max_tokens": 100, "ignore_eos": true}).to_string();
        let server = &server;
        async move { body(&server.post(CHAT, &request).await) }
    };
    let first = ask(&messages).await;
    messages.push(first["choices"][0]["message"].clone());
    messages.push(json!({"role": "user", "content": "And then?"}));
    let second = ask(&messages).await;
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    let before = first["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(cached, (before - 1) / 32 * 32, "all full blocks that were computed");
}

#[tokio::test]
async fn outputs_end_as_the_sampling_parameters_say() {
    async fn check(server: &support::Server, more: Value, tokens: Option<u64>, reason: &str, stop: Value) {
        let mut request = json!({"prompt": "Once upon a time", "seed": 3});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = body(&server.post(COMPLETIONS, &request.to_string()).await);
        let choice = &answer["choices"][0];
        assert_eq!((&choice["finish_reason"], &choice["stop_reason"]), (&json!(reason), &stop), "{request}");
        if let Some(tokens) = tokens {
            assert_eq!(answer["usage"]["completion_tokens"], tokens, "{request}");
        }
    }
    let server = start(config()).await;
    check(&server, json!({}), Some(16), "length", Value::Null).await;
    check(&server, json!({"max_tokens": 5}), Some(5), "length", Value::Null).await;
    check(&server, json!({"max_tokens": 4000}), None, "stop", Value::Null).await;
    check(&server, json!({"max_tokens": 1500, "ignore_eos": true}), Some(1500), "length", Value::Null).await;
    check(&server, json!({"max_tokens": 1500, "min_tokens": 1200}), Some(1200), "stop", Value::Null).await;
    let whole = json!({"prompt": "Once upon a time", "seed": 3, "max_tokens": 30, "ignore_eos": true});
    let whole = body(&server.post(COMPLETIONS, &whole.to_string()).await);
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    let word = &text[40..44];
    check(&server, json!({"max_tokens": 30, "stop": [word, "zzz"]}), None, "stop", json!(word)).await;
}

#[tokio::test]
async fn each_choice_of_each_prompt_has_its_own_output() {
    let server = start(config()).await;
    let request = json!({"prompt": ["one", "two"], "n": 3, "max_tokens": 8, "ignore_eos": true});
    let answer = body(&server.post(COMPLETIONS, &request.to_string()).await);
    let choices = answer["choices"].as_array().unwrap();
    let indices: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    let texts: std::collections::BTreeSet<_> =
        choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 6);
    assert_eq!(answer["usage"]["prompt_tokens"], 2, "each prompt counts once");
    assert_eq!(answer["usage"]["completion_tokens"], 48);
}

#[tokio::test]
async fn equal_seeds_give_equal_outputs() {
    let text = |seed: u64| async move {
        let server = start(pointsman_engine::EngineConfig { seed, ..config() }).await;
        let answer = body(&server.post(COMPLETIONS, r#"{"prompt": "Hi", "max_tokens": 20}"#).await);
        (answer["choices"][0]["text"].clone(), answer["id"].clone())
    };
    let (one, again, other) = (text(1).await, text(1).await, text(2).await);
    assert_eq!(one.0, again.0);
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, again.1, "ids differ even so");
}

/// Once for a stream that has begun, once for a non-streaming response.
#[tokio::test]
async fn a_disconnect_frees_the_engine() {
    let mut slow = config();
    slow.speed = 0.05;
    for stream in [true, false] {
        let server = start(slow.clone()).await;
        let request =
            json!({"prompt": "Hi", "max_tokens": 4000, "ignore_eos": true, "stream": stream}).to_string();
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(&request_bytes("POST", COMPLETIONS, "", &request)).await.unwrap();
        if stream {
            let mut byte = [0; 256];
            assert!(client.read(&mut byte).await.unwrap() > 0);
        }
        server.until("vllm:num_requests_running", |running| running == 1.0).await;
        drop(client);
        server.until("vllm:num_requests_running", |running| running == 0.0).await;
        assert_eq!(server.metric("vllm:kv_cache_usage_perc").await, 0.0);
        let aborted = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\"";
        assert_eq!(server.metric(aborted).await, 0.0, "not counted, as in vLLM");
    }
}

#[tokio::test]
async fn shutdown_finishes_running_streams_and_closes_the_port() {
    let mut settings = config();
    settings.speed = 0.5;
    let mut server = start(settings).await;
    let request = json!({"prompt": "Hi", "max_tokens": 40, "ignore_eos": true, "stream": true}).to_string();
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(&request_bytes("POST", COMPLETIONS, "", &request)).await.unwrap();
    server.until("vllm:num_requests_running", |running| running == 1.0).await;
    server.stop();
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    assert_eq!(events(&response).len(), 41);
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn streams_that_exceed_the_drain_time_are_cut_off() {
    let mut settings = config();
    settings.speed = 0.001;
    settings.drain = std::time::Duration::from_millis(1);
    let mut server = start(settings).await;
    let request = json!({"prompt": "Hi", "max_tokens": 4000, "ignore_eos": true, "stream": true}).to_string();
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(&request_bytes("POST", COMPLETIONS, "", &request)).await.unwrap();
    server.until("vllm:num_requests_running", |running| running == 1.0).await;
    server.stop();
    server.stopped().await;
    let mut response = String::new();
    let _ = client.read_to_string(&mut response).await;
    assert!(!response.contains("[DONE]"));
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = start(config()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        client.write_all(b"GET /version HTTP/1.1\r\nhost: tiny\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"{\"version\":\"0.32.0\"}") {
            assert!(client.read_buf(&mut response).await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let mut settings = config();
    settings.max_body_bytes = 100;
    let server = start(settings).await;
    let request = json!({"prompt": "x".repeat(200)}).to_string();
    let response = server.post(COMPLETIONS, &request).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    assert_eq!(body(&response)["error"]["code"], 413);
}

#[tokio::test]
async fn stored_responses_can_be_read_and_continued() {
    let server = start(config()).await;
    for stream in [false, true] {
        let request = json!({"input": "Hello", "max_output_tokens": 40, "stream": stream}).to_string();
        let response = server.post("/v1/responses", &request).await;
        let first = if stream {
            let names: Vec<_> = response.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
            assert_eq!(names.first(), Some(&"response.created"));
            assert!(names.contains(&"response.output_text.delta"));
            assert!(matches!(*names.last().unwrap(), "response.completed" | "response.incomplete"));
            let numbers: Vec<_> = events(&response)
                .iter()
                .map(|event| serde_json::from_str::<Value>(event).unwrap()["sequence_number"].as_u64())
                .collect();
            assert_eq!(numbers, (0..numbers.len() as u64).map(Some).collect::<Vec<_>>());
            serde_json::from_str::<Value>(events(&response).last().unwrap()).unwrap()["response"].clone()
        } else {
            body(&response)
        };
        let id = first["id"].as_str().unwrap();
        assert_eq!(body(&server.get(&format!("/v1/responses/{id}")).await), first);
        let next = json!({"input": "And?", "previous_response_id": id}).to_string();
        let next = body(&server.post("/v1/responses", &next).await);
        let before = first["usage"]["total_tokens"].as_u64().unwrap();
        assert!(next["usage"]["input_tokens"].as_u64().unwrap() > before);
    }
    let missing = server.get("/v1/responses/resp_none").await;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    let unstored = json!({"input": "Hello", "max_output_tokens": 4, "store": false}).to_string();
    let unstored = body(&server.post("/v1/responses", &unstored).await);
    let path = format!("/v1/responses/{}", unstored["id"].as_str().unwrap());
    assert!(server.get(&path).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn pooling_requests_generate_no_tokens() {
    let server = start(config()).await;
    let request = r#"{"model": "tiny", "input": ["one", "two", "one"]}"#;
    let embedded = body(&server.post("/v1/embeddings", request).await);
    let vectors: Vec<_> =
        embedded["data"].as_array().unwrap().iter().map(|item| item["embedding"].clone()).collect();
    assert_eq!(vectors.len(), 3);
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    let scored = r#"{"model": "tiny", "text_1": "query", "text_2": ["one", "two"]}"#;
    let scored = body(&server.post("/score", scored).await);
    assert_eq!(scored["data"].as_array().unwrap().len(), 2);
    let ranked = r#"{"model": "tiny", "query": "query", "documents": ["one", "two", "three"], "top_n": 2}"#;
    let ranked = body(&server.post("/v1/rerank", ranked).await);
    let scores: Vec<_> =
        ranked["results"].as_array().unwrap().iter().map(|item| item["relevance_score"].as_f64()).collect();
    assert_eq!(scores.len(), 2);
    assert!(scores[0] >= scores[1]);
    assert_eq!(server.metric("vllm:generation_tokens_total").await, 0.0);
}

#[tokio::test]
async fn waiting_requests_are_counted_by_reason() {
    let mut settings = config();
    settings.speed = 0.02;
    settings.adapters.push("tiny-lora-b".to_owned());
    let server = start(settings).await;
    let mut clients = Vec::new();
    for model in ["tiny-lora-a", "tiny-lora-b", "tiny"] {
        let request = json!({"model": model, "prompt": "Hi", "max_tokens": 4000, "ignore_eos": true});
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(&request_bytes("POST", COMPLETIONS, "", &request.to_string())).await.unwrap();
        clients.push(client);
        server
            .until("vllm:num_requests_running", |running| running >= if model == "tiny" { 2.0 } else { 1.0 })
            .await;
    }
    let reason = |reason: &str| {
        format!("vllm:num_requests_waiting_by_reason{{engine=\"0\",model_name=\"tiny\",reason=\"{reason}\"}}")
    };
    server.until(&reason("deferred"), |deferred| deferred == 1.0).await;
    assert_eq!(server.metric(&reason("capacity")).await, 0.0);
    let page = server.get("/metrics").await;
    let newest = page
        .lines()
        .filter(|line| line.starts_with("vllm:lora_requests_info"))
        .max_by(|a, b| a.rsplit(' ').next().cmp(&b.rsplit(' ').next()))
        .unwrap();
    assert!(newest.contains("running_lora_adapters=\"tiny-lora-a\""), "{newest}");
    drop(clients);
    server.until("vllm:num_requests_running", |running| running == 0.0).await;
}

#[tokio::test]
async fn messages_have_one_choice_and_name_their_stop_sequence() {
    let server = start(config()).await;
    let ask = |more: Value| {
        let mut request = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 30, "n": 3,
                                 "ignore_eos": true});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let server = &server;
        async move { body(&server.post("/v1/messages", &request.to_string()).await) }
    };
    let whole = ask(json!({})).await;
    assert_eq!(
        (whole["content"].as_array().unwrap().len(), &whole["usage"]["output_tokens"]),
        (1, &json!(30))
    );
    let word = &whole["content"][0]["text"].as_str().unwrap()[20..24];
    let stopped = ask(json!({"stop_sequences": [word]})).await;
    assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!(word)));
}

#[tokio::test]
async fn count_tokens_agrees_with_the_usage_of_the_message() {
    let server = start(config()).await;
    let request =
        json!({"system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3});
    let counted = body(&server.post("/v1/messages/count_tokens", &request.to_string()).await);
    let answered = body(&server.post("/v1/messages", &request.to_string()).await);
    assert_eq!(counted["input_tokens"], answered["usage"]["input_tokens"]);
}

#[tokio::test]
async fn http2_without_tls_is_supported() {
    use http_body_util::BodyExt;
    let server = start(config()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = json!({"prompt": "Hi", "max_tokens": 5, "ignore_eos": true, "stream": true}).to_string();
    let request = http::Request::post("http://tiny/v1/completions")
        .header("content-type", "application/json")
        .body(request)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let response = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(events(std::str::from_utf8(&response).unwrap()).len(), 6);
}
