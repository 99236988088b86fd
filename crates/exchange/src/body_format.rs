//! How a request's body is read, from its head.

use http::{HeaderMap, Method, header};
use pointsman_protocol::form::boundary;
use pointsman_protocol::{Api, BodyError, MultipartScanner, Route};

use crate::content_coding::ContentCoding;
use crate::headers;
use crate::refusal::Refusal;

/// How a body is read.
#[derive(Debug)]
pub(crate) enum BodyFormat {
    /// There is none.
    None,
    /// It passes unread: no engine takes a model from it.
    Opaque,
    /// JSON to the end. `declared` says that its content-type says so, or is missing, which engines take for JSON.
    Json { declared: bool },
    /// A form to the end, or JSON under a form's name (`curl -d`).
    UrlEncoded,
    /// Some other type, which is read as JSON if it looks like it: not every engine minds the content-type.
    Sniffed,
    /// Read up to its model.
    Multipart(Box<MultipartScanner>),
    /// A model in it cannot be read.
    Unreadable(Refusal),
}

impl BodyFormat {
    /// The format of a request's body. `has_body` says whether one follows.
    pub(crate) fn of(method: &Method, route: &Route, headers: &HeaderMap, has_body: bool) -> Self {
        let is_inference = matches!(route, Route::Inference(_));
        if *method == Method::GET && headers::asks_for_tunnel(headers) {
            return Self::Opaque;
        }
        if !has_body && !is_inference {
            return Self::None;
        }
        if matches!(route, Route::Administration) || !may_name_model(method) {
            return Self::Opaque;
        }
        let format = by_content_type(headers);
        match (ContentCoding::of(headers), &format) {
            (ContentCoding::Identity, _) => format,
            (ContentCoding::Other, Self::Sniffed) if !is_inference => Self::Opaque,
            (ContentCoding::Other, _) => Self::Unreadable(Refusal::ContentEncoding),
            (ContentCoding::Gzip | ContentCoding::Zstd, Self::Sniffed) if is_inference => {
                Self::Json { declared: false }
            }
            (ContentCoding::Gzip | ContentCoding::Zstd, Self::Sniffed) => Self::Opaque,
            (ContentCoding::Gzip | ContentCoding::Zstd, _) => format,
        }
    }
}

/// Whether engines read the bodies of requests with this method.
fn may_name_model(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE, Method::TRACE, Method::CONNECT]
        .contains(method)
}

fn by_content_type(headers: &HeaderMap) -> BodyFormat {
    let Some(essence) = headers::media_type(headers) else { return BodyFormat::Json { declared: true } };
    let several = headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_some();
    if several {
        let problem = "two content-types";
        return BodyFormat::Unreadable(Refusal::Body(BodyError::Form { offset: 0, problem }));
    }
    let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
    let is_suffixed = essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
    if is(b"application/json") || is(b"text/json") || is_suffixed {
        return BodyFormat::Json { declared: true };
    }
    if is(b"application/x-www-form-urlencoded") {
        return BodyFormat::UrlEncoded;
    }
    if is(b"multipart/form-data") {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        return match boundary(value.unwrap_or_default()) {
            Ok(boundary) => BodyFormat::Multipart(Box::new(MultipartScanner::new(boundary))),
            Err(error) => BodyFormat::Unreadable(Refusal::Body(error)),
        };
    }
    BodyFormat::Sniffed
}

/// What the first bytes of a body say about it.
pub(crate) enum Looks {
    /// White space so far.
    Undecided,
    LikeJson,
    Otherwise,
}

pub(crate) fn looks(start: &[u8]) -> Looks {
    let mark = b"\xef\xbb\xbf";
    if start.len() < mark.len() && mark.starts_with(start) {
        return Looks::Undecided;
    }
    match start.strip_prefix(mark).unwrap_or(start).trim_ascii_start().first() {
        None => Looks::Undecided,
        Some(b'{' | b'[') => Looks::LikeJson,
        Some(_) => Looks::Otherwise,
    }
}

/// Whether an API requires a model in the body.
pub(crate) fn requires_model(route: &Route) -> bool {
    route.api().is_some_and(Api::requires_model)
}
