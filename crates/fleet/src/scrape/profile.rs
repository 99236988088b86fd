//! The metrics by which each kind of engine reports its load.
//!
//! Sources: the extension's model server protocol (proposal 003) and the engines' own pages, vLLM 0.6 to 0.32.

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
    /// Triton: requests by the label `request_type`.
    TritonRequests,
    /// Triton: cache figures by the label `kv_cache_block_type`.
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

/// A former name, which is ignored where the page has the preferred one.
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

const TRITON: &[Name] = &[
    labelled("nv_trt_llm_request_metrics", Series::TritonRequests),
    labelled("nv_trt_llm_kv_cache_block_metrics", Series::TritonBlocks),
];

/// The series of an engine.
pub(super) const fn names(engine: EngineKind) -> &'static [Name] {
    match engine {
        EngineKind::Vllm => VLLM,
        EngineKind::Sglang => SGLANG,
        EngineKind::TrtllmServe => TRTLLM_SERVE,
        EngineKind::Triton => TRITON,
    }
}

/// The prefix of the engine's metric names. No engine's page has names of another engine.
pub(super) const fn prefix(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Vllm => "vllm:",
        EngineKind::Sglang => "sglang:",
        EngineKind::TrtllmServe => "trtllm_",
        EngineKind::Triton => "nv_",
    }
}

/// All engines, for detection.
pub(super) const ENGINES: [EngineKind; 4] =
    [EngineKind::Vllm, EngineKind::Sglang, EngineKind::TrtllmServe, EngineKind::Triton];

/// The path of the metrics page at most engines, and the first one tried at an unknown engine.
pub(crate) const FIRST_PATH: &str = "/metrics";
/// The path at `trtllm-serve`, whose `/metrics` is another page.
pub(crate) const SECOND_PATH: &str = "/prometheus/metrics";

/// The path of an engine's metrics page.
pub(crate) const fn path(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Vllm | EngineKind::Sglang | EngineKind::Triton => FIRST_PATH,
        EngineKind::TrtllmServe => SECOND_PATH,
    }
}
