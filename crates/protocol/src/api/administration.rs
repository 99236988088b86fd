//! Administration paths of engines: they change an engine for all clients, or reveal its internal state.
//!
//! Collected from the route tables of vLLM (`entrypoints/serve`), SGLang (`srt/entrypoints/http_server.py`),
//! TensorRT-LLM (`serve/openai_server.py`) and Triton (its HTTP extensions).

/// Complete paths without the leading slash, sorted.
const PATHS: &[&str] = &[
    "abort_request",
    "abort_requests",
    "add_external_corpus",
    "clear_hicache_storage_backend",
    "close_session",
    "collective_rpc",
    "configure_logging",
    "continue_generation",
    "destroy_weights_update_group",
    "dump_expert_distribution_record",
    "finish_weight_update",
    "flush_cache",
    "freeze_gc",
    "get_internal_state",
    "get_load",
    "get_server_info",
    "get_weights_by_name",
    "get_world_size",
    "hicache/storage-backend",
    "init_weight_transfer_engine",
    "init_weights_send_group_for_remote_instance",
    "init_weights_update_group",
    "is_paused",
    "is_scaling_elastic_ep",
    "is_sleeping",
    "kv_cache_events",
    "kv_event_sources",
    "load_lora_adapter",
    "load_lora_adapter_from_tensors",
    "open_session",
    "pause",
    "pause_generation",
    "release_memory",
    "release_memory_occupation",
    "remove_external_corpus",
    "reset_encoder_cache",
    "reset_mm_cache",
    "reset_prefix_cache",
    "resume",
    "resume_memory",
    "resume_memory_occupation",
    "scale_elastic_ep",
    "send_weights_to_remote_instance",
    "server_info",
    "set_internal_state",
    "set_trace_level",
    "shutdown",
    "sleep",
    "slow_down",
    "start_draft_weight_update",
    "start_expert_distribution_record",
    "start_profile",
    "start_trace",
    "start_weight_update",
    "stop_expert_distribution_record",
    "stop_profile",
    "stop_trace",
    "unload_lora_adapter",
    "update_weight_version",
    "update_weights",
    "update_weights_from_disk",
    "update_weights_from_distributed",
    "update_weights_from_ipc",
    "update_weights_from_tensor",
    "v1/load_lora_adapter",
    "v1/loads",
    "v1/unload_lora_adapter",
    "wake_up",
    "weight_checker",
    "weight_info",
    "weights_checker",
];

/// Prefixes of administration paths. The first three are families that grow with each release.
const PREFIXES: &[&str] = &[
    "update_weights",
    "hicache/",
    "fault_tolerance/",
    "v2/repository/",
    "v2/systemsharedmemory",
    "v2/cudasharedmemory",
    "v2/logging",
    "v2/trace",
];

/// Suffixes below a model's path (Triton: `/v2/models/NAME/trace/setting`).
const SUFFIXES: &[&str] = &["/trace/setting"];

/// Whether a normalized path is an administration path. Case is ignored, and so is any prefix, since engines can be
/// started with a root path.
pub(super) fn is_administration(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut rest = lower.as_str();
    while let Some(start) = rest.find('/') {
        rest = rest.get(start + 1..).unwrap_or_default();
        if PATHS.binary_search(&rest).is_ok() || PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
            return true;
        }
    }
    SUFFIXES.iter().any(|suffix| lower.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::PATHS;

    #[test]
    fn paths_are_sorted_for_binary_search() {
        assert!(PATHS.is_sorted());
    }
}
