//! Content encodings of request bodies, decoded only to be inspected.
//!
//! What upstream decodes must be what was inspected here, so every ambiguity is refused: two
//! encodings, bytes after the end, a second member, raw deflate.

use std::io::{ErrorKind, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use chamberlain_core::admission::refusal::Refusal;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

const CHUNK: usize = 64 * 1024;

/// How a body is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The encoding that the headers name.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    let Some(line) = lines.next() else { return Ok(Encoding::Identity) };
    let name = line.to_str().unwrap_or_default().trim();
    let known = [
        ("identity", Encoding::Identity),
        ("gzip", Encoding::Gzip),
        ("x-gzip", Encoding::Gzip),
        ("deflate", Encoding::Deflate),
        ("br", Encoding::Brotli),
        ("zstd", Encoding::Zstd),
    ];
    let found = known.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    match found {
        Some((_, encoding)) if lines.next().is_none() => Ok(*encoding),
        _ => Err(Refusal::Encoding {
            code: "request_body_encoding_unsupported",
            message: "The content-encoding of the request body cannot be inspected. Send one of \
                gzip, deflate, br or zstd, once, or no encoding."
                .to_owned(),
        }),
    }
}

/// Refuses every charset but UTF-8: the bytes would mean one thing here and another upstream.
pub(crate) fn charset(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    let is_utf8 = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return true };
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("utf8")
    };
    let readable = line.to_str().is_ok_and(|line| line.split(';').skip(1).all(is_utf8));
    if readable && lines.next().is_none() {
        return Ok(());
    }
    Err(Refusal::Encoding {
        code: "unsupported_charset",
        message: "The charset of the request body is not UTF-8. Send the body as UTF-8, with one \
            content-type: application/json"
            .to_owned(),
    })
}

/// Decodes a body that may grow to `limit_bytes` at the most.
pub(crate) fn decode(
    encoding: Encoding,
    body: &Bytes,
    limit_bytes: usize,
) -> Result<Bytes, Refusal> {
    let decoded = match encoding {
        Encoding::Identity => return Ok(body.clone()),
        Encoding::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(&body[..]);
            read_all(&mut decoder, limit_bytes).map(|out| (out, decoder.into_inner().len()))
        }
        Encoding::Deflate => {
            let mut decoder = flate2::bufread::ZlibDecoder::new(&body[..]);
            read_all(&mut decoder, limit_bytes).map(|out| (out, decoder.into_inner().len()))
        }
        Encoding::Brotli => brotli(body, limit_bytes),
        Encoding::Zstd => zstd(body, limit_bytes),
    };
    match decoded {
        Ok((out, 0)) => Ok(Bytes::from(out)),
        Err(Undecodable::TooLarge) => Err(Refusal::TooLarge { limit_bytes, decoded: true }),
        Ok(_) | Err(Undecodable::Invalid) => Err(Refusal::Encoding {
            code: "request_body_encoding_invalid",
            message: "The request body is not valid in the content-encoding it names, or has \
                more bytes after its end. Send it unencoded, or encoded once and whole."
                .to_owned(),
        }),
    }
}

enum Undecodable {
    TooLarge,
    Invalid,
}

/// Decoded bytes, and how many encoded ones were left over.
type Decoded = Result<(Vec<u8>, usize), Undecodable>;

fn read_all(decoder: &mut impl Read, limit_bytes: usize) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(out),
            Ok(read) if out.len() + read > limit_bytes => return Err(Undecodable::TooLarge),
            Ok(read) => out.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Undecodable::Invalid),
        }
    }
}

fn brotli(body: &[u8], limit_bytes: usize) -> Decoded {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let mut out = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let (mut left, mut read, mut total) = (body.len(), 0, 0);
    loop {
        let (mut room, mut written) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            body,
            &mut room,
            &mut written,
            &mut chunk,
            &mut total,
            &mut state,
        );
        if out.len() + written > limit_bytes {
            return Err(Undecodable::TooLarge);
        }
        out.extend_from_slice(&chunk[..written]);
        match result {
            BrotliResult::ResultSuccess => return Ok((out, left)),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => {
                return Err(Undecodable::Invalid);
            }
        }
    }
}

fn zstd(body: &[u8], limit_bytes: usize) -> Decoded {
    let mut rest = body;
    let out = {
        let mut decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|_| Undecodable::Invalid)?;
        read_all(&mut decoder, limit_bytes)?
    };
    Ok((out, rest.len()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use http::HeaderValue;

    use super::*;

    const TEXT: &[u8] = br#"{"model":"claude-haiku-4-5","max_tokens":8,"messages":[]}"#;
    const LIMIT: usize = 1024;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd_of(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// One uncompressed brotli meta-block (RFC 7932, 9.2), and the empty last one.
    fn brotli_of(text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap() - 1;
        assert!(length < 1 << 16);
        // WBITS 16 (one 0 bit), ISLAST 0, MNIBBLES 4 (00), MLEN-1 (16 bits), ISUNCOMPRESSED 1.
        let bits: u32 = (length << 4) | (1 << 20);
        let mut out = bits.to_le_bytes()[..3].to_vec();
        out.extend_from_slice(text);
        out.push(0b11);
        out
    }

    fn all() -> [(Encoding, Vec<u8>); 4] {
        [
            (Encoding::Gzip, gzip(TEXT)),
            (Encoding::Deflate, zlib(TEXT)),
            (Encoding::Brotli, brotli_of(TEXT)),
            (Encoding::Zstd, zstd_of(TEXT)),
        ]
    }

    fn code(answer: Result<Bytes, Refusal>) -> &'static str {
        answer.unwrap_err().answer().code
    }

    #[test]
    fn each_encoding_is_read() {
        for (encoding, body) in all() {
            assert_eq!(decode(encoding, &body.into(), LIMIT).unwrap(), TEXT, "{encoding:?}");
        }
        assert_eq!(decode(Encoding::Identity, &Bytes::from_static(TEXT), LIMIT).unwrap(), TEXT);
    }

    #[test]
    fn broken_and_trailing_bytes_are_refused() {
        for (encoding, body) in all() {
            let cut = body[..body.len() - 1].to_vec();
            let longer = [&body[..], b"x"].concat();
            let twice = [&body[..], &body[..]].concat();
            for bad in [cut, longer, twice, b"no such thing".to_vec(), Vec::new()] {
                let answer = decode(encoding, &bad.clone().into(), LIMIT);
                assert_eq!(code(answer), "request_body_encoding_invalid", "{encoding:?} {bad:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 8 * 1024 * 1024];
        for (encoding, body) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Deflate, zlib(&zeros)),
            (Encoding::Zstd, zstd_of(&zeros)),
        ] {
            assert!(body.len() < zeros.len() / 50);
            let answer = decode(encoding, &body.clone().into(), zeros.len() - 1);
            assert_eq!(code(answer), "request_body_too_large_after_decoding", "{encoding:?}");
            assert!(decode(encoding, &body.into(), zeros.len()).is_ok(), "{encoding:?}");
        }
        let answer = decode(Encoding::Brotli, &brotli_of(TEXT).into(), TEXT.len() - 1);
        assert_eq!(code(answer), "request_body_too_large_after_decoding");
    }

    #[test]
    fn only_one_known_encoding_is_taken() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            encoding(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["GZIP"]), Ok(Encoding::Gzip));
        for bad in [&["gzip, br"][..], &["gzip", "gzip"], &["compress"], &[""], &["identity", "br"]]
        {
            assert_eq!(of(bad).unwrap_err().answer().code, "request_body_encoding_unsupported");
        }
    }

    #[test]
    fn only_utf8_is_taken() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(line));
            }
            charset(&headers)
        };
        for good in [
            &[][..],
            &["application/json"],
            &["application/json; charset=UTF-8"],
            &["a/b; x=y; charset=\"utf-8\""],
        ] {
            assert_eq!(of(good), Ok(()), "{good:?}");
        }
        for bad in [
            &["application/json; charset=utf-16"][..],
            &["application/json; charset=iso-8859-1"],
            &["application/json; charset=utf-8; charset=utf-7"],
            &["application/json", "application/json; charset=utf-16"],
        ] {
            assert_eq!(of(bad).unwrap_err().answer().code, "unsupported_charset", "{bad:?}");
        }
    }
}
