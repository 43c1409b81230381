//! Chamberlain's virtual keys: `chm_`, a public id of 16, `_`, a secret of 37 and its checksum of 6.
//!
//! The checksum is CRC-32 of all before it, in six characters of base64 for URLs, the highest bits
//! first. A text without it is no virtual key, so this rule gives no false alarm. The form is
//! written here a second time because this crate knows nothing of the rest of the house; the
//! fuzzer's checks hold the two together.

use crate::chars::{Chars, Pull};
use crate::crc32::crc32;
use crate::gates::is_key_char;
use crate::judge::{Hit, Verdict, Window};
use crate::rule::{Confidence, Family, Rule, Severity};
use crate::secret::Secret;

/// What all of them begin with.
pub(crate) const PREFIX: &[u8] = b"chm_";
const ID: usize = 16;
const CHECK: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + 1 + 43;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) fn rule() -> Rule {
    Rule {
        id: "chamberlain-virtual-key".into(),
        title: "Chamberlain virtual key".into(),
        provider: "Chamberlain".into(),
        family: Family::Chamberlain,
        severity: Severity::High,
        how: "chm_, public id, secret, and the checksum that is part of it".into(),
        open: PREFIX.len() + ID + 1,
    }
}

/// Judges the text at an anchor: `chars` read what follows [`PREFIX`], which begins at `start`.
pub(crate) fn judge(start: usize, mut chars: Chars<'_>, rule: usize) -> Verdict {
    let mut key = zeroize::Zeroizing::new([0u8; LENGTH]);
    key[..PREFIX.len()].copy_from_slice(PREFIX);
    for at in PREFIX.len()..LENGTH {
        match chars.pull() {
            Pull::Char(byte) if fits(at - PREFIX.len(), byte) => key[at] = byte,
            Pull::Char(_) | Pull::End => return Verdict::No,
            Pull::More => return Verdict::More { least: LENGTH - at },
        }
    }
    let (text, check) = key.split_at(LENGTH - CHECK);
    if check != checksum(text) {
        return Verdict::No;
    }
    let (end, via, secret) = (chars.at, chars.via, Secret::new(key.as_slice()));
    Verdict::Hit(Hit { rule, start, end, secret, via, confidence: Confidence::High })
}

pub(crate) fn judge_plain(window: Window<'_>, start: usize, rule: usize) -> Verdict {
    judge(start, Chars::new(window, start + PREFIX.len()), rule)
}

fn fits(at: usize, byte: u8) -> bool {
    match at {
        0..ID => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        ID => byte == b'_',
        _ => is_key_char(byte),
    }
}

fn checksum(text: &[u8]) -> [u8; CHECK] {
    let sum = u64::from(crc32(text));
    std::array::from_fn(|at| DIGITS[(sum >> (6 * (CHECK - 1 - at))) as usize & 63])
}
