use proptest::prelude::*;

use super::*;

const NAME: &str = "ANTHROPIC_API_KEY";

fn replaced(text: &str) -> String {
    let out = replace(text.as_bytes(), NAME, b"new-1").unwrap_or_else(|e| panic!("{text:?}: {e}"));
    String::from_utf8(out.to_vec()).unwrap()
}

fn refused(text: &str) -> EnvTextError {
    replace(text.as_bytes(), NAME, b"new-1").unwrap_err()
}

#[test]
fn one_value_changes_and_nothing_else() {
    for (before, after) in [
        ("ANTHROPIC_API_KEY=old\n", "ANTHROPIC_API_KEY=new-1\n"),
        ("# c\nA=1\nANTHROPIC_API_KEY=old\nB=2", "# c\nA=1\nANTHROPIC_API_KEY=new-1\nB=2"),
        (
            "export ANTHROPIC_API_KEY='old'\r\nB=2\r\n",
            "export ANTHROPIC_API_KEY='new-1'\r\nB=2\r\n",
        ),
        ("ANTHROPIC_API_KEY=\"o\\\"ld\" # mine\n", "ANTHROPIC_API_KEY=\"new-1\" # mine\n"),
        ("ANTHROPIC_API_KEY = old # mine\n", "ANTHROPIC_API_KEY = new-1 # mine\n"),
        ("ANTHROPIC_API_KEY=\n", "ANTHROPIC_API_KEY=new-1\n"),
        ("ANTHROPIC_API_KEY=a#b\n", "ANTHROPIC_API_KEY=new-1\n"),
        ("\u{feff}ANTHROPIC_API_KEY=old\n", "\u{feff}ANTHROPIC_API_KEY=new-1\n"),
    ] {
        assert_eq!(replaced(before), after);
    }
}

#[test]
fn variables_that_only_end_in_the_name_are_others() {
    let text = "OTHER_ANTHROPIC_API_KEY=a\nANTHROPIC_API_KEY_2=b\n#ANTHROPIC_API_KEY=c\n";
    assert_eq!(replaced(text), format!("{text}ANTHROPIC_API_KEY=new-1\n"));
}

#[test]
fn a_missing_line_is_added_at_the_end() {
    assert_eq!(replaced(""), "ANTHROPIC_API_KEY=new-1\n");
    assert_eq!(replaced("A=1"), "A=1\nANTHROPIC_API_KEY=new-1\n");
}

#[test]
fn what_programs_read_differently_is_refused_by_its_line() {
    let twice = refused("ANTHROPIC_API_KEY=a\nB=1\nexport ANTHROPIC_API_KEY=b\n");
    assert!(matches!(twice, EnvTextError::Twice { first: 1, second: 3, .. }), "{twice}");
    let inside = refused("PEM=\"---\nANTHROPIC_API_KEY=a\n---\"\n");
    assert!(matches!(inside, EnvTextError::Inside { line: 2, opened: 1, .. }), "{inside}");
    let continued = refused("A=b\\\nANTHROPIC_API_KEY=a\n");
    assert!(matches!(continued, EnvTextError::Inside { line: 2, opened: 1, .. }), "{continued}");
    for odd in
        ["ANTHROPIC_API_KEY=\"a\nb\"\n", "ANTHROPIC_API_KEY='a'b\n", "ANTHROPIC_API_KEY=# a\n"]
    {
        assert_eq!(refused(odd), EnvTextError::Odd { line: 1 });
    }
    assert_eq!(refused("A=\0\n"), EnvTextError::NoText);
    // An apostrophe inside a value opens nothing, nor does a quote that nobody ends.
    assert!(replaced("A=it's\nB=\"x\nANTHROPIC_API_KEY=a\n").ends_with("KEY=new-1\n"));
}

#[test]
fn a_value_that_would_need_quotes_is_refused() {
    for value in ["", "a b", "a\nb", "a$b", "a\"b", "a#b", "ü"] {
        assert_eq!(replace(b"", NAME, value.as_bytes()).unwrap_err(), EnvTextError::Value);
    }
}

/// Lines as people and programs write them, odd ones among them.
fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[A-Z_]{1,8}=[ -~]{0,12}",
        "(export )?ANTHROPIC_API_KEY ?=[ -~]{0,12}",
        "ANTHROPIC_API_KEY=(\"[a-z# ]{0,6}\"|'[a-z# ]{0,6}')( # [a-z]{0,3})?",
        "# [ -~]{0,12}",
        "[ -~\\t]{0,16}\\r?",
    ]
}

proptest! {
    /// Whatever stands in the file: it is refused, or exactly one stretch of it changed, and the
    /// new value is read back where it was put.
    #[test]
    fn a_change_is_one_stretch_and_is_read_back(
        lines in prop::collection::vec(any_line(), 0..8),
        ends in any::<bool>(),
        value in "[A-Za-z0-9_.-]{1,20}",
    ) {
        let mut text = lines.join("\n");
        if ends {
            text.push('\n');
        }
        let Ok(new) = replace(text.as_bytes(), NAME, value.as_bytes()) else { return Ok(()) };
        prop_assert_eq!(value_of(&new, NAME), Ok(Some(value.as_bytes())));
        match find(text.as_bytes(), NAME).unwrap() {
            Some(found) => {
                let (before, after) = (&text.as_bytes()[..found.value.start], &text.as_bytes()[found.value.end..]);
                prop_assert!(new.starts_with(before) && new.ends_with(after));
                prop_assert_eq!(new.len(), before.len() + value.len() + after.len());
            }
            None => prop_assert!(new.starts_with(text.as_bytes())),
        }
        // Doing it again changes nothing.
        let again = replace(&new, NAME, value.as_bytes()).unwrap();
        prop_assert_eq!(&*again, &*new);
    }
}
