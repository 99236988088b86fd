//! Model names in URLs.

use std::ops::Range;

use super::path::{is_normalized, normalise, percent_decode};
use crate::splice::percent_encode;

/// The model that a URL names, for engines that read it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlModel {
    /// Its name, decoded; never empty.
    pub name: String,
    /// Whether the path names it, which then has precedence over the body. A query counts only where no body names one.
    pub in_path: bool,
    range: Range<usize>,
    /// The path that the range is of, where it is not the URL's own spelling.
    normalised: Option<String>,
}

/// A prefix after which a segment names a model, and a check of what follows the segment.
type ModelPath = (&'static str, fn(&str) -> bool);

/// Paths that name a model.
const PATHS: [ModelPath; 4] = [
    // Azure OpenAI.
    ("/openai/deployments/", |rest| !rest.is_empty()),
    // KServe's open inference protocol: Triton.
    ("/v2/models/", |rest| {
        let operation = rest.rsplit('/').next().unwrap_or_default();
        matches!(operation, "infer" | "generate" | "generate_stream")
    }),
    // Amazon Bedrock.
    ("/model/", |rest| rest.starts_with("invoke") || rest.starts_with("converse")),
    // TensorFlow Serving, KServe's first protocol and Gemini: `NAME:predict`.
    ("/models/", |rest| rest.is_empty()),
];

impl UrlModel {
    /// The model in a path with its query.
    #[must_use]
    pub fn of(path_and_query: &str) -> Option<Self> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let named = |text: &str, range: Range<usize>, in_path, normalised| {
            let name = percent_decode(text.get(range.clone())?).into_owned();
            (!name.is_empty()).then_some(Self { name, in_path, range, normalised })
        };
        if may_name_model(path) {
            if let Some(range) = in_path(path) {
                return named(path, range, true, None);
            }
            if !is_normalized(path)
                && let Some(normalised) = normalise(path)
                && let Some(range) = in_path(&normalised)
            {
                return named(&normalised, range, true, Some(normalised.clone()));
            }
        }
        let range = in_query(query)?;
        let start = path.len() + 1;
        let found = named(path_and_query, start + range.start..start + range.end, false, None)?;
        Some(Self { name: found.name.replace('+', " "), ..found })
    }

    /// The same path and query with another name.
    #[must_use]
    pub fn replaced(&self, path_and_query: &str, name: &str) -> String {
        let query = path_and_query.find('?').and_then(|at| path_and_query.get(at..)).unwrap_or_default();
        let (text, query) = self.normalised.as_deref().map_or((path_and_query, ""), |path| (path, query));
        let before = text.get(..self.range.start).unwrap_or_default();
        let after = text.get(self.range.end..).unwrap_or_default();
        [before, &percent_encode(name), after, query].concat()
    }
}

/// A quick look that rules out the common paths: no segment begins like one of [`PATHS`] has it, and nothing is to be
/// normalized.
fn may_name_model(path: &str) -> bool {
    let is_start = |bytes: &[u8]| matches!(bytes, [b'/', b'm', b'o'] | [b'/', b'd', b'e'] | [b'/', b'/', _]);
    path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';')) || path.as_bytes().windows(3).any(is_start)
}

fn in_path(path: &str) -> Option<Range<usize>> {
    PATHS.iter().find_map(|(prefix, goes_on)| {
        let start = path.find(prefix)? + prefix.len();
        let rest = path.get(start..)?;
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if *prefix == "/models/" {
            let (name, operation) = name.rsplit_once(':')?;
            return (goes_on(rest) && !operation.is_empty()).then_some(start..start + name.len());
        }
        goes_on(rest).then_some(start..start + name.len())
    })
}

fn in_query(query: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for pair in query.split('&') {
        if let Some(value) = pair.strip_prefix("model=") {
            return Some(start + pair.len() - value.len()..start + pair.len());
        }
        start += pair.len() + 1;
    }
    None
}
