//! `traceparent`: the trace that a client says its call belongs to, as W3C Trace Context writes it.
//!
//! What is not exactly of that form is nobody's trace. The header itself goes upstream as it came.

use std::fmt;

use http::HeaderMap;

const TRACEPARENT: &str = "traceparent";
/// Version, trace, span and flags in hexadecimal, with three hyphens between them.
const LENGTH: usize = 55;

/// The id of a trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// The id of a span; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The client's span that a call is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TraceParent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Whether the client keeps this trace.
    pub(crate) sampled: bool,
}

impl TraceParent {
    /// Reads the one `traceparent` of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Option<TraceParent> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let (one, more) = (all.next()?, all.next());
        if more.is_some() { None } else { TraceParent::parse(one.as_bytes()) }
    }

    fn parse(text: &[u8]) -> Option<TraceParent> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        if [2, 35, 52].iter().any(|at| known[*at] != b'-') {
            return None;
        }
        let [version] = hex(&known[..2])?;
        // Later versions may say more behind another hyphen; this one may not.
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let trace: [u8; 16] = hex(&known[3..35])?;
        let span: [u8; 8] = hex(&known[36..52])?;
        let [flags] = hex(&known[53..])?;
        let is_someones = trace != [0; 16] && span != [0; 8];
        (is_whole && is_someones).then_some(TraceParent {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & 1 == 1,
        })
    }
}

/// Bytes in lower-case hexadecimal; the specification knows no other.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_and_written_as_it_was() {
        let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert!(parent.sampled);
        let unsampled = GOOD.replace("-01", "-02");
        assert!(!TraceParent::parse(unsampled.as_bytes()).unwrap().sampled);
    }

    #[test]
    fn a_later_version_may_say_more() {
        for more in ["", "-what-comes"] {
            let later = format!("{}{more}", GOOD.replacen("00", "cc", 1));
            assert!(TraceParent::parse(later.as_bytes()).is_some(), "{later}");
        }
    }

    #[test]
    fn anything_else_is_nobodys_trace() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "cc", 1).replace("-01", "-012"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4bf9", "4bg9"),
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(TraceParent::of(&headers).is_some());
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&headers), None, "two are in doubt");
    }
}
