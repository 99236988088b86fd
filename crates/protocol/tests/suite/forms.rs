//! Models in HTML forms.

use bytes::Bytes;
use pointsman_protocol::form::boundary;
use pointsman_protocol::{BodyError, FormModel, MultipartScanner, scan_urlencoded, splice_model};
use proptest::collection::vec;
use proptest::prelude::*;

const FILE: &str = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n";
const MODEL: &str = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";

/// Scans a form in chunks of `size` bytes.
fn scan_in(body: &[u8], size: usize) -> Result<Option<FormModel>, BodyError> {
    let mut scanner = MultipartScanner::new("x");
    for chunk in body.chunks(size) {
        scanner.push(chunk)?;
    }
    scanner.finish()?;
    Ok(scanner.model().cloned())
}

/// Whatever the chunks, the result is the same.
#[track_caller]
fn scan(body: &[u8]) -> Result<Option<FormModel>, BodyError> {
    let whole = scan_in(body, body.len().max(1));
    for size in [1, 2, 3, 5, 7, 64] {
        let chunked = scan_in(body, size);
        assert_eq!(chunked.is_ok(), whole.is_ok(), "{size}: {chunked:?} {}", String::from_utf8_lossy(body));
        if whole.is_ok() {
            assert_eq!(chunked, whole, "{size}");
        }
    }
    whole
}

#[test]
fn a_multipart_form_names_its_model_anywhere() {
    let named = |body: String, expected: Option<&str>| {
        let found = scan(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(found.as_ref().map(|model| model.name.as_str()), expected, "{body}");
        let Some(model) = found else { return };
        let spliced = splice_model(&Bytes::from(body.clone()), &model.slot, "other").parts.concat();
        assert_eq!(String::from_utf8(spliced).unwrap(), body.replacen(&model.name, "other", 1));
    };
    let file = |content: &str| format!("{FILE}{content}\r\n");
    let model = |name: &str| format!("{MODEL}{name}\r\n");
    let end = "--x--\r\n";
    named(format!("{}{}{end}", file("RIFF\0\r\n--y\n\r\n-"), model("whisper")), Some("whisper"));
    named(format!("{}{}{end}", model("whisper"), file("RIFF")), Some("whisper"));
    named(format!("\r\n{}{end}", model("whisper")), Some("whisper"));
    named(format!("{}{end}", file("")), None);
    named(format!("{}{end}", model("")), None);
    named(format!("{}--x--", model("é whisper/v3")), Some("é whisper/v3"));
    named(format!("{}--x \t\r\n{}{end}", "", &model("whisper")[5..]), Some("whisper"));
    named("--x\r\nCONTENT-DISPOSITION:form-data;name=model\r\nContent-Type: text/plain\r\n\r\nwhisper\r\n--x--\r\n".into(), Some("whisper"));
    named(
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"models\"\r\n\r\nz\r\n{}{end}",
            model("whisper")
        ),
        Some("whisper"),
    );
}

#[test]
fn what_parsers_of_forms_may_read_differently_is_an_error() {
    let part = |head: &str| format!("--x\r\n{head}\r\n\r\nsecret\r\n--x--\r\n");
    for body in [
        format!("{MODEL}a\r\n{MODEL}b\r\n--x--\r\n"),
        format!("{MODEL}\r\n{MODEL}b\r\n--x--\r\n"),
        format!("{FILE}a\n--x\r\n{}", &MODEL[5..]),
        format!("{FILE}a\r\n--xy\r\n"),
        format!("{FILE}--x--\r\n"),
        format!("{MODEL}--x--\r\n"),
        format!("{MODEL}a\n--x--\r\n"),
        format!("preamble\r\n{MODEL}a\r\n--x--\r\n"),
        format!("{MODEL}a\r\n--x--\r\n{MODEL}b\r\n--x--\r\n"),
        format!("{MODEL}a\r\n"),
        format!("{MODEL}{}\r\n--x--\r\n", "m".repeat(1025)),
        part("Content-Disposition: form-data; name=\"model\"; filename=\"a\""),
        part("Content-Disposition: form-data; name=\"model\"; filename*=utf-8''a"),
        part("Content-Disposition: form-data; name=\"file\"; name=\"model\""),
        part("Content-Disposition: form-data; name=\"file\"; name*=utf-8''model"),
        part("Content-Disposition: form-data; name=\"mo\\del\""),
        part(
            "Content-Disposition: form-data; name=\"file\"\r\nContent-Disposition: form-data; name=\"model\"",
        ),
        part("Content-Disposition: form-data;\r\n name=\"model\""),
        part("Content-Disposition: form-data; name=\"file\"\nX: y"),
        part("Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64"),
        part("Content-Disposition: attachment; name=\"model\""),
        part("Content-Disposition: form-data"),
        part("X: y"),
        part(&format!("X: {}", "y".repeat(9_000))),
        String::new(),
        "\r\n".into(),
    ] {
        assert!(scan(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn a_boundary_is_taken_from_its_content_type() {
    for (kind, expected) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        ("multipart/form-data; charset=utf-8; Boundary=\"a=b\"", Some("a=b")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=\"a", None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data; boundary*=a", None),
    ] {
        assert_eq!(boundary(kind).ok(), expected, "{kind}");
    }
}

#[test]
fn an_urlencoded_form_names_its_model() {
    for (body, expected) in [
        ("model=tiny", Some("tiny")),
        ("prompt=a%26b&model=org%2Fm+1&n=1", Some("org/m 1")),
        ("mod%65l=tiny", Some("tiny")),
        ("models=x&xmodel=y", None),
        ("model=", None),
        ("", None),
    ] {
        let found = scan_urlencoded(body.as_bytes()).unwrap();
        assert_eq!(found.as_ref().map(|model| model.name.as_str()), expected, "{body}");
        let Some(model) = found else { continue };
        let spliced = splice_model(&Bytes::from(body), &model.slot, "a/b c").parts.concat();
        assert!(String::from_utf8(spliced).unwrap().contains("=a%2Fb%20c"), "{body}");
    }
    for body in [
        "model=a&model=b",
        "model=&model=b",
        "x=1;model=b",
        "model=a;x=1",
        "model=%ff",
        &format!("model={}", "m".repeat(1025)),
    ] {
        assert!(scan_urlencoded(body.as_bytes()).is_err(), "{body}");
    }
}

proptest! {
    /// Whatever a form contains, chunks do not change what is found in it, and nothing panics.
    #[test]
    fn chunks_do_not_change_a_form(
        parts in vec(prop_oneof![
            Just("\r\n".to_owned()), Just("--x".to_owned()), Just("--".to_owned()), Just("\n".to_owned()),
            Just(MODEL.to_owned()), Just(FILE.to_owned()), Just("\r\n--x--\r\n".to_owned()), ".{0,8}",
        ], 0..12),
        size in 1_usize..40,
    ) {
        let body = parts.concat();
        let whole = scan_in(body.as_bytes(), body.len().max(1));
        let chunked = scan_in(body.as_bytes(), size);
        prop_assert_eq!(whole.is_ok(), chunked.is_ok(), "{:?} {:?}", whole, chunked);
        if let Ok(found) = whole {
            prop_assert_eq!(Ok(found), chunked);
        }
    }

    /// A form made by the rules is read, with any content in its files.
    #[test]
    fn any_file_passes(content in vec(any::<u8>(), 0..400), name in "[a-zA-Z0-9/._-]{1,40}", first in any::<bool>(), size in 1_usize..90) {
        prop_assume!(!content.windows(4).any(|four| four == b"\n--x") && !content.starts_with(b"--x"));
        let file = [FILE.as_bytes(), &content, b"\r\n"].concat();
        let model = [MODEL, &name, "\r\n"].concat().into_bytes();
        let body = if first { [model, file] } else { [file, model] };
        let body = [&body.concat()[..], b"--x--\r\n"].concat();
        let found = scan_in(&body, size).unwrap().unwrap();
        prop_assert_eq!(&body[found.slot.range.clone()], name.as_bytes());
        prop_assert_eq!(found.name, name);
    }
}
