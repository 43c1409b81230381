//! Takes in a request body: size, encoding, charset.

use std::borrow::Cow;
use std::io::Read;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::ApiError;
use crate::failure::TOO_LARGE;

/// A body as it came.
pub(crate) struct Received {
    /// Its bytes; cut off at the limit when it is larger.
    pub(crate) bytes: Bytes,
    /// How long it was on the wire.
    pub(crate) len: u64,
    pub(crate) too_large: bool,
}

/// Reads a body to its end. A body beyond `bytes_max` is read on and thrown away, so that the
/// client gets to see the answer instead of a broken pipe.
///
/// # Errors
/// When the client leaves before the end.
pub(crate) async fn receive(mut body: Incoming, bytes_max: u64) -> Result<Received, hyper::Error> {
    let mut received = BytesMut::new();
    let mut len = 0_u64;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            len += data.len() as u64;
            if len <= bytes_max {
                received.extend_from_slice(&data);
            }
        }
    }
    Ok(Received { bytes: received.freeze(), len, too_large: len > bytes_max })
}

/// The text of a body: decompressed and in UTF-8.
///
/// # Errors
/// In the words of the API: 413, or 400 with a code.
pub(crate) fn text<'a>(
    received: &'a Received,
    headers: &HeaderMap,
    bytes_max: u64,
) -> Result<Cow<'a, str>, ApiError> {
    if received.too_large {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE));
    }
    let plain = decompress(&received.bytes, encoding(headers)?, bytes_max)?;
    match charset(headers).as_deref() {
        None | Some("utf-8" | "utf8") => utf8(plain),
        Some("us-ascii" | "ascii") if plain.is_ascii() => utf8(plain),
        Some("iso-8859-1" | "latin1") => {
            Ok(Cow::Owned(plain.iter().copied().map(char::from).collect()))
        }
        Some(other) => Err(ApiError::invalid(format!("The charset {other:?} is not supported"))
            .with_code("unsupported_charset")),
    }
}

fn utf8(plain: Cow<'_, [u8]>) -> Result<Cow<'_, str>, ApiError> {
    let refuse = |error: std::str::Utf8Error| {
        let offset = error.valid_up_to();
        ApiError::invalid(format!("The request body is not valid UTF-8 (byte {offset})"))
    };
    match plain {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(refuse),
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|error| refuse(error.utf8_error()))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let mut found = Encoding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let name = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
        let this = match name.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            _ => return Err(unsupported(&name)),
        };
        if found != Encoding::Identity {
            return Err(unsupported("more than one"));
        }
        found = this;
    }
    Ok(found)
}

fn unsupported(name: &str) -> ApiError {
    ApiError::invalid(format!("content-encoding {name:?} is not supported; use gzip"))
        .with_code("request_body_encoding_unsupported")
}

fn decompress(bytes: &[u8], encoding: Encoding, bytes_max: u64) -> Result<Cow<'_, [u8]>, ApiError> {
    let plain = match encoding {
        Encoding::Identity => return Ok(Cow::Borrowed(bytes)),
        Encoding::Gzip => inflate(flate2::read::MultiGzDecoder::new(bytes), bytes_max),
        Encoding::Deflate => inflate(flate2::read::ZlibDecoder::new(bytes), bytes_max),
    };
    plain.map(Cow::Owned)
}

fn inflate(decoder: impl Read, bytes_max: u64) -> Result<Vec<u8>, ApiError> {
    let mut plain = Vec::new();
    decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut plain).map_err(|error| {
        ApiError::invalid(format!("The request body cannot be decompressed: {error}"))
            .with_code("request_body_encoding_invalid")
    })?;
    if plain.len() as u64 > bytes_max {
        let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE);
        return Err(error.with_code("request_body_too_large_after_decoding"));
    }
    Ok(plain)
}

fn charset(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let charset = name.trim().eq_ignore_ascii_case("charset");
        charset.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    })
}
