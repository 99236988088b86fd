//! Recorded exchanges, parsed.

#![expect(clippy::disallowed_methods, reason = "the tests read recorded exchanges")]

use std::path::{Path, PathBuf};

/// One recorded exchange.
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) request_body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) is_event_stream: bool,
    /// The response body without chunked framing.
    pub(crate) response_body: Vec<u8>,
}

/// Every recorded exchange, by name.
pub(crate) fn exchanges() -> Vec<Exchange> {
    let mut requests: Vec<PathBuf> = ["vllm-0.32.0", "vllm-0.23.0"]
        .iter()
        .flat_map(|version| std::fs::read_dir(fixtures().join(version)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "request"))
        .collect();
    requests.sort();
    requests.iter().map(|path| read(path)).collect()
}

/// The exchange of that name with vLLM 0.32.0.
pub(crate) fn exchange(name: &str) -> Exchange {
    read(&fixtures().join("vllm-0.32.0").join(format!("{name}.request")))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(request: &Path) -> Exchange {
    let (head, request_body) = split(&std::fs::read(request).unwrap());
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let (head, body) = split(&std::fs::read(request.with_extension("response")).unwrap());
    let chunked = head.contains("transfer-encoding: chunked");
    Exchange {
        name: request.file_stem().unwrap().to_string_lossy().into_owned(),
        method,
        path,
        request_body,
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        is_event_stream: head.contains("content-type: text/event-stream"),
        response_body: if chunked { dechunk(&body) } else { body },
    }
}

fn split(message: &[u8]) -> (String, Vec<u8>) {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(message[..end].to_vec()).unwrap(), message[end + 4..].to_vec())
}

fn dechunk(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = framed.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&framed[..line]).unwrap(), 16).unwrap();
        framed = &framed[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&framed[..size]);
        framed = &framed[size + 2..];
    }
}
