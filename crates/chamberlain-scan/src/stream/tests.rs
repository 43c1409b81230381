use proptest::prelude::*;

use super::*;
use crate::rules::Rules;
use crate::testing::{Random, real_form, virtual_key};

fn scanner() -> Scanner {
    Scanner::new(Rules::builtin())
}

/// Pushes the pieces; returns all that was found and, for each piece, what might go on after it.
fn pushed(scanner: &Scanner, pieces: &[&[u8]]) -> (Vec<Found>, Vec<usize>) {
    let mut stream = StreamScanner::new(scanner);
    let (mut found, mut safe) = (Vec::new(), Vec::new());
    for piece in pieces {
        let progress = stream.push(piece);
        found.extend(progress.found);
        safe.push(progress.safe);
    }
    let progress = stream.finish();
    found.extend(progress.found);
    safe.push(progress.safe);
    (found, safe)
}

#[test]
fn a_key_cut_anywhere_is_caught_and_nothing_of_it_passes() {
    let scanner = scanner();
    let mut random = Random::new(1);
    for key in
        [real_form(&mut random, "api03"), real_form(&mut random, "oat01"), virtual_key(&mut random)]
    {
        let text = format!("before {key} after");
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let (found, safe) = pushed(&scanner, &[first, second]);
            assert_eq!(found.len(), 1, "cut at {cut}");
            assert_eq!(found[0].range, 7..7 + key.len(), "cut at {cut}");
            assert!(safe[0] <= 7 || cut >= 7 + key.len(), "{} bytes passed", safe[0]);
            assert_eq!(safe[2], text.len());
        }
    }
}

#[test]
fn clean_text_goes_on_but_for_seven_bytes() {
    let scanner = scanner();
    let text = "A risky task: ask ants about sk- and gh and chm and AK, then skate on. ".repeat(20);
    for size in 1..50 {
        let mut stream = StreamScanner::new(&scanner);
        let mut seen = 0;
        for piece in text.as_bytes().chunks(size) {
            seen += piece.len();
            let progress = stream.push(piece);
            assert!(
                progress.found.is_empty() && seen - progress.safe <= 7,
                "{}",
                seen - progress.safe
            );
        }
    }
}

proptest! {
    #[test]
    fn a_stream_finds_what_the_whole_text_holds(
        seed in any::<u64>(),
        parts in prop::collection::vec((0usize..6, "[ -~]{0,20}"), 0..6),
        cuts in prop::collection::vec(1usize..40, 1..60),
    ) {
        let mut random = Random::new(seed);
        let mut text = String::new();
        for (what, between) in parts {
            text.push_str(&between);
            text.push_str(&match what {
                0 => real_form(&mut random, "api03"),
                1 => real_form(&mut random, "ort01"),
                2 => virtual_key(&mut random),
                3 => "sk-ant-api03-".to_owned(),
                4 => format!("ghp_{}", random.of(b"abcdefghijkABCDEFGHIJK0123456789", 36)),
                _ => "sk-ant-".repeat(random.below(4)),
            });
        }
        let scanner = scanner();
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        for size in cuts {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let (found, safe) = pushed(&scanner, &pieces);
        let whole = scanner.find(text.as_bytes());
        let places = |all: &[Found]| -> Vec<_> {
            all.iter().map(|found| (found.rule.id.clone(), found.range.clone())).collect()
        };
        prop_assert_eq!(places(&found), places(&whole));
        prop_assert!(safe.is_sorted());
        let mut seen = 0;
        for (piece, safe) in pieces.iter().zip(&safe) {
            seen += piece.len();
            for found in &whole {
                let passed = (*safe).min(found.range.end).saturating_sub(found.range.start);
                prop_assert!(passed == 0 || seen >= found.range.end, "{} bytes passed", passed);
            }
        }
    }
}
