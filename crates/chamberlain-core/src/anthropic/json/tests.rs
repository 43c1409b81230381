use proptest::prelude::*;

use super::*;

/// Hears everything and refuses nothing, unless it is told to.
#[derive(Default)]
struct Ear {
    heard: Vec<String>,
    refuse: Option<&'static str>,
}

impl Listener for Ear {
    type Place = ();

    fn member(&mut self, (): (), key: &str) {
        self.heard.push(format!("{key}:"));
    }

    fn element(&mut self, (): ()) {}

    fn value(&mut self, (): (), value: Value<'_>) -> Result<(), Wrong> {
        self.heard.push(format!("{value:?}"));
        match (value, self.refuse) {
            (Value::Text(text), Some(refused)) if text == refused => Err(Wrong("not that".into())),
            _ => Ok(()),
        }
    }

    fn close(&mut self, (): (), value: Value<'_>) -> Result<(), Wrong> {
        self.heard.push(format!("/{value:?}"));
        Ok(())
    }
}

fn heard(document: &str) -> Result<Vec<String>, JsonError> {
    let mut ear = Ear::default();
    read(document.as_bytes(), 64, (), &mut ear).map(|()| ear.heard)
}

fn reading(document: &[u8]) -> Result<(), JsonError> {
    read(document, 64, (), &mut Ear::default())
}

fn duplicate(path: &str, key: &str) -> Result<(), JsonError> {
    Err(JsonError::DuplicateKey { path: path.to_owned(), key: key.to_owned() })
}

#[test]
fn tells_what_stands_where() {
    assert_eq!(
        heard(r#"{"a":[1,-1,0.5,null,true,"\u0041"]}"#).unwrap(),
        [
            "Object",
            "a:",
            "Array",
            "Whole(1)",
            "Number",
            "Number",
            "Null",
            "Bool(true)",
            r#"Text("A")"#,
            "/Array",
            "/Object",
        ]
    );
}

#[test]
fn numbers_keep_their_kind() {
    assert_eq!(heard("18446744073709551615").unwrap(), ["Whole(18446744073709551615)"]);
    for text in ["18446744073709551616", "1.0", "1e2", "-0", "-5"] {
        assert_eq!(heard(text).unwrap(), ["Number"], "{text}");
    }
}

#[test]
fn a_key_may_occur_once() {
    assert_eq!(reading(br#"{"a":1,"a":1}"#), duplicate("", "a"));
    assert_eq!(reading(br#"{"model":1,"mod\u0065l":1}"#), duplicate("", "model"));
    assert_eq!(reading(br#"{"":1,"":1}"#), duplicate("", ""));
    assert_eq!(reading(br#"{"m":[{},{"x":{"k":1,"j":2,"k":3}}]}"#), duplicate("m.1.x", "k"));
    // The same name in different objects is no duplicate.
    assert_eq!(reading(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#), Ok(()));
    assert_eq!(reading("{\"\u{e9}\":1,\"e\u{301}\":1}".as_bytes()), Ok(()));
}

#[test]
fn a_key_may_occur_once_among_many() {
    for count in [15, 16, 17, 18, 500] {
        let members: Vec<String> = (0..count).map(|i| format!("\"k{i}\":{{\"a\":1}}")).collect();
        let clean = format!("{{{}}}", members.join(","));
        assert_eq!(reading(clean.as_bytes()), Ok(()), "{count}");
        for again in [0, count / 2, count - 1] {
            let planted = format!("{{\"o\":{{{},\"k{again}\":0}}}}", members.join(","));
            assert_eq!(
                reading(planted.as_bytes()),
                duplicate("o", &format!("k{again}")),
                "{count} {again}"
            );
        }
    }
}

#[test]
fn depth_is_counted_in_containers() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert_eq!(reading(&nested(64)), Ok(()));
    assert_eq!(reading(&nested(65)), Err(JsonError::TooDeep { max: 64 }));
    // Unclosed brackets are refused as too deep before they can exhaust anything.
    assert_eq!(reading(&vec![b'['; 1_000_000]), Err(JsonError::TooDeep { max: 64 }));
    assert_eq!(reading(&b"{\"a\":".repeat(65)), Err(JsonError::TooDeep { max: 64 }));
    // Asking for more than the ceiling gives the ceiling, in our own words.
    let deep = |depth| read(&nested(depth), 1_000, (), &mut Ear::default());
    assert_eq!(deep(DEPTH_CEILING), Ok(()));
    for depth in [DEPTH_CEILING + 1, 127, 128, 129, 5_000] {
        assert_eq!(deep(depth), Err(JsonError::TooDeep { max: DEPTH_CEILING }), "{depth}");
    }
}

#[test]
fn bad_utf8_is_found() {
    assert_eq!(reading(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8 { offset: 6 }));
    // An encoded surrogate, and a character cut in two.
    assert_eq!(reading(b"\"\xed\xa0\x80\""), Err(JsonError::NotUtf8 { offset: 1 }));
    assert_eq!(reading(b"\"abc\xe2\x82"), Err(JsonError::NotUtf8 { offset: 4 }));
}

#[test]
fn what_is_not_one_value_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "nul",
        "{\"a\":1}x",
        "{} {}",
        "{\"a\":1,}",
        "[1,]",
        "{a:1}",
        "'a'",
        "01",
        "+1",
        "1e999",
        "NaN",
        "\u{feff}{}",
        "\"\\ud800\"",
        "\"\n\"",
        "\"\\x\"",
        "{1:2}",
        "// x\n{}",
    ] {
        assert!(matches!(heard(text), Err(JsonError::NotJson { .. })), "{text:?}");
    }
}

#[test]
fn what_the_parser_says_does_not_repeat_the_document() {
    let Err(JsonError::NotJson { reason }) = heard(r#"{"secret":"hush" "hush"}"#) else {
        panic!("it was taken");
    };
    assert!(!reason.contains("hush"), "{reason}");
}

#[test]
fn a_listener_may_refuse_and_the_path_is_told() {
    let mut ear = Ear { refuse: Some("b"), ..Ear::default() };
    let long = "k".repeat(500);
    let document = format!(r#"{{"{long}":[{{"x":"a"}},{{"x":"b"}}]}}"#);
    let path = format!("{}….1.x", &long[..80]);
    assert_eq!(
        read(document.as_bytes(), 64, (), &mut ear),
        Err(JsonError::Wrong { path, reason: "not that".to_owned() })
    );
}

/// A JSON value whose objects have no name twice.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(&'static str),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "0", "-1", "1.5e3", "18446744073709551616"])
            .prop_map(Tree::Leaf),
        any::<String>().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 60, 24, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            prop::collection::btree_map("[a-c\\\\\"é\u{1f600}]{0,3}", inner, 0..24)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

impl Tree {
    /// Objects that have at least one member.
    fn objects(&self) -> usize {
        match self {
            Tree::Leaf(_) | Tree::Text(_) => 0,
            Tree::Array(elements) => elements.iter().map(Tree::objects).sum(),
            Tree::Object(members) => {
                usize::from(!members.is_empty())
                    + members.iter().map(|(_, value)| value.objects()).sum::<usize>()
            }
        }
    }

    /// Writes it; the object for which `plant` counts down to zero gets one of its names again,
    /// spelled with escapes.
    fn write(&self, out: &mut String, plant: &mut Option<usize>, which: usize) {
        match self {
            Tree::Leaf(text) => out.push_str(text),
            Tree::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            Tree::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    element.write(out, plant, which);
                }
                out.push(']');
            }
            Tree::Object(members) => {
                let planted = !members.is_empty() && *plant == Some(0);
                if !members.is_empty() {
                    *plant = plant.and_then(|n| n.checked_sub(1));
                }
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { " , " });
                    out.push_str(&serde_json::to_string(key).unwrap());
                    out.push(':');
                    value.write(out, plant, which);
                }
                if planted {
                    let key = &members[which % members.len()].0;
                    let escaped: String =
                        key.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                    out.push_str(&format!(",\"{escaped}\":0"));
                }
                out.push('}');
            }
        }
    }
}

proptest! {
    #[test]
    fn without_a_duplicate_it_is_read(tree in trees()) {
        let mut text = String::new();
        tree.write(&mut text, &mut None, 0);
        prop_assert_eq!(reading(text.as_bytes()), Ok(()), "{}", text);
    }

    #[test]
    fn with_a_duplicate_anywhere_it_is_refused(
        (tree, at) in trees()
            .prop_filter("an object", |tree| tree.objects() > 0)
            .prop_flat_map(|tree| { let objects = tree.objects(); (Just(tree), 0..objects) }),
        which in any::<usize>(),
    ) {
        let mut text = String::new();
        tree.write(&mut text, &mut Some(at), which);
        let refused = matches!(reading(text.as_bytes()), Err(JsonError::DuplicateKey { .. }));
        prop_assert!(refused, "{}", text);
    }

    #[test]
    fn it_takes_what_serde_json_takes(text in "[\\[\\]{}:,\"a\\\\0-9.eE+ \\-tfnul]{0,12}") {
        let other = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        match reading(text.as_bytes()) {
            Ok(()) => prop_assert!(other, "{text}"),
            Err(JsonError::DuplicateKey { .. }) => {}
            Err(_) => prop_assert!(!other, "{text}"),
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = reading(&bytes);
    }
}
