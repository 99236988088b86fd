//! `/metrics`: the page of vLLM 0.32.0, as far as the model knows what it says.

use std::fmt::Write;

use pointsman_sim::engine::Gauges;

use crate::app::App;
use crate::live::{Histogram, Observations};

/// A page under construction.
#[derive(Debug)]
struct Page {
    text: String,
    /// The label that every series has, and which comes in order of name: after `engine`.
    model: String,
    /// When the counters began, as the page writes it.
    created: String,
}

/// The page of this server now.
pub(crate) fn page(app: &App) -> String {
    let (gauges, observations) = app.live.observations();
    let model = escaped(&app.config.model);
    let mut page = Page {
        text: String::with_capacity(48 << 10),
        model: format!(r#"model_name="{model}""#),
        created: number(app.started),
    };
    page.load(&gauges);
    page.tokens(&gauges);
    page.requests(&observations);
    page.configuration(app, &observations);
    page.models(app, &observations);
    page.text
}

impl Page {
    fn load(&mut self, gauges: &Gauges) {
        let capacity = gauges.waiting - gauges.deferred;
        self.gauge(
            "vllm:num_requests_running",
            "Number of requests in model execution batches.",
            gauges.running.into(),
        );
        self.gauge(
            "vllm:num_requests_waiting",
            "Number of requests waiting to be processed.",
            gauges.waiting.into(),
        );
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
        self.counter(
            "vllm:prefix_cache_queries",
            "Prefix cache queries, in terms of number of queried tokens.",
            totals.prefix_queries,
        );
        self.counter(
            "vllm:prefix_cache_hits",
            "Prefix cache hits, in terms of number of cached tokens.",
            totals.prefix_hits,
        );
        self.counter(
            "vllm:num_preemptions",
            "Cumulative number of preemption from the engine.",
            totals.preemptions,
        );
        self.counter("vllm:prompt_tokens", "Number of prefill tokens processed.", totals.prompt_tokens);
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
        self.counter(
            "vllm:prompt_tokens_cached",
            "Number of cached prompt tokens (local + external).",
            totals.prefix_hits,
        );
        self.counter(
            "vllm:generation_tokens",
            "Number of generation tokens processed.",
            totals.generated_tokens,
        );
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    fn requests(&mut self, seen: &Observations) {
        self.counters(
            "vllm:request_success",
            "Count of successfully processed requests.",
            "finished_reason",
            &[
                ("stop", seen.served_stop as f64),
                ("length", seen.served_length as f64),
                // Aborted requests are counted nowhere.
                ("abort", 0.0),
                ("error", 0.0),
                ("repetition", 0.0),
            ],
        );
        for (name, help, histogram) in [
            ("request_prompt_tokens", "Number of prefill tokens processed.", &seen.prompt_tokens),
            ("request_generation_tokens", "Number of generation tokens processed.", &seen.generation_tokens),
            ("request_max_num_generation_tokens", "Most generation tokens requested.", &seen.max_tokens),
            ("request_params_n", "Histogram of the n request parameter.", &seen.choices),
            ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", &seen.max_tokens),
            ("time_to_first_token_seconds", "Time to first token in seconds.", &seen.time_to_first_token),
            ("inter_token_latency_seconds", "Inter-token latency in seconds.", &seen.inter_token),
            (
                "request_time_per_output_token_seconds",
                "Time per output token in seconds per request.",
                &seen.per_output_token,
            ),
            ("e2e_request_latency_seconds", "E2E request latency in seconds.", &seen.e2e),
            ("request_queue_time_seconds", "Time spent in WAITING phase for request.", &seen.queue),
            ("request_inference_time_seconds", "Time spent in RUNNING phase for request.", &seen.inference),
            ("request_prefill_time_seconds", "Time spent in PREFILL phase for request.", &seen.prefill),
            ("request_decode_time_seconds", "Time spent in DECODE phase for request.", &seen.decode),
        ] {
            self.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }

    /// Ours, not vLLM's, which counts adapters under their base model: whoever splits traffic over target models wants
    /// the engine's own count of each.
    fn models(&mut self, app: &App, seen: &Observations) {
        let name = "pointsman_engine_requests_total";
        self.head(
            name,
            "Count of successfully processed requests by the model that was asked for.",
            "counter",
        );
        for (adapter, count) in &seen.served_by_adapter {
            let model =
                adapter.map_or_else(|| app.config.model.clone(), |adapter| app.live.adapter_name(adapter));
            // Writing to a string does not fail.
            let _ = writeln!(self.text, r#"{name}{{model="{}"}} {count}"#, escaped(&model));
        }
    }

    fn configuration(&mut self, app: &App, seen: &Observations) {
        let profile = &app.config.profile;
        self.head("vllm:lora_requests_info", "Running stats on lora requests.", "gauge");
        for (names, seconds) in &seen.adapter_sets {
            // vLLM's exporter joins the keys of both maps: an adapter that runs is listed as waiting as well.
            let (names, slots, value) = (escaped(names), profile.max_adapters, number(*seconds));
            let labels = format!(
                r#"max_lora="{slots}",running_lora_adapters="{names}",waiting_lora_adapters="{names}""#
            );
            let _ = writeln!(self.text, "vllm:lora_requests_info{{{labels}}} {value}");
        }
        self.head("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", "gauge");
        let (block_size, blocks) = (profile.block_size, profile.blocks);
        let tokens = u64::from(block_size) * u64::from(blocks);
        let _ = writeln!(
            self.text,
            r#"vllm:cache_config_info{{block_size="{block_size}",cache_dtype="auto",enable_prefix_caching="True",engine="0",gpu_memory_utilization="0.9",kv_cache_size_tokens="{tokens}",num_cpu_blocks="None",num_gpu_blocks="{blocks}",prefix_caching_hash_algo="sha256",sliding_window="None"}} 1.0"#
        );
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One series, with at most one label besides the two that all have; labels stand in order of name.
    fn series(&mut self, name: &str, label: Option<(&str, &str)>, value: &str) {
        let model = &self.model;
        let _ = match label {
            None => writeln!(self.text, r#"{name}{{engine="0",{model}}} {value}"#),
            Some((label, of)) if label < "model_name" => {
                writeln!(self.text, r#"{name}{{engine="0",{label}="{of}",{model}}} {value}"#)
            }
            Some((label, of)) => {
                writeln!(self.text, r#"{name}{{engine="0",{model},{label}="{of}"}} {value}"#)
            }
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        self.series(name, None, &number(value));
    }

    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        self.head(name, help, "gauge");
        for (of, value) in values {
            self.series(name, Some((label, of)), &number(*value));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let total = format!("{name}_total");
        self.head(&total, help, "counter");
        self.series(&total, None, &number(value as f64));
        self.created(name, help, &[None]);
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        let total = format!("{name}_total");
        self.head(&total, help, "counter");
        for (of, value) in values {
            self.series(&total, Some((label, of)), &number(*value));
        }
        let labels: Vec<_> = values.iter().map(|(of, _)| Some((label, *of))).collect();
        self.created(name, help, &labels);
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.series(&bucket, Some(("le", &number(bound))), &number(count as f64));
        }
        let count = number(histogram.count() as f64);
        self.series(&bucket, Some(("le", "+Inf")), &count);
        self.series(&format!("{name}_count"), None, &count);
        self.series(&format!("{name}_sum"), None, &number(histogram.sum()));
        self.created(name, help, &[None]);
    }

    /// The time since which a counter counts, which the Python client exports as a gauge of its own.
    fn created(&mut self, name: &str, help: &str, labels: &[Option<(&str, &str)>]) {
        let name = format!("{name}_created");
        self.head(&name, help, "gauge");
        let created = self.created.clone();
        for label in labels {
            self.series(&name, *label, &created);
        }
    }
}

/// A number as Python's client library writes it: at least one decimal, an exponent from a million on.
fn number(value: f64) -> String {
    let plain = format!("{value:?}");
    let Some((whole, fraction)) = plain.split_once('.').filter(|_| !plain.contains('e')) else {
        return plain;
    };
    if value <= 0.0 || whole.len() <= 6 {
        return plain;
    }
    let (first, rest) = whole.split_at(1);
    let digits = format!("{rest}{fraction}");
    let exponent = whole.len() - 1;
    let mantissa = digits.trim_end_matches('0');
    let point = if mantissa.is_empty() { "" } else { "." };
    format!("{first}{point}{mantissa}e+{exponent:02}")
}

/// A label's value with what the format reserves escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (18653.0, "18653.0"),
            (0.001, "0.001"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (2_263_539_712.0, "2.263539712e+09"),
            (1_795_252_160.734_826, "1.795252160734826e+09"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_label_cannot_break_its_line() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
