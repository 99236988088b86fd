//! The series by which each kind of engine shows its load, under old and new names.
//!
//! Names: the extension's model server protocol (proposal 003) and the engines' own pages, vLLM 0.6 to 0.32.

use pointsman_config::EngineKind;

/// What a series tells. Where it stands for several, a label says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// One number of the reading.
    Number(Number),
    /// vLLM: waiting requests by the label `reason`.
    WaitingByReason,
    /// vLLM: facts about the cache as labels.
    VllmCacheConfig,
    /// SGLang: facts about the cache as labels.
    SglangCacheConfig,
    /// vLLM: adapters as labels, the time as value.
    LoraInfo,
    /// Triton: requests by the label `request_type`.
    TritonRequests,
    /// Triton: facts about the cache by the label `kv_cache_block_type`.
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

/// A series by its full name. Of several names for one fact the one listed first counts where a page has both.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) series: Series,
    /// 0 for the preferred name.
    pub(super) rank: u8,
}

const fn number(name: &'static str, number: Number) -> Name {
    Name { name, series: Series::Number(number), rank: 0 }
}

/// A name that gives way to the preferred one.
const fn older(name: &'static str, number: Number) -> Name {
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
    older("vllm:gpu_cache_usage_perc", Number::KvUse),
    labelled("vllm:cache_config_info", Series::VllmCacheConfig),
    labelled("vllm:lora_requests_info", Series::LoraInfo),
    number("vllm:prompt_tokens_total", Number::PromptTokens),
    number("vllm:prompt_tokens_cached_total", Number::CachedTokens),
    older("vllm:prefix_cache_hits_total", Number::CachedTokens),
    older("vllm:gpu_prefix_cache_hits_total", Number::CachedTokens),
    number("vllm:request_prefill_time_seconds_sum", Number::PrefillSeconds),
    number("vllm:inter_token_latency_seconds_sum", Number::InterTokenSeconds),
    older("vllm:time_per_output_token_seconds_sum", Number::InterTokenSeconds),
    number("vllm:inter_token_latency_seconds_count", Number::InterTokenCount),
    older("vllm:time_per_output_token_seconds_count", Number::InterTokenCount),
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
    older("sglang:time_per_output_token_seconds_sum", Number::InterTokenSeconds),
    number("sglang:inter_token_latency_seconds_count", Number::InterTokenCount),
    older("sglang:time_per_output_token_seconds_count", Number::InterTokenCount),
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

/// What the engine's names begin with; no engine's own page has names of another.
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

/// Where nearly all engines have their page, and where an unknown engine is asked first.
pub(crate) const FIRST_PATH: &str = "/metrics";
/// Where `trtllm-serve` has it: its `/metrics` is something else.
pub(crate) const SECOND_PATH: &str = "/prometheus/metrics";

/// Where an engine's page is.
pub(crate) const fn path(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Vllm | EngineKind::Sglang | EngineKind::Triton => FIRST_PATH,
        EngineKind::TrtllmServe => SECOND_PATH,
    }
}
