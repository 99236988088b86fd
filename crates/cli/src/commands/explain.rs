//! `pointsman explain`: why a request was sent to its endpoint.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pointsman_report::Table;
use serde::Deserialize;

use crate::args::ExplainArgs;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest page in bytes: many requests may have the same ID.
const MAX_PAGE: usize = 256 << 20;

/// The fields of `/debug/decisions` that are shown.
#[derive(Debug, Deserialize)]
struct Page {
    capacity: usize,
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    request: u64,
    client_id: Option<String>,
    pool: String,
    age_ms: u64,
    placements: Vec<Placement>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Placement {
    Placed { endpoint: String, candidates: Vec<Candidate> },
    Rejected { rejection: String },
}

#[derive(Debug, Deserialize)]
struct Candidate {
    endpoint: String,
    cost: f64,
    terms: Vec<Term>,
    in_flight: u32,
    pending_tokens: u64,
    cached_tokens: u32,
}

#[derive(Debug, Deserialize)]
struct Term {
    delay: String,
    seconds: f64,
}

pub(crate) async fn run(args: ExplainArgs) -> Result<ExitCode> {
    let body = tokio::time::timeout(TIMEOUT, fetch(&args)).await;
    let body = body.map_err(|_| anyhow::anyhow!("{}: no response within {TIMEOUT:?}", args.admin))??;
    let page: Page = serde_json::from_slice(&body).context("/debug/decisions is not in the expected form")?;
    if page.requests.is_empty() {
        eprintln!(
            "no decision of request {}: it is not among the last {} requests",
            args.request, page.capacity
        );
        return Ok(ExitCode::FAILURE);
    }
    if args.json {
        println!("{}", String::from_utf8_lossy(&body).trim_end());
    } else {
        print!("{}", as_text(&page, crate::width()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of the request's decisions.
async fn fetch(args: &ExplainArgs) -> Result<Bytes> {
    let mut parts = args.admin.clone().into_parts();
    parts.path_and_query =
        Some(format!("/debug/decisions?request={}", percent_encoded(&args.request)).try_into()?);
    let uri = Uri::from_parts(parts).with_context(|| format!("--admin {}: not a URL", args.admin))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(uri).await.with_context(|| format!("cannot reach {}", args.admin))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_PAGE).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{}: {error}", args.admin))?.to_bytes();
    if status != StatusCode::OK {
        bail!("{}: {}", args.admin, String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn as_text(page: &Page, width: usize) -> String {
    page.requests.iter().map(|request| request_text(request, width)).collect::<Vec<_>>().join("\n")
}

fn request_text(request: &Request, width: usize) -> String {
    let client_id = request.client_id.as_ref().map(|id| format!(" (x-request-id {id})")).unwrap_or_default();
    let age = humantime::format_duration(Duration::from_millis(request.age_ms));
    let mut text = format!("request {}{client_id} to pool {}, {age} ago\n", request.request, request.pool);
    for (number, placement) in request.placements.iter().enumerate() {
        text += &match placement {
            Placement::Placed { endpoint, candidates } => {
                format!(
                    "\nplacement {}: {endpoint}\n{}",
                    number + 1,
                    table(endpoint, candidates).render(width)
                )
            }
            Placement::Rejected { rejection } => {
                format!("\nplacement {}: rejected, {rejection}\n", number + 1)
            }
        };
    }
    text
}

/// The candidates, cheapest first, with the terms that contribute to any of their costs.
fn table(chosen: &str, candidates: &[Candidate]) -> Table {
    let mut candidates: Vec<_> = candidates.iter().collect();
    candidates.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let mut delays: Vec<&str> = Vec::new();
    for term in candidates.iter().flat_map(|candidate| &candidate.terms) {
        if term.seconds != 0.0 && !delays.contains(&term.delay.as_str()) {
            delays.push(&term.delay);
        }
    }
    let headings = ["", "endpoint"].into_iter().chain(delays.iter().copied()).chain([
        "cost",
        "in flight",
        "pending tokens",
        "cached tokens",
    ]);
    let mut table = Table::new(headings).with_text(&[0, 1]);
    for candidate in candidates {
        let mark = if candidate.endpoint == chosen { "*" } else { "" };
        let seconds = |delay: &&str| {
            let term = candidate.terms.iter().find(|term| term.delay == **delay);
            format!("{:.4}", term.map_or(0.0, |term| term.seconds))
        };
        let load = [
            format!("{:.4}", candidate.cost),
            candidate.in_flight.to_string(),
            candidate.pending_tokens.to_string(),
            candidate.cached_tokens.to_string(),
        ];
        let cells = [mark.to_owned(), candidate.endpoint.clone()].into_iter();
        table.row(cells.chain(delays.iter().map(seconds)).chain(load));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"capacity": 1000, "requests": [{
        "request": 17, "client_id": "abc", "pool": "default/llama", "age_ms": 1500, "placements": [
            {"age_ms": 1500, "endpoint": "10.0.0.2:8000", "candidates": [
                {"endpoint": "10.0.0.1:8000", "cost": 0.75, "in_flight": 3, "pending_tokens": 900, "cached_tokens": 0,
                 "terms": [{"delay": "waiting", "seconds": 0.5}, {"delay": "detour", "seconds": 0.0},
                           {"delay": "decode", "seconds": 0.25}]},
                {"endpoint": "10.0.0.2:8000", "cost": 0.25, "in_flight": 1, "pending_tokens": 0, "cached_tokens": 64,
                 "terms": [{"delay": "decode", "seconds": 0.25}]}]},
            {"age_ms": 900, "rejection": "no_ready_endpoint"}]}]}"#;

    #[test]
    fn candidates_are_shown_cheapest_first_with_the_terms_that_contribute() -> Result<()> {
        let text = as_text(&serde_json::from_str(PAGE)?, 120);
        let expected = "\
request 17 (x-request-id abc) to pool default/llama, 1s 500ms ago

placement 1: 10.0.0.2:8000
   endpoint       decode  waiting    cost  in flight  pending tokens  cached tokens
-  -------------  ------  -------  ------  ---------  --------------  -------------
*  10.0.0.2:8000  0.2500   0.0000  0.2500          1               0             64
   10.0.0.1:8000  0.2500   0.5000  0.7500          3             900              0

placement 2: rejected, no_ready_endpoint
";
        assert_eq!(text, expected);
        Ok(())
    }

    #[test]
    fn request_ids_are_percent_encoded() {
        assert_eq!(percent_encoded("a-1_~."), "a-1_~.");
        assert_eq!(percent_encoded("a&b=\u{e9}"), "a%26b%3D%C3%A9");
    }
}
