//! The extractor on recorded and synthetic pages, in chunks of any length, and on bad input.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pointsman_config::EngineKind;
use pointsman_core::{AdapterReport, EngineTotals, LoadReport, ModelKey, Time};
use pointsman_fleet::scrape::Extractor;
use proptest::prelude::*;

const LOADED: &str = include_str!("fixtures/vllm-0.32-loaded.txt");
const IDLE: &str = include_str!("fixtures/vllm-0.32-idle.txt");
const AFTER_LOAD: &str = include_str!("fixtures/vllm-0.32-after-load.txt");
const KV_PRESSURE: &str = include_str!("fixtures/vllm-0.32-kv-pressure.txt");
const OLDER: &str = include_str!("fixtures/vllm-0.23-loaded.txt");
const SGLANG: &str = include_str!("fixtures/sglang.txt");
const TRTLLM: &str = include_str!("fixtures/trtllm-serve.txt");
const TRITON: &str = include_str!("fixtures/triton.txt");

const TAKEN: Time = Time::from_nanos(5);

fn read(engine: Option<EngineKind>, page: &[u8]) -> (Option<EngineKind>, Option<LoadReport>) {
    let mut extractor = Extractor::new(engine);
    extractor.feed(page);
    (extractor.engine(), extractor.finish(TAKEN))
}

/// The report is the same whether the engine is named or detected.
#[track_caller]
fn check(page: &str, engine: EngineKind, expected: LoadReport) {
    assert_eq!(read(Some(engine), page.as_bytes()).1.as_ref(), Some(&expected));
    assert_eq!(read(None, page.as_bytes()), (Some(engine), Some(expected)));
}

fn vllm(report: LoadReport) -> LoadReport {
    LoadReport { taken: TAKEN, kv_blocks: Some(512), block_size: Some(32), kv_tokens: Some(16_384), ..report }
}

fn adapters(active: &[&str]) -> Option<AdapterReport> {
    let mut active: Vec<_> = active.iter().map(|name| ModelKey::of(name)).collect();
    active.sort_unstable();
    Some(AdapterReport { max_adapters: 1, active })
}

#[test]
fn a_loaded_vllm_reports_requests_cache_adapters_and_totals() {
    check(
        LOADED,
        EngineKind::Vllm,
        vllm(LoadReport {
            running: Some(8),
            waiting: Some(16),
            deferred: Some(2),
            kv_use: Some(0.140_900_195_694_716_23),
            adapters: adapters(&["tiny-lora-a"]),
            totals: EngineTotals {
                prompt_tokens: Some(2590.0),
                cached_tokens: Some(1056.0),
                prefill_seconds: Some(2.601_327_316_999_231_7),
                inter_token_seconds: Some(11.090_368_171_002_41),
                inter_token_count: Some(1865.0),
                output_tokens: Some(1901.0),
                preemptions: Some(0.0),
            },
            ..LoadReport::default()
        }),
    );
}

#[test]
fn an_older_vllm_reports_the_same_facts() {
    let report = read(None, OLDER.as_bytes()).1.unwrap();
    assert_eq!((report.running, report.waiting, report.deferred), (Some(8), Some(16), Some(2)));
    assert_eq!(report.totals.cached_tokens, Some(192.0));
    assert_eq!(report.totals.prefill_seconds, Some(0.055_089_072_002_374_45));
    assert_eq!(report.adapters, adapters(&["tiny-lora-a"]));
}

#[test]
fn an_idle_vllm_reports_no_adapters() {
    let report = read(None, IDLE.as_bytes()).1.unwrap();
    assert_eq!((report.running, report.waiting, report.kv_use), (Some(0), Some(0), Some(0.0)));
    assert_eq!(report.adapters, None);
}

#[test]
fn the_latest_adapter_series_is_used() {
    assert_eq!(read(None, AFTER_LOAD.as_bytes()).1.unwrap().adapters, adapters(&[]));
}

#[test]
fn a_full_cache_reads_one() {
    let report = read(None, KV_PRESSURE.as_bytes()).1.unwrap();
    assert_eq!((report.kv_use, report.running, report.waiting), (Some(1.0), Some(7), Some(1)));
}

#[test]
fn names_of_early_vllm_versions_are_known() {
    let page = "vllm:num_requests_running{model_name=\"m\"} 3.0\n\
        vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.5\n\
        vllm:gpu_prefix_cache_hits_total{model_name=\"m\"} 7.0\n\
        vllm:time_per_output_token_seconds_sum{model_name=\"m\"} 2.0\n\
        vllm:time_per_output_token_seconds_count{model_name=\"m\"} 4.0\n";
    check(
        page,
        EngineKind::Vllm,
        LoadReport {
            taken: TAKEN,
            running: Some(3),
            kv_use: Some(0.5),
            totals: EngineTotals {
                cached_tokens: Some(7.0),
                inter_token_seconds: Some(2.0),
                inter_token_count: Some(4.0),
                ..EngineTotals::default()
            },
            ..LoadReport::default()
        },
    );
}

#[test]
fn the_preferred_name_wins_in_either_order() {
    for page in [
        "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.5\n",
        "vllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.9\n",
    ] {
        assert_eq!(read(None, page.as_bytes()).1.unwrap().kv_use, Some(0.5), "{page}");
    }
}

#[test]
fn sglang_is_read() {
    check(
        SGLANG,
        EngineKind::Sglang,
        LoadReport {
            taken: TAKEN,
            running: Some(161),
            waiting: Some(3),
            kv_use: Some(0.28),
            kv_blocks: Some(27_000),
            block_size: Some(16),
            totals: EngineTotals {
                prompt_tokens: Some(8_128_902.0),
                cached_tokens: Some(1_024.0),
                inter_token_seconds: Some(866_964.5),
                inter_token_count: Some(7_400_757.0),
                output_tokens: Some(7_557_572.0),
                ..EngineTotals::default()
            },
            ..LoadReport::default()
        },
    );
}

#[test]
fn trtllm_serve_is_read() {
    check(
        TRTLLM,
        EngineKind::TrtllmServe,
        LoadReport {
            taken: TAKEN,
            running: Some(4),
            waiting: Some(2),
            kv_use: Some(0.25),
            kv_blocks: Some(6_239),
            block_size: Some(64),
            ..LoadReport::default()
        },
    );
}

#[test]
fn triton_is_read() {
    check(
        TRITON,
        EngineKind::Triton,
        LoadReport {
            taken: TAKEN,
            running: Some(7),
            waiting: Some(1),
            kv_use: Some(0.4875),
            kv_blocks: Some(6_239),
            block_size: Some(64),
            max_running: Some(512),
            ..LoadReport::default()
        },
    );
}

#[test]
fn data_parallel_ranks_are_summed_and_the_fullest_cache_is_used() {
    let page = "vllm:num_requests_running{engine=\"0\"} 3.0\nvllm:num_requests_running{engine=\"1\"} 4.0\n\
        vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.7\n";
    let report = read(None, page.as_bytes()).1.unwrap();
    assert_eq!((report.running, report.kv_use), (Some(7), Some(0.7)));
}

/// SGLang's labels of a series by rank.
fn sglang(series: &[(&str, &str, f64)]) -> LoadReport {
    let line = |(name, labels, value): &(&str, &str, f64)| {
        format!("sglang:{name}{{engine_type=\"unified\",model_name=\"m\",{labels}}} {value}\n")
    };
    let page: String = series.iter().map(line).collect();
    read(None, page.as_bytes()).1.unwrap()
}

#[test]
fn a_series_that_a_page_has_twice_counts_once() {
    let page = "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3\n\
        vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4\n\
        vllm:num_requests_running{model_name=\"m\",engine=\"0\"} 3\n\
        vllm:generation_tokens_total 7\nvllm:generation_tokens_total 9\n";
    let report = read(None, page.as_bytes()).1.unwrap();
    assert_eq!((report.running, report.totals.output_tokens), (Some(7), Some(9.0)));
}

#[test]
fn white_space_is_where_the_text_format_allows_it() {
    let page = "\tvllm:num_requests_running\t{model_name=\"m\"}\t3\r\n\
        vllm:num_requests_waiting\t2\n  vllm:kv_cache_usage_perc {model_name=\"m\"} 5e-1\n  # comment\n";
    let report = read(None, page.as_bytes()).1.unwrap();
    assert_eq!((report.running, report.waiting, report.kv_use), (Some(3), Some(2), Some(0.5)));
}

#[test]
fn copies_of_sglangs_ranks_count_once() {
    for label in ["tp_rank", "pp_rank", "moe_ep_rank", "attn_cp_rank"] {
        let ranks: Vec<_> = (0..8).map(|rank| format!("{label}=\"{rank}\"")).collect();
        let page: Vec<_> = ranks
            .iter()
            .flat_map(|rank| {
                [
                    ("num_running_reqs", &**rank, 6.0),
                    ("num_queue_reqs", &**rank, 1.0),
                    ("token_usage", &**rank, 0.3),
                    ("num_pages", &**rank, 200.0),
                    ("page_size", &**rank, 64.0),
                    ("max_total_num_tokens", &**rank, 12_800.0),
                ]
            })
            .collect();
        let report = sglang(&page);
        assert_eq!((report.running, report.waiting, report.kv_use), (Some(6), Some(1), Some(0.3)), "{label}");
        assert_eq!(
            (report.kv_blocks, report.block_size, report.kv_tokens),
            (Some(200), Some(64), Some(12_800))
        );
    }
}

#[test]
fn of_copies_that_differ_the_largest_counts_in_any_order() {
    for values in [[4.0, 5.0, 3.0], [5.0, 3.0, 4.0], [3.0, 4.0, 5.0]] {
        let ranks = ["0", "1", "2"].map(|rank| format!("pp_rank=\"{rank}\""));
        let page: Vec<_> =
            ranks.iter().zip(values).map(|(rank, n)| ("num_running_reqs", &**rank, n)).collect();
        assert_eq!(sglang(&page).running, Some(5));
    }
}

#[test]
fn sglangs_data_parallel_ranks_are_parts_that_may_have_copies() {
    let running = |labels: &'static str, value| ("num_running_reqs", labels, value);
    let report = sglang(&[
        running("dp_rank=\"0\",tp_rank=\"0\"", 3.0),
        running("dp_rank=\"0\",tp_rank=\"1\"", 3.0),
        running("tp_rank=\"2\",dp_rank=\"1\"", 4.0),
        running("dp_rank=\"1\",tp_rank=\"3\"", 4.0),
    ]);
    assert_eq!(report.running, Some(7));
}

#[test]
fn sglangs_gauges_by_priority_are_a_break_down_and_its_counters_are_not() {
    let report = sglang(&[
        ("num_queue_reqs", "priority=\"\"", 5.0),
        ("num_queue_reqs", "priority=\"1\"", 2.0),
        ("num_queue_reqs", "priority=\"10\"", 3.0),
        ("prompt_tokens_total", "priority=\"1\"", 20.0),
        ("prompt_tokens_total", "priority=\"10\"", 30.0),
        ("cached_tokens_total", "cache_source=\"device\"", 4.0),
        ("cached_tokens_total", "cache_source=\"host\"", 6.0),
    ]);
    assert_eq!(report.waiting, Some(5));
    assert_eq!((report.totals.prompt_tokens, report.totals.cached_tokens), (Some(50.0), Some(10.0)));
}

#[test]
fn a_hybrid_vllm_states_its_capacity_in_tokens() {
    let page = "vllm:cache_config_info{block_size=\"8\",engine=\"0\",kv_cache_size_tokens=\"463459\",num_gpu_blocks=\"320\"} 1\n\
        vllm:cache_config_info{block_size=\"8\",engine=\"1\",kv_cache_size_tokens=\"463459\",num_gpu_blocks=\"320\"} 1\n";
    let report = read(None, page.as_bytes()).1.unwrap();
    assert_eq!((report.kv_blocks, report.block_size, report.kv_tokens), (Some(640), Some(8), Some(926_918)));
    let unknown = page.replace("463459", "None");
    assert_eq!(read(None, unknown.as_bytes()).1.unwrap().kv_tokens, None);
}

#[test]
fn the_engine_is_the_one_whose_load_the_page_shows_not_the_first() {
    let page = "nv_inference_request_success{model=\"m\",version=\"1\"} 9\n\
        nv_inference_pending_request_count{model=\"m\",version=\"1\"} 0\n\
        vllm:num_requests_running{model=\"m\"} 3\nvllm:num_requests_waiting{model=\"m\"} 2\n\
        vllm:gpu_cache_usage_perc{model=\"m\"} 0.4\n";
    let (engine, report) = read(None, page.as_bytes());
    let report = report.unwrap();
    assert_eq!(engine, Some(EngineKind::Vllm), "Triton's vLLM backend");
    assert_eq!((report.running, report.waiting, report.kv_use), (Some(3), Some(2), Some(0.4)));
    let (engine, report) = read(Some(EngineKind::Triton), page.as_bytes());
    assert_eq!(
        (engine, report.unwrap().waiting),
        (Some(EngineKind::Triton), Some(0)),
        "the manifest's word counts"
    );
}

#[track_caller]
fn check_load(
    page: &str,
    engine: EngineKind,
    running: Option<u32>,
    waiting: Option<u32>,
    kv_use: Option<f64>,
) {
    let (found, report) = read(None, page.as_bytes());
    let report = report.unwrap();
    assert_eq!(found, Some(engine), "{page}");
    assert_eq!((report.running, report.waiting, report.kv_use), (running, waiting, kv_use), "{page}");
}

#[test]
fn the_queues_of_further_engines_are_read() {
    let triton =
        "nv_inference_pending_request_count{model=\"a\",version=\"1\"} 6\nnv_gpu_memory_used_bytes 1e+10\n";
    check_load(triton, EngineKind::Triton, None, Some(6), None);
    let with_trtllm = format!("{triton}nv_trt_llm_request_metrics{{request_type=\"waiting\"}} 4\n");
    check_load(&with_trtllm, EngineKind::Triton, None, Some(4), None);
    let llama =
        "llamacpp:prompt_tokens_total 143\nllamacpp:requests_processing 2\nllamacpp:requests_deferred 5\n";
    check_load(llama, EngineKind::LlamaCpp, Some(2), Some(5), None);
    let older = format!("{llama}llamacpp:kv_cache_usage_ratio 0.63\n");
    check_load(&older, EngineKind::LlamaCpp, Some(2), Some(5), Some(0.63));
    let tgi = "tgi_queue_size 3\ntgi_batch_current_size 8\ntgi_batch_current_max_tokens 2048\n";
    check_load(tgi, EngineKind::Tgi, Some(8), Some(3), None);
    let lmdeploy = "lmdeploy:num_requests_running{engine=\"0\",model_name=\"m\"} 4\n\
        lmdeploy:num_requests_waiting{engine=\"0\",model_name=\"m\"} 1\n\
        lmdeploy:gpu_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.2\n";
    check_load(lmdeploy, EngineKind::Lmdeploy, Some(4), Some(1), Some(0.2));
}

#[test]
fn names_with_an_underscore_for_the_colon_are_the_same() {
    check_load(&SGLANG.replace("sglang:", "sglang_"), EngineKind::Sglang, Some(161), Some(3), Some(0.28));
    check_load(
        &LOADED.replace("vllm:", "vllm_"),
        EngineKind::Vllm,
        Some(8),
        Some(16),
        Some(0.140_900_195_694_716_23),
    );
}

#[test]
fn a_cut_page_keeps_what_was_read_but_not_its_last_line() {
    let mut extractor = Extractor::new(None);
    extractor.feed(b"vllm:num_requests_running 3\nvllm:num_requests_waiting 12");
    let report = extractor.finish_cut(TAKEN).unwrap();
    assert_eq!((report.running, report.waiting), (Some(3), None));
}

#[track_caller]
fn check_bad(value: &str) {
    let page = format!(
        "vllm:num_requests_running {value}\nvllm:kv_cache_usage_perc {value}\nvllm:prompt_tokens_total {value}\n\
         vllm:lora_requests_info{{max_lora=\"{value}\",running_lora_adapters=\"a\"}} {value}\n\
         vllm:cache_config_info{{block_size=\"{value}\",num_gpu_blocks=\"None\"}} 1\n"
    );
    let report =
        read(None, page.as_bytes()).1.unwrap_or(LoadReport { taken: TAKEN, ..LoadReport::default() });
    assert_eq!(report, LoadReport { taken: TAKEN, ..LoadReport::default() }, "{value}");
}

#[test]
fn implausible_numbers_are_ignored() {
    for value in ["NaN", "+Inf", "-Inf", "inf", "-1", "1e300", "", "ten", "0x10", "\u{221e}"] {
        check_bad(value);
    }
}

#[test]
fn one_implausible_rank_invalidates_the_sum() {
    for page in [
        "vllm:num_requests_running 3\nvllm:num_requests_running NaN\n",
        "vllm:num_requests_running -1\nvllm:num_requests_running 3\n",
    ] {
        assert_eq!(read(None, page.as_bytes()).1.unwrap().running, None);
    }
}

#[test]
fn adapter_names_are_trimmed_and_both_lists_are_used() {
    let page = "vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\" a , b,\",waiting_lora_adapters=\"b,c \"} 2\n\
        vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"old\",waiting_lora_adapters=\"\"} 1\n";
    let mut active = vec![ModelKey::of("a"), ModelKey::of("b"), ModelKey::of("c")];
    active.sort_unstable();
    let report = read(None, page.as_bytes()).1.unwrap();
    assert_eq!(report.adapters, Some(AdapterReport { max_adapters: 4, active }));
}

#[test]
fn pages_of_other_servers_have_no_report() {
    for page in [
        "",
        "\n",
        "[]",
        "<html>",
        "go_goroutines 7\n",
        "vllm:num_requests_running",
        "# vllm:num_requests_running 3\n",
    ] {
        assert_eq!(read(None, page.as_bytes()).1, None, "{page}");
    }
}

#[test]
fn a_line_beyond_the_limit_is_skipped() {
    let mut extractor = Extractor::new(None);
    extractor.feed(b"vllm:num_requests_waiting{x=\"");
    for _ in 0..1_000 {
        extractor.feed(&[b'x'; 1_000]);
    }
    extractor.feed(b"\"} 7\nvllm:num_requests_running 3\n");
    let report = extractor.finish(TAKEN).unwrap();
    assert_eq!((report.waiting, report.running), (None, Some(3)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_report_does_not_depend_on_the_chunks(cuts in proptest::collection::vec(0..LOADED.len(), 0..40)) {
        let mut cuts = cuts;
        cuts.extend([0, LOADED.len()]);
        cuts.sort_unstable();
        let mut extractor = Extractor::new(None);
        for pair in cuts.windows(2) {
            extractor.feed(&LOADED.as_bytes()[pair[0]..pair[1]]);
        }
        prop_assert_eq!(extractor.finish(TAKEN), read(None, LOADED.as_bytes()).1);
    }

    #[test]
    fn damaged_pages_do_not_panic(
        mut page in Just(LOADED.as_bytes()[3_000..6_000].to_vec()),
        damage in proptest::collection::vec((0..3_000_usize, any::<u8>()), 0..60),
        step in 1..700_usize,
    ) {
        for (at, byte) in damage {
            page[at] = byte;
        }
        let mut extractor = Extractor::new(None);
        page.chunks(step).for_each(|piece| extractor.feed(piece));
        let split = extractor.finish(TAKEN);
        prop_assert_eq!(&split, &read(None, &page).1);
        if let Some(report) = split {
            prop_assert!(report.kv_use.is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }
}

#[test]
fn chunks_of_one_byte_give_the_same_report() {
    for page in [LOADED, SGLANG, TRTLLM, TRITON] {
        let mut extractor = Extractor::new(None);
        page.as_bytes().chunks(1).for_each(|byte| extractor.feed(byte));
        assert_eq!(extractor.finish(TAKEN), read(None, page.as_bytes()).1);
    }
}
