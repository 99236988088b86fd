//! Cost of the engine model: a decode step of a full batch, and a request from submission to its end. The target of the
//! simulator is 100,000 requests per second and core, with ten engines and placement included.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench fails by panicking")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pointsman_core::{BlockHash, Time};
use pointsman_sim::engine::{Detail, Engine, EngineProfile, Request};

fn main() {
    divan::main();
}

fn engine(detail: Detail) -> Engine {
    Engine::new(Arc::new(EngineProfile::named("llama-2-7b-h100").expect("a built-in profile")), detail)
}

/// A request of ShareGPT's mean lengths with a unique prompt.
fn request(number: u64) -> Request {
    let prompt_tokens = 30 + u32::try_from(number * 7919 % 440).unwrap();
    let output_tokens = 4 + u32::try_from(number * 104_729 % 440).unwrap();
    let hashes = (0..u64::from(prompt_tokens / 16)).map(|block| BlockHash(number << 16 | block)).collect();
    Request { prompt_tokens, output_tokens, hashes, adapter: None }
}

/// One step of 256 decoding sequences, with and without a report for each token.
#[divan::bench(args = [Detail::Milestones, Detail::EveryToken])]
fn decode_step(bencher: Bencher<'_, '_>, detail: Detail) {
    let mut engine = engine(detail);
    let mut now = Time::ZERO;
    let refill = move |engine: &mut Engine| {
        while engine.gauges().running + engine.gauges().waiting < 256 {
            engine.submit(Request { prompt_tokens: 8, output_tokens: 4000, ..request(0) }).unwrap();
        }
    };
    bencher.counter(ItemsCount::new(256_u32)).bench_local(|| {
        refill(&mut engine);
        now = engine.start_step(now).map_or(now, |step| step.ends_at);
        black_box(engine.finish_step().len())
    });
}

/// A thousand simultaneous requests on one engine.
#[divan::bench]
fn thousand_requests(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1000_u32)).with_inputs(|| engine(Detail::Milestones)).bench_local_values(
        |mut engine| {
            for number in 0..1000 {
                engine.submit(request(number)).unwrap();
            }
            let mut now = Time::ZERO;
            while let Some(step) = engine.start_step(now) {
                now = step.ends_at;
                black_box(engine.finish_step());
            }
            now
        },
    );
}
