use std::fs;
use std::path::PathBuf;

use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route, Severity};
use chamberlain_core::resource::ResourceId;
use chamberlain_core::source::Source;
use chamberlain_core::time::{Calendar, Timestamp, WindowKind};
use chamberlain_core::usage::{Iteration, IterationKind, Speed, Tokens, Usage};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn notice(number: u64) -> Notice {
    Notice {
        at: Timestamp::from_ms(0),
        kind: "test".into(),
        severity: Severity::Info,
        subject: number.to_string(),
        message: "A message\nof two lines.".into(),
        facts: serde_json::Map::new(),
        notify: false,
    }
}

struct House {
    _folder: TempDir,
    path: PathBuf,
    intake: Intake,
    next: u64,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let intake = Intake::open(&path).unwrap();
        House { _folder: folder, path, intake, next: 0 }
    }

    /// Appends frames of these sizes.
    fn append(&mut self, sizes: &[u64], moved: u64) {
        for size in sizes {
            let mut frame = Frame::default();
            for number in self.next..self.next + size {
                frame.push(Entry::Notice(&notice(number)));
            }
            self.intake.append(&mut frame, self.next, moved).unwrap();
            self.next += size;
        }
    }

    /// The numbers of what a start would find from `next` on.
    fn left_over(&self, next: u64) -> Vec<u64> {
        let number = |found: &Found| match found {
            Found::Notice(notice) => notice.subject.parse().unwrap(),
            other => panic!("{other:?}"),
        };
        left_over(&self.path, next).unwrap().iter().map(number).collect()
    }
}

#[test]
fn what_was_appended_is_found_from_any_number_on() {
    let mut house = House::new();
    house.append(&[1, 3, 2], 0);
    for next in 0..=6 {
        assert_eq!(house.left_over(next), (next..6).collect::<Vec<_>>());
    }
}

#[test]
fn after_a_gap_nothing_counts() {
    let mut house = House::new();
    house.append(&[2], 0);
    house.next += 1;
    house.append(&[2], 0);
    assert_eq!(house.left_over(0), [0, 1]);
    assert_eq!(house.left_over(3), [3, 4], "where the rest is in the tables there is no gap");
    let mut late = House::new();
    late.next = 5;
    late.append(&[2], 0);
    assert_eq!(late.left_over(4), [0; 0]);
}

#[test]
fn a_file_is_used_again_when_all_of_it_is_in_the_tables() {
    let mut house = House::new();
    let size = |house: &House, half: usize| {
        fs::metadata(file::beside(&house.path, SUFFIXES[half])).unwrap().len()
    };
    // Nothing is moved: nothing is given up.
    while size(&house, 0) < FILE_BYTES {
        house.append(&[1_000], 0);
    }
    let first = house.next;
    while size(&house, 1) < FILE_BYTES {
        house.append(&[1_000], 0);
    }
    house.append(&[1_000; 3], 0);
    assert_eq!(house.left_over(0), (0..house.next).collect::<Vec<_>>());
    // The first file is in the tables: it is emptied and used again.
    let before = house.next;
    house.append(&[5], first);
    assert_eq!(house.left_over(first), (first..before + 5).collect::<Vec<_>>());
    assert!(size(&house, 0) < FILE_BYTES);
    // Almost all of the second file is in the tables: it stays.
    while size(&house, 0) < FILE_BYTES {
        house.append(&[1_000], before - 1);
    }
    house.append(&[5], before - 1);
    assert_eq!(house.left_over(before - 1), (before - 1..house.next).collect::<Vec<_>>());
}

#[test]
fn a_probe_is_no_entry() {
    let mut house = House::new();
    house.append(&[2], 0);
    house.intake.probe().unwrap();
    assert_eq!(house.left_over(0), [0, 1]);
    house.append(&[1], 0);
    assert_eq!(house.left_over(0), [0, 1, 2]);
}

#[test]
fn an_entry_of_another_version_is_not_passed_over() {
    let mut house = House::new();
    let mut frame = Frame::default();
    frame.bytes.extend_from_slice(&[2, 0, 0, 0, 77, 0]);
    frame.count = 1;
    house.intake.append(&mut frame, 0, 0).unwrap();
    assert!(matches!(left_over(&house.path, 0), Err(StoreFault::Damaged(_))));
    assert!(left_over(&house.path, 1).unwrap().is_empty(), "what is in the tables is not read");
}

#[test]
fn a_full_disk_is_named() {
    let mut intake = Intake::full();
    let mut frame = Frame::default();
    frame.push(Entry::Notice(&notice(0)));
    assert_eq!(intake.append(&mut frame, 0, 0), Err(StoreFault::DiskFull));
    assert_eq!(intake.probe(), Err(StoreFault::DiskFull));
}

#[test]
fn everything_is_read_as_it_was_written() {
    let accounts = [
        Scope::Organization,
        Scope::Environment(EnvironmentName::new("production")),
        Scope::VirtualKey(VirtualKeyId::new("key")),
    ];
    let window = |kind| Calendar::utc().window(kind, Timestamp::from_ms(1_790_000_000_000));
    let account = |scope| AccountId { scope, window: window(WindowKind::Monthly) };
    let intent = Intent {
        call: CallId::mint(Timestamp::from_ms(5), [7; 10]),
        at: Timestamp::from_ms(-5),
        virtual_key: VirtualKeyId::new("key"),
        environment: EnvironmentName::new("production"),
        upstream_key: Some(UpstreamKeyId::new("uk_1")),
        route: Route::CountTokens,
        operation: Some("\u{fc}bersetzen".into()),
        model: String::new(),
        max_tokens: u64::MAX,
        stream: true,
        source: "2001:db8::7".parse().unwrap(),
        reserved: Money::from_pico(i128::from(i64::MAX)),
        accounts: accounts.map(account).into(),
        resource: ResourceId::parse("file_1"),
    };
    let tokens =
        Tokens { input: 1, cache_write_5m: 2, cache_write_1h: 3, cache_read: 4, output: 5 };
    let usage = Usage {
        totals: tokens,
        iterations: vec![Iteration {
            kind: IterationKind::Unknown,
            model: Some("claude-haiku-5".into()),
            tokens,
        }],
        web_searches: 6,
        web_fetches: 7,
        speed: Speed::Fast,
        us_only: true,
        service_tier: Some("standard".into()),
    };
    let settlement = Settlement {
        call: intent.call,
        at: intent.at,
        outcome: Outcome::OurFault,
        certainty: Certainty::Unsettled,
        cost: Money::from_pico(-1),
        reserved: intent.reserved,
        accounts: Vec::new(),
        served_model: None,
        tokens,
        usage: Some(usage),
        status: 529,
        upstream_request_id: Some("req_1".into()),
        stop_reason: Some("end_turn".into()),
        attempts: 3,
        first_byte_ms: Some(0),
        duration_ms: 9,
    };
    let local = Intent { source: Source::Local, ..intent.clone() };
    let near = Intent { source: [127, 0, 0, 1].into(), ..intent.clone() };
    let mut house = House::new();
    let mut frame = Frame::default();
    frame.push(Entry::Intent(&intent));
    frame.push(Entry::Settlement(&settlement));
    frame.push(Entry::Notice(&notice(3)));
    frame.push(Entry::Intent(&local));
    frame.push(Entry::Intent(&near));
    house.intake.append(&mut frame, 0, 0).unwrap();
    let found = left_over(&house.path, 0).unwrap();
    let [Found::Intent(first), Found::Settlement(end), Found::Notice(note), rest @ ..] = &found[..]
    else {
        panic!("{found:?}");
    };
    let [Found::Intent(third), Found::Intent(last)] = rest else { panic!("{rest:?}") };
    assert_eq!((&**first, &**end), (&intent, &settlement));
    assert_eq!((&**third, &**last), (&local, &near));
    assert_eq!(**note, notice(3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_gives_what_stands_before_the_damage(
        sizes in prop::collection::vec(1..4u64, 1..5),
        at in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut house = House::new();
        house.append(&sizes, 0);
        let path = file::beside(&house.path, SUFFIXES[0]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 0x10;
        }
        fs::write(&path, &bytes).unwrap();
        let found = house.left_over(0);
        let mut ends = sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let whole = found.len() as u64;
        prop_assert_eq!(&found, &(0..whole).collect::<Vec<_>>());
        prop_assert!(whole < house.next && (whole == 0 || ends.any(|end| end == whole)));
    }
}
