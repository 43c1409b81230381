use proptest::prelude::*;

use super::*;

/// An event, as text: name, data, whether it was cut.
type Seen = (String, String, bool);

fn read_in(max: usize, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut sse = Sse::new(max);
    let mut seen = Vec::new();
    for piece in pieces {
        sse.push(piece, |event| {
            assert!(event.cut || event.data.len() == event.data_bytes);
            assert!(!event.cut || event.data.is_empty() && event.data_bytes > max);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.push((text(event.name), text(event.data), event.cut));
        });
    }
    seen
}

fn read(stream: &str) -> Vec<Seen> {
    let whole = read_in(1_000, &[stream.as_bytes()]);
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(whole, read_in(1_000, &bytes), "byte by byte: {stream:?}");
    whole
}

fn event(name: &str, data: &str) -> Seen {
    (name.to_owned(), data.to_owned(), false)
}

#[test]
fn the_three_line_ends() {
    for stream in [
        "event: a\ndata: 1\n\nevent: b\ndata: 2\n\n",
        "event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n",
        "event: a\rdata: 1\r\revent: b\rdata: 2\r\r",
        "event: a\ndata: 1\r\n\revent: b\rdata: 2\n\r\n",
    ] {
        assert_eq!(read(stream), [event("a", "1"), event("b", "2")], "{stream:?}");
    }
}

#[test]
fn one_space_after_the_colon_is_none_of_the_value() {
    assert_eq!(read("event:a\ndata:1\n\n"), [event("a", "1")]);
    assert_eq!(read("event:  a \ndata:  1 \n\n"), [event(" a ", " 1 ")]);
    assert_eq!(read("data: a: b\n\n"), [event("", "a: b")]);
}

#[test]
fn data_lines_are_joined() {
    assert_eq!(read("data: a\ndata:\ndata: b\n\n"), [event("", "a\n\nb")]);
    assert_eq!(read("data\n\n"), [event("", "")]);
    assert_eq!(read("data\ndata\n\n"), [event("", "\n")]);
    assert_eq!(read("data: a\nevent: late\ndata: b\n\n"), [event("late", "a\nb")]);
}

#[test]
fn what_is_no_data_makes_no_event() {
    assert_eq!(read(": comment\n\n\nevent: a\n\ndata: 1\n\n"), [event("", "1")]);
    assert_eq!(
        read("id: 7\nretry: 10\nnovel: x\nDATA: no\n data: no\ndata: 1\n\n"),
        [event("", "1")]
    );
    assert_eq!(read("event: a\nevent: b\ndata: 1\n\n"), [event("b", "1")]);
}

#[test]
fn a_byte_order_mark_is_skipped_once() {
    assert_eq!(read("\u{feff}data: 1\n\n"), [event("", "1")]);
    assert_eq!(read("\u{feff}\u{feff}data: 1\n\ndata: 2\n\n"), [event("", "2")]);
    assert_eq!(read("\n\u{feff}data: 1\n\n"), []);
    assert_eq!(read("\u{feff}\ndata: 1\n\n"), [event("", "1")]);
}

#[test]
fn an_event_that_breaks_off_is_none() {
    assert_eq!(read("data: 1\n\ndata: 2\n"), [event("", "1")]);
    assert_eq!(read("data: 1\n\ndata: 2"), [event("", "1")]);
}

#[test]
fn an_event_that_is_too_long_does_not_disturb_the_next() {
    let long = "x".repeat(100);
    for stream in [
        format!("event: big\ndata: {long}\n\nevent: b\ndata: 2\n\n"),
        format!("event: big\ndata: 1\ndata:{long}\ndata: 3\n\nevent: b\ndata: 2\n\n"),
        format!("event: big\n{}\n\nevent: b\ndata: 2\n\n", "data: xxxx\n".repeat(9)),
    ] {
        for size in [1, 3, 1_000] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            let seen = read_in(32, &pieces);
            let expected = [("big".to_owned(), String::new(), true), event("b", "2")];
            assert_eq!(seen, expected, "{size} {stream:?}");
        }
    }
}

#[test]
fn the_limit_is_exact_and_other_lines_do_not_count() {
    let just = "y".repeat(32);
    let stream = format!(": {0}{0}{0}\nnovel: {0}{0}\ndata: {0}\n\ndata:{0}z\n\n", just);
    for size in [1, 7, 1_000] {
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let expected = [event("", &just), (String::new(), String::new(), true)];
        assert_eq!(read_in(32, &pieces), expected, "{size}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut sse = Sse::new(64);
    for _ in 0..1_000 {
        sse.push(&[b'x'; 997], |_| panic!("no event has ended"));
        sse.push(b"\ndata: y\ndata", |_| panic!("no event has ended"));
    }
    assert!(sse.line.capacity() < 1_000 && sse.data.kept.capacity() < 1_000);
}

/// Streams made of what streams are made of.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "data",
            "data:",
            "data: ",
            "event: a",
            "event:",
            ":",
            ": x",
            "\u{feff}",
            "é",
            "\u{1f600}",
            "id: 1",
            " ",
            "0123456789",
            "{\"a\":1}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max in prop::sample::select(vec![4_usize, 12, 1_000]),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read_in(max, &[&stream]), read_in(max, &pieces));
    }

    #[test]
    fn it_reads_what_the_standard_reads(stream in streams()) {
        prop_assert_eq!(read_in(1_000_000, &[&stream]), by_the_book(&stream));
    }
}

/// The standard's algorithm, word by word and all at once.
fn by_the_book(stream: &[u8]) -> Vec<Seen> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut at = 0;
    while at < stream.len() {
        let ends = match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        if ends == 0 {
            lines.last_mut().unwrap().push(stream[at]);
        } else {
            lines.push(Vec::new());
        }
        at += ends.max(1);
    }
    lines.pop();
    let (mut seen, mut name, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if data.pop().is_some() {
                seen.push((text(&name), text(&data), false));
            }
            (name, data) = (Vec::new(), Vec::new());
            continue;
        }
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let field = parts.next().unwrap().to_vec();
        let value = parts.next().unwrap_or(b"");
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match &field[..] {
            b"event" => name = value,
            b"data" => {
                data.extend(value);
                data.push(b'\n');
            }
            _ => {}
        }
    }
    seen
}
