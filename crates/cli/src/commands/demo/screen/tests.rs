use pointsman_report::Interval;

use super::*;

fn standing() -> Standing {
    let base = |statistic: Statistic| match (statistic.measure, statistic.level) {
        (Measure::Ttft, Level::P90) => [Some(330.4), Some(83.5)],
        (Measure::E2e, Level::P99) => [Some(1_470.0), None],
        (Measure::Tpot, Level::P99) => [Some(15.4), Some(16.0)],
        (_, Level::P50) => [Some(29.3), Some(21.2)],
        (_, Level::P90 | Level::P99) => [Some(742.0), Some(201.0)],
    };
    let figure = |statistic| Figure { statistic, values: base(statistic), interval: None };
    let slice = |index: u32| [Some(100.0 * f64::from(index)), (index < 4).then_some(80.0)];
    let engine = |port: u32| EngineState {
        address: format!("127.0.0.1:{port}"),
        in_flight: Some(6),
        running: Some(5),
        waiting: Some(1),
        kv_use: Some(0.031),
        token_ms: (port != 40_003).then_some(8.4),
    };
    Standing {
        set_up: SetUp {
            lines: ["4 simulated engines; load 80 %, 44.9/s", "  kubernetes-service", "  pointsman"]
                .map(str::to_owned)
                .to_vec(),
            names: ["kubernetes-service", "pointsman"].map(str::to_owned),
        },
        figures: Figures {
            latencies: Statistic::all().map(figure).collect(),
            completed: [658, 660],
            failed: [0, 1],
            by_slice: (1..=4).map(slice).collect(),
        },
        running: Running { arm: 1, slice: Some(3), ended: 9, of: 18, in_flight: 19 },
        engines: (40_000..40_004).map(engine).collect(),
    }
}

fn with_intervals(mut standing: Standing) -> Standing {
    standing.figures = standing.figures.with_intervals(|statistic| match statistic.level {
        Level::P50 => Some(Interval { low: -0.363, high: 0.0222 }),
        Level::P90 => Some(Interval { low: -417.0, high: -118.0 }),
        Level::P99 => Some(Interval { low: 1.5, high: 22.0 }),
    });
    standing
}

fn text(block: &Block) -> String {
    block.iter().map(|line| line.render(false) + "\n").collect()
}

#[test]
fn a_terminal_of_80_by_24_shows_both_arms_and_the_engines() {
    let expect = "\
4 simulated engines; load 80 %, 44.9/s
  kubernetes-service
  pointsman

slice 4 of 8 through pointsman          █████████████░░░░░░░░░░░░░  19 in flight

TTFT p90 -75 % so far: 83.5 ms instead of 330 ms
  kubernetes-service  ████████████████████████████████████████████████ 330 ms
  pointsman           ████████████ 83.5 ms

latency   kubernetes-service  pointsman  change
TTFT p50             29.3 ms    21.2 ms   -28 %
TTFT p99              742 ms     201 ms   -73 %
TPOT p90              742 ms     201 ms   -73 %
E2E p50              29.3 ms    21.2 ms   -28 %
E2E p90               742 ms     201 ms   -73 %
E2E p99               1.47 s          –       –
failed              0 of 658   1 of 661

engine           from pointsman  running  waiting  KV cache  time per token
127.0.0.1:40000               6        5        1       3 %         8.40 ms
127.0.0.1:40001               6        5        1       3 %         8.40 ms
127.0.0.1:40002               6        5        1       3 %         8.40 ms
127.0.0.1:40003               6        5        1       3 %               –
";
    assert_eq!(text(&live(&standing(), 80, 24)), expect);
}

#[test]
fn the_result_fits_a_terminal_of_80_by_24_with_the_shells_prompt() {
    let footer = vec![Line::plain("Try it:"); 5];
    let expect = "\
TTFT p90 -75 %: 83.5 ms instead of 330 ms

latency   kubernetes-service  pointsman  change         95 % interval
TTFT p50             29.3 ms    21.2 ms   -28 %  -0.363 ms to 22.2 µs  unclear
TTFT p90              330 ms    83.5 ms   -75 %    -417 ms to -118 ms   better
TTFT p99              742 ms     201 ms   -73 %    1.50 ms to 22.0 ms    worse
TPOT p50             29.3 ms    21.2 ms   -28 %  -0.363 ms to 22.2 µs  unclear
TPOT p90              742 ms     201 ms   -73 %    -417 ms to -118 ms   better
TPOT p99             15.4 ms    16.0 ms    +4 %    1.50 ms to 22.0 ms    worse
E2E p50              29.3 ms    21.2 ms   -28 %  -0.363 ms to 22.2 µs  unclear
E2E p90               742 ms     201 ms   -73 %    -417 ms to -118 ms   better
E2E p99               1.47 s          –       –    1.50 ms to 22.0 ms    worse
failed              0 of 658   1 of 661

4 simulated engines; load 80 %, 44.9/s
  kubernetes-service
  pointsman

Try it:
Try it:
Try it:
Try it:
Try it:
";
    let found = result(&with_intervals(standing()), &footer, 80, 24);
    assert_eq!(text(&found), expect);
    assert_eq!(found.len(), 23);
}

#[test]
fn a_large_terminal_shows_more() {
    let wide = text(&live(&standing(), 170, 30));
    let both = wide.lines().find(|line| line.starts_with("TTFT p90 -75 %")).unwrap();
    assert!(both.ends_with("TTFT p90 in slice 1"), "{wide}");
    assert!(wide.lines().any(|line| line.ends_with("time per token")), "{wide}");
    assert!(wide.lines().count() <= 30, "{wide}");
    let large = text(&live(&standing(), 200, 50));
    for part in ["NTPOT p99", "TTFT p90 in slice 4", "127.0.0.1:40003"] {
        assert!(large.contains(part), "{part} is missing in\n{large}");
    }
    let tall = text(&live(&standing(), 80, 50));
    assert!(tall.contains("NTPOT p99") && tall.contains("TTFT p90 by slice"), "{tall}");
}

#[test]
fn every_screen_stays_within_its_terminal() {
    let footer = vec![Line::plain("x".repeat(80)); 5];
    for state in [Standing::default(), standing(), with_intervals(standing())] {
        for width in [1, 20, 40, 79, 80, 120, 149, 150, 200, 400] {
            for height in [1, 5, 24, 50] {
                let screen = live(&state, width, height);
                assert!(screen.len() <= height, "{width} x {height}");
                let widest = |block: &Block| block.iter().map(Line::width).max().unwrap_or(0);
                assert!(widest(&screen) <= width, "{width} x {height}");
                assert!(widest(&result(&state, &footer, width, height)) <= width, "{width} x {height}");
            }
        }
    }
}

#[test]
fn the_headline_says_when_there_is_no_clear_difference() {
    let say = |figures: &Figures| headline(figures, "").render(false);
    assert_eq!(say(&Figures::default()), "TTFT p90: not measured yet");
    assert_eq!(say(&standing().figures), "TTFT p90 -75 %: 83.5 ms instead of 330 ms");
    let unclear = standing().figures.with_intervals(|_| Some(Interval { low: -300.0, high: 2.0 }));
    assert_eq!(say(&unclear), "TTFT p90 -75 %: 83.5 ms instead of 330 ms, no clear difference");
}

#[test]
fn colours_follow_the_verdict() {
    let tone = |low, high| {
        let interval = Some(Interval { low, high });
        tone_of(&Figure { statistic: HEADLINE, values: [Some(1.0), Some(2.0)], interval })
    };
    assert_eq!((tone(-2.0, -1.0), tone(1.0, 2.0), tone(-1.0, 1.0)), (Tone::Better, Tone::Worse, Tone::Plain));
}
