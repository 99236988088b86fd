//! `/metrics`: the metric families of vLLM 0.32.0 that the engine model has values for.

mod exposition;

use std::fmt::Write;

use pointsman_sim::engine::{AdapterId, Gauges};

use self::exposition::{Page, escape_label, format_number};
use crate::app::App;
use crate::live::EngineStats;
use crate::text::FinishReason;

/// The current page of a server.
pub(crate) fn page(app: &App) -> String {
    let (gauges, stats) = app.engine.stats();
    let mut page = Page::new(&app.config.model, app.started);
    page.load(&gauges);
    page.tokens(&gauges);
    page.requests(&stats);
    page.configuration(app, &stats);
    page.models(app, &stats);
    page.text
}

impl Page {
    fn load(&mut self, gauges: &Gauges) {
        let capacity = gauges.waiting - gauges.deferred;
        let running = gauges.running.into();
        self.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", running);
        let waiting = gauges.waiting.into();
        self.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", waiting);
        self.gauges(
            "vllm:num_requests_waiting_by_reason",
            "Number of waiting requests by reason: 'capacity' for scheduling capacity, 'deferred' for transient \
             constraints such as the LoRA budget. Their sum is vllm:num_requests_waiting.",
            "reason",
            &[("capacity", capacity.into()), ("deferred", gauges.deferred.into())],
        );
        self.gauges(
            "vllm:engine_sleep_state",
            "Engine sleep state; awake = 1 means the engine is awake.",
            "sleep_state",
            &[("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)],
        );
        self.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", gauges.kv_usage);
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    fn tokens(&mut self, gauges: &Gauges) {
        let totals = &gauges.totals;
        for (name, help, value) in [
            (
                "prefix_cache_queries",
                "Prefix cache queries, in terms of number of queried tokens.",
                totals.prefix_queries,
            ),
            (
                "prefix_cache_hits",
                "Prefix cache hits, in terms of number of cached tokens.",
                totals.prefix_hits,
            ),
            ("num_preemptions", "Cumulative number of preemption from the engine.", totals.preemptions),
            ("prompt_tokens", "Number of prefill tokens processed.", totals.prompt_tokens),
        ] {
            self.counter(&format!("vllm:{name}"), help, value);
        }
        self.counters(
            "vllm:prompt_tokens_by_source",
            "Number of prompt tokens by source.",
            "source",
            &[
                ("local_compute", totals.prompt_tokens.saturating_sub(totals.prefix_hits) as f64),
                ("local_cache_hit", totals.prefix_hits as f64),
                ("external_kv_transfer", 0.0),
            ],
        );
        let cached = "Number of cached prompt tokens (local + external).";
        self.counter("vllm:prompt_tokens_cached", cached, totals.prefix_hits);
        let generated = "Number of generation tokens processed.";
        self.counter("vllm:generation_tokens", generated, totals.generated_tokens);
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    fn requests(&mut self, stats: &EngineStats) {
        let finished = |reason| stats.finished.get(&reason).copied().unwrap_or(0) as f64;
        self.counters(
            "vllm:request_success",
            "Count of successfully processed requests.",
            "finished_reason",
            &[
                ("stop", finished(FinishReason::Stop)),
                ("length", finished(FinishReason::Length)),
                // vLLM does not count aborted requests.
                ("abort", 0.0),
                ("error", 0.0),
                ("repetition", 0.0),
            ],
        );
        for (name, help, histogram) in [
            ("request_prompt_tokens", "Number of prefill tokens processed.", &stats.prompt_tokens),
            ("request_generation_tokens", "Number of generation tokens processed.", &stats.generation_tokens),
            ("request_max_num_generation_tokens", "Most generation tokens requested.", &stats.max_tokens),
            ("request_params_n", "Histogram of the n request parameter.", &stats.choices),
            (
                "request_params_max_tokens",
                "Histogram of the max_tokens request parameter.",
                &stats.max_tokens,
            ),
            ("time_to_first_token_seconds", "Time to first token in seconds.", &stats.time_to_first_token),
            ("inter_token_latency_seconds", "Inter-token latency in seconds.", &stats.inter_token),
            (
                "request_time_per_output_token_seconds",
                "Time per output token in seconds per request.",
                &stats.per_output_token,
            ),
            ("e2e_request_latency_seconds", "E2E request latency in seconds.", &stats.e2e),
            ("request_queue_time_seconds", "Time spent in WAITING phase for request.", &stats.queue),
            ("request_inference_time_seconds", "Time spent in RUNNING phase for request.", &stats.inference),
            ("request_prefill_time_seconds", "Time spent in PREFILL phase for request.", &stats.prefill),
            ("request_decode_time_seconds", "Time spent in DECODE phase for request.", &stats.decode),
        ] {
            self.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }

    /// Requests by adapter, which vLLM counts under the base model: traffic splits over target models are tested with
    /// them.
    fn models(&mut self, app: &App, stats: &EngineStats) {
        let name = "pointsman_engine_requests_total";
        self.header(
            name,
            "Count of successfully processed requests by the model that was asked for.",
            "counter",
        );
        for (adapter, count) in &stats.finished_by_adapter {
            let sequences = app.engine.lock();
            let adapter_name = |adapter: AdapterId| sequences.adapter_names.get(adapter.0 as usize);
            let model = adapter.map_or(Some(&app.config.model), adapter_name).map_or("", String::as_str);
            let _ = writeln!(self.text, r#"{name}{{model="{}"}} {count}"#, escape_label(model));
        }
    }

    fn configuration(&mut self, app: &App, stats: &EngineStats) {
        let profile = &app.config.profile;
        self.header("vllm:lora_requests_info", "Running stats on lora requests.", "gauge");
        for (names, seconds) in &stats.adapter_sets {
            // vLLM joins the keys of the maps of running and waiting adapters for both labels.
            let (names, slots, value) = (escape_label(names), profile.max_adapters, format_number(*seconds));
            let labels = format!(
                r#"max_lora="{slots}",running_lora_adapters="{names}",waiting_lora_adapters="{names}""#
            );
            let _ = writeln!(self.text, "vllm:lora_requests_info{{{labels}}} {value}");
        }
        self.header("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", "gauge");
        let (block_size, blocks) = (profile.block_size, profile.blocks);
        let tokens = u64::from(block_size) * u64::from(blocks);
        let _ = writeln!(
            self.text,
            r#"vllm:cache_config_info{{block_size="{block_size}",cache_dtype="auto",enable_prefix_caching="True",engine="0",gpu_memory_utilization="0.9",kv_cache_size_tokens="{tokens}",num_cpu_blocks="None",num_gpu_blocks="{blocks}",prefix_caching_hash_algo="sha256",sliding_window="None"}} 1.0"#
        );
    }
}
