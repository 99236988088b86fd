//! W3C trace context (<https://www.w3.org/TR/trace-context-1/>, §3.2).

use std::fmt;

/// A `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id; never 0.
    pub(super) trace: u128,
    /// Parent id; never 0.
    pub(super) span: u64,
    /// The sampled flag: whether the caller records its spans.
    pub(super) sampled: bool,
}

impl TraceContext {
    /// Parses a `traceparent`; `None` where it is invalid, in which case the specification demands to ignore it.
    ///
    /// Of versions after `00`, the fields of version `00` are read; further fields must be separated by a dash.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (fields, rest) = header.split_at_checked(55)?;
        let version = hex(&fields[..2])?;
        let known_length = match version {
            0 => rest.is_empty(),
            255 => return None,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = fields[2] == b'-' && fields[35] == b'-' && fields[52] == b'-';
        if !known_length || !dashes {
            return None;
        }
        let trace = hex(&fields[3..35])?;
        let span = u64::try_from(hex(&fields[36..52])?).ok()?;
        let flags = hex(&fields[53..])?;
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// The header value in version `00`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Parses at most 32 hexadecimal digits in lower case, as the specification demands.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_headers_are_parsed_and_invalid_ones_are_not() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        const SPAN: &str = "00f067aa0ba902b7";
        let check = |header: &str, expected: Option<bool>| {
            let context = TraceContext::parse(header.as_bytes());
            assert_eq!(context.map(|context| context.sampled), expected, "{header}");
            if let Some(context) = context {
                assert_eq!(format!("{:032x}", context.trace), TRACE, "{header}");
                assert_eq!(format!("{:016x}", context.span), SPAN, "{header}");
            }
        };
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(false));
        check(&format!("00-{TRACE}-{SPAN}-03"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-fe"), Some(false));
        check(&format!("01-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01.what-the-future-brings"), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-more"), None);
        check(&format!("00-{TRACE}-{SPAN}-1"), None);
        check(&format!("00-{TRACE}-{SPAN}"), None);
        check(&format!("0-{TRACE}-{SPAN}-001"), None);
        check(&format!("00_{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{TRACE}_{SPAN}-01"), None);
        check(&format!("00-{TRACE}-{SPAN}_01"), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{TRACE}-{SPAN}-0g"), None);
        check(&format!(" 00-{TRACE}-{SPAN}-01"), None);
        check("", None);
    }

    #[test]
    fn a_header_round_trips() {
        for header in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000001-0000000000000001-00",
        ] {
            let written = TraceContext::parse(header.as_bytes()).map(|context| context.to_string());
            assert_eq!(written.as_deref(), Some(header));
        }
    }
}
