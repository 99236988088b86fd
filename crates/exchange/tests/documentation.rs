//! The documented refusals are those of the code: each reason with its status, `Retry-After` and advice to client libraries.

use std::collections::BTreeSet;
use std::time::Duration;

use http::header::RETRY_AFTER;
use pointsman_core::{FailureCause, Rejection};
use pointsman_exchange::{Refusal, SHOULD_RETRY};
use pointsman_protocol::{BodyError, ErrorShape};

/// Every refusal that a client can receive, with one of each reason.
fn all() -> Vec<Refusal> {
    let failed = [
        FailureCause::Connect,
        FailureCause::Tls,
        FailureCause::Refused,
        FailureCause::Lost,
        FailureCause::FirstByteTimeout,
        FailureCause::Unavailable,
        FailureCause::EngineError,
        FailureCause::StaleConnection,
        FailureCause::Truncated,
        FailureCause::Stalled,
        FailureCause::Garbage,
    ];
    let rejections = [
        Rejection::Saturated { retry_after: Duration::from_secs(3) },
        Rejection::NoReadyEndpoint,
        Rejection::EmptySubset,
    ];
    let own = [
        Refusal::Body(BodyError::Form { offset: 0, problem: "two content-types" }),
        Refusal::MissingModel,
        Refusal::ContentEncoding,
        Refusal::BodyTooLarge { limit: 1 },
        Refusal::BodyIncomplete,
        Refusal::BodyTimeout,
        Refusal::HeadersTooLarge,
        Refusal::SeveralHosts,
        Refusal::Method,
        Refusal::NoRoute,
        Refusal::NoBackend,
        Refusal::UndeclaredModel,
        Refusal::Administration,
        Refusal::UnknownResponse,
        Refusal::Busy,
        Refusal::RequestTimeout,
    ];
    let failed = failed.into_iter().map(Rejection::AttemptsFailed);
    own.into_iter().chain(rejections.into_iter().chain(failed).map(Refusal::Pool)).collect()
}

/// The rows of the table of refusals: status, reasons, text.
fn rows() -> Vec<(u16, BTreeSet<&'static str>, &'static str)> {
    let page = include_str!("../../../docs/outcomes.md");
    let table =
        page.split("## Refusals").nth(1).and_then(|rest| rest.split("## Retries").next()).unwrap_or_default();
    let row = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let status = cells.next()?.parse().ok()?;
        let (reasons, text) = (cells.next()?, cells.next()?);
        Some((
            status,
            reasons.split('`').skip(1).step_by(2).filter(|reason| *reason != "silent").collect(),
            text,
        ))
    };
    table.lines().filter_map(row).collect()
}

#[test]
fn the_documented_refusals_are_those_of_the_code() {
    let documented: BTreeSet<(u16, &str)> = rows()
        .iter()
        .flat_map(|(status, reasons, _)| reasons.iter().map(move |reason| (*status, *reason)))
        .collect();
    let refusals = all();
    let known = refusals.iter().map(|refusal| (refusal.status().as_u16(), refusal.reason())).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_documented_headers_are_those_of_the_code() {
    for refusal in all() {
        let response = refusal.response(ErrorShape::OpenAi);
        let text: String = rows()
            .iter()
            .filter(|(status, reasons, _)| {
                *status == refusal.status().as_u16() && reasons.contains(refusal.reason())
            })
            .map(|(.., text)| *text)
            .collect();
        let waits = response.headers.contains_key(RETRY_AFTER);
        assert_eq!(waits, text.contains("with `Retry-After`"), "{refusal}");
        let passes = [408, 429, 502, 503, 504].contains(&refusal.status().as_u16());
        assert_eq!(response.headers.contains_key(SHOULD_RETRY), !passes, "{refusal}");
    }
}
