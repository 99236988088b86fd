//! Classification of methods and paths.

use pointsman_protocol::{Api, Route, UrlModel};

fn check(method: &str, path: &str, expected: &Route) {
    assert_eq!(&Api::of(method, path), expected, "{method} {path}");
}

#[test]
fn inference_paths_are_classified() {
    for (path, api) in [
        ("/v1/completions", Api::Completions),
        ("/v1/chat/completions", Api::ChatCompletions),
        ("/v1/chat/completions?debug=1", Api::ChatCompletions),
        ("/v1/responses", Api::Responses),
        ("/v1/messages", Api::Messages),
        ("/v1/messages/count_tokens", Api::CountTokens),
        ("/v1/embeddings", Api::Embeddings),
        ("/v2/embed", Api::Embeddings),
        ("/score", Api::Score),
        ("/v1/score", Api::Score),
        ("/rerank", Api::Rerank),
        ("/v1/rerank", Api::Rerank),
        ("/v2/rerank", Api::Rerank),
        ("/pooling", Api::Pooling),
        ("/encode", Api::Pooling),
        ("/classify", Api::Classify),
        ("/tokenize", Api::Tokenize),
        ("/detokenize", Api::Detokenize),
        ("/generate", Api::Generate),
        ("/inference/v1/generate", Api::Generate),
        ("/v1/completions/render", Api::Render),
        ("/v1/chat/completions/render", Api::Render),
        ("/invocations", Api::Invocations),
        ("/prefix/v1/chat/completions", Api::ChatCompletions),
        ("/a/b/v2/rerank", Api::Rerank),
        ("/a/inference/v1/generate", Api::Generate),
        ("/chat/completions", Api::ChatCompletions),
        ("/openai/v1/completions", Api::Completions),
        ("/openai/deployments/gpt/chat/completions?api-version=1", Api::ChatCompletions),
        ("/openai/deployments/gpt/embeddings", Api::Embeddings),
    ] {
        check("POST", path, &Route::Inference(api));
    }
}

#[test]
fn other_spellings_of_an_inference_path_are_the_same_api() {
    for path in
        ["/v1/chat%2Fcompletions", "//v1/chat/completions", "/v1/./chat/completions", "/v1/chat/completions/"]
    {
        check("POST", path, &Route::Inference(Api::ChatCompletions));
    }
}

#[test]
fn other_paths_are_unknown() {
    for (method, path) in [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/generate"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/Chat/Completions"),
        ("POST", "/v1/chat/completions/else"),
        ("POST", "/openai/deployments/gpt"),
        ("GET", "/health"),
        ("GET", "/"),
        ("GET", ""),
        ("OPTIONS", "*"),
        ("POST", "/v1/models"),
        ("GET", "/v1/modelsx"),
        ("POST", "/v1/sleepy"),
        ("PATCH", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/else"),
        ("GET", "/v2/models/llama/ready"),
        ("GET", "/100%"),
        ("GET", "/a%zz"),
    ] {
        check(method, path, &Route::Unknown);
    }
}

#[test]
fn model_lists_and_entries_are_classified() {
    check("GET", "/v1/models", &Route::Models { id: None });
    check("HEAD", "/v1/models", &Route::Models { id: None });
    check("GET", "/v1/models/", &Route::Models { id: None });
    check("GET", "/v1/models/tiny", &Route::Models { id: Some("tiny".to_owned()) });
    for path in ["/v1/models/meta-llama/Llama-3-8B", "/v1/models/meta-llama%2FLlama-3-8B"] {
        check("GET", path, &Route::Models { id: Some("meta-llama/Llama-3-8B".to_owned()) });
    }
}

#[test]
fn stored_responses_are_classified_with_their_id() {
    let stored = Route::Stored { response_id: "resp_1".to_owned() };
    for (method, path) in [
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1?stream=true"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("GET", "/v1/responses/resp%5F1"),
    ] {
        check(method, path, &stored);
    }
}

#[test]
fn administration_paths_are_classified_for_every_method() {
    for path in [
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/load_lora_adapter",
        "/sleep",
        "/sleep?level=2",
        "/wake_up",
        "/is_sleeping",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/collective_rpc",
        "/flush_cache",
        "/update_weights",
        "/update_weights_from_disk",
        "/update_weights_from_a_later_release",
        "/init_weights_update_group",
        "/start_profile",
        "/stop_profile",
        "/pause",
        "/resume",
        "/shutdown",
        "/server_info",
        "/release_memory_occupation",
        "/resume_memory_occupation",
        "/release_memory",
        "/abort_request",
        "/abort_requests",
        "/set_internal_state",
        "/scale_elastic_ep",
        "/hicache/storage-backend",
        "/v2/repository/models/llama/unload",
        "/v2/models/llama/trace/setting",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            check(method, path, &Route::Administration);
        }
    }
}

#[test]
fn every_spelling_of_an_administration_path_is_recognized() {
    for path in [
        "/sleep/",
        "//sleep",
        "/./sleep",
        "/v1/../sleep",
        "/v1/models/../../sleep",
        "/v1/responses/../../sleep",
        "/v1/responses/..%2f..%2fsleep",
        "/%73leep",
        "/%2573leep",
        "/%25252573leep",
        "/v1%2Fload_lora_adapter",
        "/v1/load_lora%5fadapter",
        "/v1/load%255Flora_adapter",
        "/v1\\load_lora_adapter",
        "/v1/%5Cload_lora_adapter",
        "/sleep;x=1",
        "/SLEEP",
        "/root-path/v1/load_lora_adapter",
        "/sleep%3Flevel=1",
        "/../sleep",
        "/%2e%2e/%2e%2e/sleep",
        "/..",
        "/sleep#fragment",
        "sleep",
    ] {
        check("POST", path, &Route::Administration);
    }
}

#[test]
fn a_path_with_too_many_encodings_is_administration() {
    check("GET", &format!("/%{}41", "25".repeat(50)), &Route::Administration);
}

#[test]
fn models_in_urls_are_found_and_replaced() {
    for (url, name, replaced) in [
        (
            "/openai/deployments/gpt/chat/completions?v=1",
            "gpt",
            "/openai/deployments/a%2Fb/chat/completions?v=1",
        ),
        ("/openai/deployments/a%2Fc/embeddings", "a/c", "/openai/deployments/a%2Fb/embeddings"),
        ("//openai/deployments/gpt/completions?v=1", "gpt", "//openai/deployments/a%2Fb/completions?v=1"),
        ("/%6fpenai/deployments/gpt/completions", "gpt", "/openai/deployments/a%2Fb/completions"),
        ("/v2/models/llama/infer", "llama", "/v2/models/a%2Fb/infer"),
        (
            "/v2/models/llama/versions/1/generate_stream",
            "llama",
            "/v2/models/a%2Fb/versions/1/generate_stream",
        ),
        ("/v1/models/llama:predict", "llama", "/v1/models/a%2Fb:predict"),
        ("/v1beta/models/gem:generateContent", "gem", "/v1beta/models/a%2Fb:generateContent"),
        ("/model/claude/invoke", "claude", "/model/a%2Fb/invoke"),
        ("/v1/realtime?x=1&model=a+c", "a c", "/v1/realtime?x=1&model=a%2Fb"),
    ] {
        let found = UrlModel::of(url).unwrap();
        assert_eq!((found.name.as_str(), found.in_path), (name, !url.contains("realtime")), "{url}");
        assert_eq!(found.replaced(url, "a/b"), replaced);
    }
    for url in [
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/llama",
        "/v2/models/llama/ready",
        "/x?models=m",
        "/x?model=",
    ] {
        assert_eq!(UrlModel::of(url), None, "{url}");
    }
}
