//! The meter: however the bytes of an answer are split, it reads the same usage from them.

use chamberlain_core::anthropic::meter::{Meter, Metered};

const BODY_BYTES_MAX: usize = 1 << 16;

/// The first byte says how many of those after it are lengths of pieces; the rest is the answer.
pub(crate) fn holds(bytes: &[u8]) {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let (lengths, answer) = rest.split_at(usize::from(count).min(rest.len()));
    for fresh in [Meter::for_stream, || Meter::for_json(BODY_BYTES_MAX)] {
        let whole = read(fresh(), [answer]);
        assert_eq!(whole, read(fresh(), answer.chunks(1)), "byte by byte");
        assert_eq!(whole, read(fresh(), pieces(lengths, answer)), "in pieces of {lengths:?}");
    }
}

fn read<'a>(mut meter: Meter, pieces: impl IntoIterator<Item = &'a [u8]>) -> (bool, Metered) {
    for piece in pieces {
        meter.push(piece);
    }
    (meter.saw_end(), meter.finish())
}

fn pieces<'a>(lengths: &[u8], mut answer: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, rest) = answer.split_at(usize::from(length).min(answer.len()));
        pieces.push(piece);
        answer = rest;
    }
    pieces.push(answer);
    pieces
}
