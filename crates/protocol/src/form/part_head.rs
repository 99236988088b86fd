//! The header of a part of a `multipart/form-data` body.

/// Whether a part is the field `model`. `head` is its header without the empty line at the end.
///
/// # Errors
/// The reason why parsers may disagree on the part's name, or on whether its content is text.
pub(super) fn is_model(head: &[u8]) -> Result<bool, &'static str> {
    let mut name = None;
    let mut transforms = false;
    for line in lines(head)? {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a header field without a colon")?;
        let (field, value) =
            (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        if field.eq_ignore_ascii_case(b"content-disposition") {
            if name.replace(disposition(value.trim_ascii())?).is_some() {
                return Err("two content-dispositions");
            }
        } else if field.eq_ignore_ascii_case(b"content-transfer-encoding") {
            transforms = ![&b"7bit"[..], b"8bit", b"binary"]
                .iter()
                .any(|plain| value.trim_ascii().eq_ignore_ascii_case(plain));
        } else if !field.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$&*+'^`|~".contains(byte)) {
            return Err("an invalid header field");
        }
    }
    let Disposition { name, has_file } = name.ok_or("a part without a content-disposition")?;
    if name != b"model" {
        return Ok(false);
    }
    match (has_file, transforms) {
        (true, _) => Err("`model` as a file"),
        (false, true) => Err("`model` with a transfer encoding"),
        (false, false) => Ok(true),
    }
}

fn lines(head: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\r') || line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err("an invalid line end in a part's header");
        }
        lines.push(line);
    }
    // Without the carriage return of the last line, which the caller cuts off, each line must have had one.
    let line_feeds = head.iter().filter(|byte| **byte == b'\n').count();
    let pairs = head.windows(2).filter(|pair| *pair == b"\r\n").count();
    if line_feeds == pairs { Ok(lines) } else { Err("an invalid line end in a part's header") }
}

struct Disposition {
    name: Vec<u8>,
    has_file: bool,
}

/// Reads `form-data; name="NAME"; filename="FILE"`.
fn disposition(value: &[u8]) -> Result<Disposition, &'static str> {
    let kind_end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (kind, mut rest) = value.split_at(kind_end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err("a content-disposition other than form-data");
    }
    let (mut name, mut has_file) = (None, false);
    while let Some(more) = rest.strip_prefix(b";") {
        let more = more.trim_ascii_start();
        if more.is_empty() {
            break;
        }
        let (key, value, after) = parameter(more)?;
        rest = after.trim_ascii_start();
        if key.eq_ignore_ascii_case(b"name") {
            if value.contains(&b'\\') {
                return Err("an escape in a part's name");
            }
            if name.replace(value.to_vec()).is_some() {
                return Err("two names of a part");
            }
        } else if key.len() >= 4 && key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"name")) {
            return Err("an extended name of a part");
        } else if key.len() >= 8 && key.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"filename"))
        {
            has_file = true;
        }
    }
    if !rest.is_empty() {
        return Err("an invalid content-disposition");
    }
    Ok(Disposition { name: name.ok_or("a part without a name")?, has_file })
}

/// A parameter's key, its value and what follows.
type Parameter<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Reads a parameter. Escapes in a quoted value stay.
fn parameter(text: &[u8]) -> Result<Parameter<'_>, &'static str> {
    let invalid = "an invalid content-disposition";
    let equals = text.iter().position(|byte| *byte == b'=').ok_or(invalid)?;
    let (key, value) = (text.get(..equals).unwrap_or_default(), text.get(equals + 1..).unwrap_or_default());
    let is_token = |bytes: &[u8]| {
        !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_graphic() && !b"\";,=".contains(b))
    };
    if !is_token(key) {
        return Err(invalid);
    }
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(value.len());
        let (token, after) = value.split_at(end);
        return if is_token(token) { Ok((key, token, after)) } else { Err(invalid) };
    };
    let mut escaped = false;
    for (at, byte) in quoted.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let (inside, after) = quoted.split_at(at);
                return Ok((key, inside, after.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(invalid)
}
