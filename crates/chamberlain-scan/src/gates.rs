//! Whether a text could have been drawn at random, as the body of a key is. Rejects samples, words
//! and patterns; a random text of the lengths asked for passes but for one in a thousand million.

/// Characters that Anthropic's keys are made of: those of base64 for URLs.
pub(crate) fn is_key_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// What stands in samples in place of a key; each is so long that chance does not write it.
const SAMPLE_WORDS: [&[u8]; 16] = [
    b"example",
    b"placeholder",
    b"changeme",
    b"change-me",
    b"change_me",
    b"redacted",
    b"yourkey",
    b"your-key",
    b"your_key",
    b"your-api",
    b"your_api",
    b"api-key",
    b"api_key",
    b"testing",
    b"dummykey",
    b"fakekey",
];

/// A longer run of one character, or of neighbours in the alphabet, is no chance.
const RUN_MAX: usize = 8;
const SEQUENCE_MAX: usize = 6;

/// Whether `body` looks drawn from at least `ways` characters: it is as mixed as such a text is, and
/// has no long run, no piece of the alphabet, no sample's word and no period.
pub(crate) fn looks_random(body: &[u8], ways: usize) -> bool {
    mixed(body) >= ways
        && longest(body, |a, b| a == b) <= RUN_MAX
        && longest(body, |a, b| a.wrapping_add(1) == b) <= SEQUENCE_MAX
        && longest(body, |a, b| b.wrapping_add(1) == a) <= SEQUENCE_MAX
        && !is_prose(body)
        && !is_periodic(body)
        && !holds_sample_word(body)
}

/// Of how many equally likely characters such a text would be made: two to the power of the
/// collision entropy, which is never above Shannon's.
pub(crate) fn mixed(body: &[u8]) -> usize {
    let mut counts = [0u16; 256];
    for byte in body {
        let count = &mut counts[usize::from(*byte)];
        *count = count.saturating_add(1);
    }
    let squares: usize = counts.iter().map(|count| usize::from(*count).pow(2)).sum();
    (body.len() * body.len()).checked_div(squares).unwrap_or(0)
}

/// Shannon's entropy in bits a character.
pub(crate) fn entropy(body: &[u8]) -> f64 {
    let mut counts = [0usize; 256];
    body.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = body.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / all);
    shares.map(|share| -share * share.log2()).sum()
}

/// The length of the longest stretch in which each neighbour goes with the next.
fn longest(body: &[u8], goes_with: impl Fn(u8, u8) -> bool) -> usize {
    let (mut best, mut now) = (1, 1);
    for pair in body.windows(2) {
        now = if goes_with(pair[0], pair[1]) { now + 1 } else { 1 };
        best = best.max(now);
    }
    best.min(body.len())
}

/// Whether letters follow letters of the same case as in words: at random it is one pair in six.
fn is_prose(body: &[u8]) -> bool {
    let pairs = |is: fn(&u8) -> bool| body.windows(2).filter(|pair| pair.iter().all(is)).count();
    let most = pairs(u8::is_ascii_lowercase).max(pairs(u8::is_ascii_uppercase));
    let digits = body.iter().filter(|byte| byte.is_ascii_digit()).count();
    // Hexadecimal and base 32 are of one case, and full of digits. A short text strays further.
    let share = if body.len() < 80 { 7 } else { 5 };
    digits * 12 < body.len() && most * 10 > body.len() * share
}

/// Whether most of it is what stood there some characters before.
fn is_periodic(body: &[u8]) -> bool {
    (1..=body.len() / 2).any(|period| {
        let pairs = body.iter().zip(&body[period..]);
        let same = pairs.filter(|(a, b)| a == b).count();
        same * 10 > (body.len() - period) * 6 && body.len() - period >= 8
    })
}

fn holds_sample_word(body: &[u8]) -> bool {
    SAMPLE_WORDS
        .iter()
        .any(|word| body.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, key_chars};

    #[test]
    fn what_is_random_passes() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let body = key_chars(&mut random, 95);
            assert!(looks_random(body.as_bytes(), 16), "{} ways", mixed(body.as_bytes()));
            let body = key_chars(&mut random, 40);
            assert!(looks_random(body.as_bytes(), 11), "{} ways", mixed(body.as_bytes()));
        }
    }

    #[test]
    fn samples_and_patterns_do_not() {
        let alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let mut random = Random::new(2);
        let half = key_chars(&mut random, 40);
        for body in [
            "A".repeat(95),
            "x".repeat(95),
            alphabet.repeat(2)[..95].to_owned(),
            "Ab3_-xYz09".repeat(10)[..95].to_owned(),
            "Zq7-Lm2_Xw9aVb4Kc8Td".repeat(5)[..95].to_owned(),
            "your-api-key-goes-here-".repeat(5)[..95].to_owned(),
            "the-quick-brown-fox-jumps-over-the-lazy-dog-and-runs-away-from-the-hungry-wolves-in-the-woods-99".to_owned(),
            format!("{half}EXAMPLE{half}"),
            format!("{half}{}{half}", "0".repeat(9)),
            format!("{half}{half}"),
        ] {
            assert!(!looks_random(body.as_bytes(), 11), "{body} was taken for random");
        }
    }
}
