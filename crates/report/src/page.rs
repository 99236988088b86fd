//! A sweep as a self-contained HTML page.

mod cards;
mod stylesheet;
mod tables;

use std::fmt::Write as _;

use crate::markup::escape;
use crate::plot::{Plot, plots};
use crate::sweep::{Origin, Sweep};

/// Width from which a plot spans the whole page.
const WIDE: f64 = 700.0;

/// The report as a self-contained page without scripts or external resources, in the light or dark colours of the
/// reader's system, and light in print. It is well-formed XML.
#[must_use]
pub fn html(sweep: &Sweep) -> String {
    let experiment = &sweep.experiment;
    let title = if experiment.title.is_empty() { "A comparison" } else { experiment.title.as_str() };
    let mut page = String::with_capacity(256 * 1024);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"generator\" content=\"pointsman {}\"/>\n<title>{}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n<main>\n",
        escape(&experiment.version),
        escape(title),
        stylesheet::stylesheet()
    );
    header(&mut page, sweep, title);
    if sweep.rows.is_empty() && sweep.bounds.is_empty() {
        page.push_str("<p>There are no results.</p>\n");
    } else {
        cards::write(&mut page, sweep);
        plot_section(&mut page, &plots(sweep));
        tables::write(&mut page, sweep);
        method(&mut page, sweep);
    }
    reproduction(&mut page, sweep);
    let _ = write!(
        page,
        "</main>\n<footer>Made by pointsman {}.</footer>\n</body>\n</html>\n",
        escape(&experiment.version)
    );
    page
}

fn header(page: &mut String, sweep: &Sweep, title: &str) {
    let experiment = &sweep.experiment;
    let _ = writeln!(page, "<header>\n<h1>{}</h1>", escape(title));
    page.push_str(match experiment.origin {
        Origin::Simulated => {
            "<p class=\"origin\"><strong>Simulated.</strong> The routers’ code is real, but the engines are \
             models that run in virtual time: nothing on this page was measured on servers.</p>\n"
        }
        Origin::Measured => {
            "<p class=\"origin\"><strong>Measured.</strong> The requests went to running servers.</p>\n"
        }
    });
    for paragraph in experiment.description.split("\n\n").filter(|text| !text.trim().is_empty()) {
        let _ = writeln!(page, "<p class=\"lead\">{}</p>", escape(paragraph.trim()));
    }
    if !experiment.facts.is_empty() {
        page.push_str("<dl class=\"facts\">\n");
        for (name, value) in &experiment.facts {
            let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
        }
        page.push_str("</dl>\n");
    }
    page.push_str("</header>\n");
}

fn plot_section(page: &mut String, plots: &[Plot]) {
    page.push_str("<section>\n<h2>Plots</h2>\n<div class=\"plots\">\n");
    for plot in plots {
        let class = if plot.width() > WIDE { " class=\"wide\"" } else { "" };
        let _ = writeln!(page, "<figure{class}>\n{}</figure>", plot.inline());
    }
    page.push_str("</div>\n</section>\n");
}

fn method(page: &mut String, sweep: &Sweep) {
    page.push_str(
        "<section>\n<h2>How to read this</h2>\n<dl class=\"method\">\n\
         <dt>TTFT</dt><dd>Time to first token, from the intended send time of a request.</dd>\n\
         <dt>TPOT</dt><dd>Time per output token after the first: (E2E − TTFT) / (tokens − 1).</dd>\n\
         <dt>NTPOT</dt><dd>Normalised time per output token: end-to-end latency over output tokens, queueing \
         and prefill included.</dd>\n\
         <dt>E2E</dt><dd>End-to-end latency, to the last byte. The latency of a failed or rejected request \
         is infinite in every measure.</dd>\n\
         <dt>Values</dt><dd>Means over runs, one for each seed, of each run’s quantile.</dd>\n",
    );
    page.push_str(
        "<dt>Intervals</dt><dd>95 %, over runs: by bootstrap from six runs on, Student’s with five, none \
         with fewer. All policies get the same arrivals under the same seed, so ratios to the baseline are \
         paired, and their intervals are narrower than those of the values.</dd>\n\
         <dt>Keeping up</dt><dd>A row is overloaded when less than 95 % of the offered rate was completed, \
         and backlogged when less than 98 % was, or latency grew by more than a quarter from the middle third \
         of the arrivals to the last. Its latencies depend on the length of the run; plots show them hollow.</dd>\n\
         <dt>Completed</dt><dd>The rate of complete responses. It is below the offered rate where \
         later requests waited longer, or where requests were lost.</dd>\n",
    );
    if sweep.knees.iter().any(|knee| knee.unstable.is_some()) {
        page.push_str(
            "<dt>Knee</dt><dd>The rate at which a policy stops keeping up, between the last rate that it kept up \
             with and the next: a triangle on the axis of a plot. Where no policy keeps up, plots are shaded and \
             their axis is compressed.</dd>\n",
        );
    }
    if sweep.policies().len() > 1 {
        page.push_str("<dt>× best</dt><dd>Ratio to the best policy at the same rate.</dd>\n");
    }
    if !sweep.bounds.is_empty() {
        page.push_str(
            "<dt>Bounds</dt><dd>Lower bounds that no router can reach, which show what is left to gain. They \
             are not policies.</dd>\n",
        );
    }
    page.push_str("</dl>\n</section>\n");
}

fn reproduction(page: &mut String, sweep: &Sweep) {
    let experiment = &sweep.experiment;
    page.push_str("<section>\n<h2>How to reproduce it</h2>\n");
    if !experiment.command.is_empty() {
        let _ = writeln!(page, "<pre><code>{}</code></pre>", escape(&experiment.command));
    }
    let seeds: Vec<String> = sweep.seeds.iter().map(u64::to_string).collect();
    if !seeds.is_empty() {
        let _ = writeln!(
            page,
            "<p>Version {}, {} {}.</p>",
            escape(&experiment.version),
            if seeds.len() == 1 { "seed" } else { "seeds" },
            seeds.join(", ")
        );
    }
    if let Some(source) = &experiment.source {
        let _ = writeln!(
            page,
            "<details>\n<summary>Experiment file</summary>\n<pre><code>{}</code></pre>\n</details>",
            escape(source)
        );
    }
    page.push_str("</section>\n");
}
