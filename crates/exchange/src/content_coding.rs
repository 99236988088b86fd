//! Decoding of compressed request bodies, under limits: a few bytes may become very many.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use ruzstd::decoding::StreamingDecoder;

use crate::refusal::Refusal;

/// Largest window of a zstd frame, in bytes: what RFC 9659 allows in HTTP.
const ZSTD_WINDOW: u64 = 8 << 20;
/// Bytes that are decoded between two looks at the limits.
const STEP: usize = 64 << 10;

/// The content-encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    Identity,
    Gzip,
    Zstd,
    /// One that is not decoded, or several.
    Other,
}

impl ContentCoding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let names =
            values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        match (names.next(), names.next()) {
            (None, _) => Self::Identity,
            (Some(name), None) if is_any(name, &[b"gzip", b"x-gzip"]) => Self::Gzip,
            (Some(name), None) if is_any(name, &[b"zstd"]) => Self::Zstd,
            (Some(_), _) => Self::Other,
        }
    }

    /// Decodes a body to at most `limit` bytes. `hold` is asked before the memory for more bytes is taken, with their
    /// number so far.
    ///
    /// # Errors
    /// The coding is not one that is decoded, the body is invalid or too long, or an error of `hold`.
    pub(crate) fn decode(
        self,
        body: Bytes,
        limit: u64,
        hold: &mut dyn FnMut(u64) -> Result<(), Refusal>,
    ) -> Result<Bytes, Refusal> {
        let mut out = Output { bytes: Vec::new(), limit, hold };
        match self {
            Self::Identity => return Ok(body),
            Self::Gzip => out.read(&mut MultiGzDecoder::new(&body[..]))?,
            Self::Zstd => {
                let mut rest = &body[..];
                while !rest.is_empty() {
                    let frame = StreamingDecoder::new_with_max_window_size(rest, ZSTD_WINDOW);
                    let mut frame = frame.map_err(|_| Refusal::ContentEncoding)?;
                    out.read(&mut frame)?;
                    rest = frame.into_inner();
                }
            }
            Self::Other => return Err(Refusal::ContentEncoding),
        }
        Ok(out.bytes.into())
    }
}

fn is_any(name: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

struct Output<'a> {
    bytes: Vec<u8>,
    limit: u64,
    hold: &'a mut dyn FnMut(u64) -> Result<(), Refusal>,
}

impl Output<'_> {
    fn read(&mut self, decoder: &mut impl Read) -> Result<(), Refusal> {
        loop {
            let length = self.bytes.len();
            (self.hold)((length + STEP) as u64)?;
            self.bytes.resize(length + STEP, 0);
            let space = self.bytes.get_mut(length..).unwrap_or_default();
            let read = decoder.read(space).map_err(|_| Refusal::ContentEncoding)?;
            self.bytes.truncate(length + read);
            if self.bytes.len() as u64 > self.limit {
                return Err(Refusal::BodyTooLarge { limit: self.limit });
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn decode(coding: ContentCoding, body: Vec<u8>, limit: u64, budget: u64) -> Result<Bytes, Refusal> {
        let mut hold = |bytes| if bytes > budget { Err(Refusal::Busy) } else { Ok(()) };
        coding.decode(body.into(), limit, &mut hold)
    }

    #[test]
    fn bodies_are_decoded_under_their_limits() {
        let text = b"a long prompt ".repeat(20_000);
        let length = text.len() as u64;
        for (coding, encoded) in [(ContentCoding::Gzip, gzip(&text)), (ContentCoding::Zstd, zstd(&text))] {
            assert_eq!(decode(coding, encoded.clone(), length, length * 2).unwrap(), text, "{coding:?}");
            let twice = [&encoded[..], &encoded].concat();
            assert_eq!(decode(coding, twice, length * 2, length * 3).unwrap().len() as u64, length * 2);
            let too_long = decode(coding, encoded.clone(), length - 1, length * 2);
            assert_eq!(too_long, Err(Refusal::BodyTooLarge { limit: length - 1 }), "{coding:?}");
            assert_eq!(decode(coding, encoded.clone(), length, length / 2), Err(Refusal::Busy));
            let cut = encoded[..encoded.len() - 5].to_vec();
            assert_eq!(decode(coding, cut, length, length * 2), Err(Refusal::ContentEncoding), "{coding:?}");
            let garbage = vec![7; 100];
            assert_eq!(decode(coding, garbage, length, length), Err(Refusal::ContentEncoding), "{coding:?}");
        }
    }

    #[test]
    fn a_zstd_window_beyond_the_one_of_http_is_refused() {
        // Magic number, no single segment, a window of 128 MiB, one empty last block.
        let frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert_eq!(decode(ContentCoding::Zstd, frame, 1 << 30, 1 << 30), Err(Refusal::ContentEncoding));
    }

    #[test]
    fn one_coding_is_recognised_in_any_spelling() {
        for (values, expected) in [
            (&[][..], ContentCoding::Identity),
            (&["identity"], ContentCoding::Identity),
            (&["GZIP"], ContentCoding::Gzip),
            (&["x-gzip, identity"], ContentCoding::Gzip),
            (&["zstd"], ContentCoding::Zstd),
            (&["gzip, zstd"], ContentCoding::Other),
            (&["gzip", "gzip"], ContentCoding::Other),
            (&["br"], ContentCoding::Other),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(ContentCoding::of(&headers), expected, "{values:?}");
        }
    }
}
