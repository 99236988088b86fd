//! The metrics by which each kind of engine reports its load.
//!
//! Sources: the extension's model server protocol (proposal 003) and the engines' own pages: vLLM 0.6 to 0.32, SGLang 0.3 to
//! 0.5.23 (`srt/observability/metrics_collector.py`), LMDeploy 0.10, TGI 3, llama.cpp and Triton 2.60.
//!
//! Several series of one name are parts of the engine or copies of one part. Parts, such as data-parallel ranks, are summed;
//! of copies the largest is taken. [`is_copy`] says which labels distinguish copies.

use pointsman_config::EngineKind;

/// The meaning of a series. A label distinguishes the facts of a series that has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// One number of the reading.
    Number(Number),
    /// vLLM: waiting requests by the label `reason`.
    WaitingByReason,
    /// vLLM: cache configuration in labels.
    VllmCacheConfig,
    /// SGLang: cache configuration in labels.
    SglangCacheConfig,
    /// vLLM: adapters in labels, the time as the value.
    LoraInfo,
    /// Triton with TensorRT-LLM: requests by the label `request_type`.
    TritonRequests,
    /// Triton with TensorRT-LLM: cache figures by the label `kv_cache_block_type`.
    TritonBlocks,
}

/// The numbers of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Running,
    Waiting,
    Deferred,
    KvUse,
    KvBlocks,
    BlockSize,
    KvTokens,
    MaxRunning,
    PromptTokens,
    CachedTokens,
    PrefillSeconds,
    InterTokenSeconds,
    InterTokenCount,
    OutputTokens,
    Preemptions,
}

impl Number {
    pub(super) const COUNT: usize = Self::Preemptions as usize + 1;
    /// The numbers that show an engine's present load.
    pub(super) const LOAD: [Self; 3] = [Self::Running, Self::Waiting, Self::KvUse];
}

/// A series by its full metric name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) series: Series,
    /// The precedence of names for the same number on one page: 0 is the preferred name.
    pub(super) rank: u8,
}

const fn number(name: &'static str, number: Number) -> Name {
    Name { name, series: Series::Number(number), rank: 0 }
}

/// A former or less exact name, which is ignored where the page has the preferred one.
const fn former(name: &'static str, number: Number) -> Name {
    Name { name, series: Series::Number(number), rank: 1 }
}

const fn labelled(name: &'static str, series: Series) -> Name {
    Name { name, series, rank: 0 }
}

const VLLM: &[Name] = &[
    number("vllm:num_requests_running", Number::Running),
    number("vllm:num_requests_waiting", Number::Waiting),
    labelled("vllm:num_requests_waiting_by_reason", Series::WaitingByReason),
    number("vllm:kv_cache_usage_perc", Number::KvUse),
    former("vllm:gpu_cache_usage_perc", Number::KvUse),
    labelled("vllm:cache_config_info", Series::VllmCacheConfig),
    labelled("vllm:lora_requests_info", Series::LoraInfo),
    number("vllm:prompt_tokens_total", Number::PromptTokens),
    number("vllm:prompt_tokens_cached_total", Number::CachedTokens),
    former("vllm:prefix_cache_hits_total", Number::CachedTokens),
    former("vllm:gpu_prefix_cache_hits_total", Number::CachedTokens),
    number("vllm:request_prefill_time_seconds_sum", Number::PrefillSeconds),
    number("vllm:inter_token_latency_seconds_sum", Number::InterTokenSeconds),
    former("vllm:time_per_output_token_seconds_sum", Number::InterTokenSeconds),
    number("vllm:inter_token_latency_seconds_count", Number::InterTokenCount),
    former("vllm:time_per_output_token_seconds_count", Number::InterTokenCount),
    number("vllm:generation_tokens_total", Number::OutputTokens),
    number("vllm:num_preemptions_total", Number::Preemptions),
];

const SGLANG: &[Name] = &[
    number("sglang:num_running_reqs", Number::Running),
    number("sglang:num_queue_reqs", Number::Waiting),
    number("sglang:token_usage", Number::KvUse),
    number("sglang:page_size", Number::BlockSize),
    number("sglang:num_pages", Number::KvBlocks),
    number("sglang:max_total_num_tokens", Number::KvTokens),
    labelled("sglang:cache_config_info", Series::SglangCacheConfig),
    number("sglang:prompt_tokens_total", Number::PromptTokens),
    number("sglang:cached_tokens_total", Number::CachedTokens),
    number("sglang:inter_token_latency_seconds_sum", Number::InterTokenSeconds),
    former("sglang:time_per_output_token_seconds_sum", Number::InterTokenSeconds),
    number("sglang:inter_token_latency_seconds_count", Number::InterTokenCount),
    former("sglang:time_per_output_token_seconds_count", Number::InterTokenCount),
    number("sglang:generation_tokens_total", Number::OutputTokens),
];

const TRTLLM_SERVE: &[Name] = &[
    number("trtllm_num_requests_running", Number::Running),
    number("trtllm_num_requests_waiting", Number::Waiting),
    number("trtllm_kv_cache_utilization", Number::KvUse),
    number("trtllm_kv_cache_max_blocks", Number::KvBlocks),
    number("trtllm_kv_cache_tokens_per_block", Number::BlockSize),
];

const LMDEPLOY: &[Name] = &[
    number("lmdeploy:num_requests_running", Number::Running),
    number("lmdeploy:num_requests_waiting", Number::Waiting),
    number("lmdeploy:gpu_cache_usage_perc", Number::KvUse),
    number("lmdeploy:prompt_tokens_total", Number::PromptTokens),
    number("lmdeploy:generation_tokens_total", Number::OutputTokens),
];

const LLAMA_CPP: &[Name] = &[
    number("llamacpp:requests_processing", Number::Running),
    number("llamacpp:requests_deferred", Number::Waiting),
    number("llamacpp:kv_cache_usage_ratio", Number::KvUse),
    number("llamacpp:tokens_predicted_total", Number::OutputTokens),
];

const TGI: &[Name] =
    &[number("tgi_batch_current_size", Number::Running), number("tgi_queue_size", Number::Waiting)];

const TRITON: &[Name] = &[
    labelled("nv_trt_llm_request_metrics", Series::TritonRequests),
    labelled("nv_trt_llm_kv_cache_block_metrics", Series::TritonBlocks),
    former("nv_inference_pending_request_count", Number::Waiting),
];

/// The series of an engine.
pub(super) const fn names(engine: EngineKind) -> &'static [Name] {
    match engine {
        EngineKind::Vllm => VLLM,
        EngineKind::Sglang => SGLANG,
        EngineKind::TrtllmServe => TRTLLM_SERVE,
        EngineKind::Lmdeploy => LMDEPLOY,
        EngineKind::LlamaCpp => LLAMA_CPP,
        EngineKind::Tgi => TGI,
        EngineKind::Triton => TRITON,
    }
}

/// What the engine's metric names begin with. A colon or an underscore follows, since relays and some exporters write one for
/// the other.
pub(super) const fn stem(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Vllm => "vllm",
        EngineKind::Sglang => "sglang",
        EngineKind::TrtllmServe => "trtllm",
        EngineKind::Lmdeploy => "lmdeploy",
        EngineKind::LlamaCpp => "llamacpp",
        EngineKind::Tgi => "tgi",
        EngineKind::Triton => "nv",
    }
}

/// Whether series of a number that differ in this label only are copies of one fact. Every other label distinguishes parts.
///
/// SGLang's ranks of tensor, pipeline, context and expert parallelism have a scheduler each, and all see the same requests;
/// only data-parallel ranks have requests of their own. Its gauges by `priority` break down the series with an empty
/// `priority`, which is their sum; counters have one series per priority.
pub(super) fn is_copy(engine: EngineKind, number: Number, label: &[u8]) -> bool {
    match engine {
        EngineKind::Sglang if label == b"priority" => is_level(number),
        EngineKind::Sglang => label.ends_with(b"_rank") && label != b"dp_rank" && label != b"attn_dp_rank",
        EngineKind::Vllm
        | EngineKind::TrtllmServe
        | EngineKind::Lmdeploy
        | EngineKind::LlamaCpp
        | EngineKind::Tgi
        | EngineKind::Triton => false,
    }
}

/// Whether a number is a present level instead of a total since the start.
const fn is_level(number: Number) -> bool {
    match number {
        Number::Running
        | Number::Waiting
        | Number::Deferred
        | Number::KvUse
        | Number::KvBlocks
        | Number::BlockSize
        | Number::KvTokens
        | Number::MaxRunning => true,
        Number::PromptTokens
        | Number::CachedTokens
        | Number::PrefillSeconds
        | Number::InterTokenSeconds
        | Number::InterTokenCount
        | Number::OutputTokens
        | Number::Preemptions => false,
    }
}

/// The path of the metrics page at most engines, and the first one tried at an unknown engine.
pub(crate) const FIRST_PATH: &str = "/metrics";
/// The path at `trtllm-serve`, whose `/metrics` is another page.
pub(crate) const SECOND_PATH: &str = "/prometheus/metrics";

/// The path of an engine's metrics page.
pub(crate) const fn path(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Vllm
        | EngineKind::Sglang
        | EngineKind::Lmdeploy
        | EngineKind::LlamaCpp
        | EngineKind::Tgi
        | EngineKind::Triton => FIRST_PATH,
        EngineKind::TrtllmServe => SECOND_PATH,
    }
}
